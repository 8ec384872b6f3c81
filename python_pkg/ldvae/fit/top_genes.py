"""The public function that ranks the genes of a table."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from .. import checks
from ..machine.files import replacing
from ..tables import LEVEL

__all__ = ["top_genes"]

_SOURCES = "get_loadings, get_loadings_uncertainty, population_loadings or differential_expression"


def top_genes(
    loadings: pd.DataFrame,
    *,
    n: int | None = 10,
    direction: str | None = None,
    by: str = "effect",
    min_detected: float = 0.1,
    gmt: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """The first genes of each factor, program or comparison: those that are sure, strongest first.

    Genes whose sign is sure (lfsr below 0.05; `is_de` of a comparison) come first, where the table says so: of a gene
    with few counts the estimate can be large and mean little. Genes that were not tested are left out.

    Parameters
    ----------
    loadings
        A table of `get_loadings`, `get_loadings_uncertainty`, `population_loadings` or `differential_expression`.
    n
        Rows per factor, program or comparison; all if None.
    direction
        "up": only genes with positive loadings, or higher in `group1`; "down": the others. Both if None.
    by
        "effect": the loading or log2 fold change, by its size; "evidence": the same over its standard deviation.
    min_detected
        Of a comparison, the share of cells, on the side where it is higher, in which a gene must be found (`min.pct` of
        Seurat): the largest fold changes are those of genes that hardly any cell has. 0 for all; 0.25 gives markers
        that most cells of a group can be told by. Tables of loadings do not say it.
    gmt
        A file to write them to as gene sets in the GMT format; an existing one is replaced. A factor or program gives
        two sets, such as `Z_1_up` and `Z_1_down`: genes with positive and with negative loadings, strongest first.

    Returns
    -------
    DataFrame
        The same columns (a wide table becomes `gene, factor, loading`), in the order of the factors, programs or
        comparisons.
    """
    n, gmt = checks.optional(checks.integer, "n", n, 1), checks.optional(checks.new_file, "gmt", gmt)
    direction = checks.optional(checks.choice, "direction", direction, ("up", "down"))
    by = checks.choice("by", by, ("effect", "evidence"))
    min_detected = checks.number("min_detected", min_detected, 0.0, 1.0)
    if not isinstance(loadings, pd.DataFrame) or "gene" not in loadings:
        raise TypeError(f"`loadings` must be a table of {_SOURCES}.")
    compared = {"lfc_mean", "lfc_std", "is_de"} <= set(loadings)
    if not compared and "loading" not in loadings:
        loadings = loadings.melt("gene", var_name="factor", value_name="loading")
    value, std = ("lfc_mean", "lfc_std") if compared else ("loading", "std")
    if by == "evidence" and std not in loadings:
        raise ValueError("`by` must be 'effect' for a table without standard deviations (get_loadings_uncertainty).")
    keys = [c for c in ("population", "kind", "program", "factor", "within", "group1", "group2") if c in loadings]
    effect = loadings[value].to_numpy(dtype=float)
    size = np.abs(effect) / (loadings[std].to_numpy(dtype=float) if by == "evidence" else 1)
    meant = np.isfinite(effect) & (effect * {None: 0, "up": 1, "down": -1}[direction] >= 0)
    if {"detected1", "detected2"} <= set(loadings):
        meant &= np.where(effect > 0, loadings["detected1"], loadings["detected2"]) >= min_detected
    first = _first(loadings, keys, size, meant, n)
    if gmt is not None:
        _write_gmt(gmt, first, keys, value)
    return first


def _first(table: pd.DataFrame, keys: list[str], size: np.ndarray, meant: np.ndarray, n: int | None) -> pd.DataFrame:
    """Of the rows that are `meant`, the first `n` of each group by `keys`: the sure ones, largest first."""
    position = table.groupby(keys, sort=False, observed=True, dropna=False).ngroup().to_numpy()
    known = table["is_de"] if "is_de" in table else table["lfsr"] < LEVEL if "lfsr" in table else np.ones(len(table))
    order = np.lexsort((-size, ~np.asarray(known, dtype=bool), position))
    order = order[meant[order]]
    first = table.iloc[order]
    first = first if n is None else first.groupby(position[order]).head(n)
    return first.reset_index(drop=True)


def _write_gmt(gmt: str | os.PathLike[str], genes: pd.DataFrame, keys: list[str], value: str) -> None:
    way = np.where(genes[value] > 0, "up", "down")
    labels = zip(*(genes[key] for key in keys), way, strict=True)
    names = pd.Series(["_".join(map(str, parts)) for parts in labels], dtype=object)
    with (
        replacing(gmt, "gene sets", "gmt") as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
    ):
        for name, members in genes["gene"].groupby(names, sort=False):
            file.write("\t".join([str(name), "ldvae", *members]) + "\n")
