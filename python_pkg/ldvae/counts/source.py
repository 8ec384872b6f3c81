"""Where the counts of an AnnData are, and what its genes are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from .. import checks
from ..checks import brief
from .labels import check_anndata, unique_names

__all__ = ["Source", "find_counts", "gene_columns", "gene_names", "other_names", "unique_symbols"]

_OF_GENES = ("gene expression", "gex", "rna", "gene")  # as 10x, and those who merge its files, call what is no antibody
_BARCODE = re.compile(r"(?:.*[_:#-])?[ACGT]{12,}(?:[-_.].*)?")
_GENE = re.compile(r"ENS[A-Z]*G\d{11}(?:\.\d+)?|(?:MT|mt|Mt)-[A-Za-z0-9]+|ACTB|GAPDH|MALAT1|B2M|Actb|Gapdh|Malat1|B2m")
_LOOKED_AT = 2000  # names
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")


@dataclass(frozen=True)
class Source:
    """Counts as they are stored, and the genes among their columns.

    Attributes
    ----------
    matrix, where
        Cells × features, and how a user calls it.
    genes, columns
        Names of the genes, and their columns; None if all columns are genes.
    var
        What is known about the genes.
    others
        Types of the columns that are no genes (antibodies, peaks), by their names.
    """

    matrix: Any
    where: str
    genes: np.ndarray
    columns: np.ndarray | None
    var: pd.DataFrame
    others: pd.Series


def find_counts(adata: Any, layer: str | None = None, gene_symbols: str | None = None) -> Source:
    """Where counts are: `X` (None or "X"), a layer, or "raw"; features that are no genes take no part.

    Raises
    ------
    TypeError, ValueError
        If they are not there, or if cells and genes are exchanged.
    """
    adata = check_anndata(adata)
    matrix, where, var = _stored(adata, layer)
    genes = gene_names(var, gene_symbols)
    _check_orientation(adata.obs_names, var.index, where)
    own, kinds = _of_genes(var)
    others = pd.Series(kinds[~own], index=genes[~own], dtype=object)
    if own.all():
        return Source(matrix, where, genes, None, var, others)
    return Source(matrix, where, genes[own], np.flatnonzero(own), var.iloc[np.flatnonzero(own)], others)


def _stored(adata: AnnData, layer: Any) -> tuple[Any, str, pd.DataFrame]:
    named = isinstance(layer, str)
    if layer is None or (named and layer == "X" and "X" not in adata.layers):
        if adata.X is None:
            raise ValueError(
                f"`adata.X` is empty; name the layer that holds the counts with `layer`{_elsewhere(adata)}."
            )
        return adata.X, "adata.X", adata.var
    if named and layer in adata.layers:
        return adata.layers[layer], f"adata.layers[{layer!r}]", adata.var
    if named and layer == "raw" and adata.raw is not None:
        return adata.raw.X, "adata.raw.X", adata.raw.var
    there = f"has {checks.shown(adata.layers)}" if len(adata.layers) else "has none"
    raise ValueError(f"`layer` must be a layer of `adata`, which {there}, not {brief(layer)}{_elsewhere(adata)}.")


def _elsewhere(adata: AnnData) -> str:
    """Where else counts may be."""
    return "" if adata.raw is None else "; what adata.raw holds is layer='raw'"


def gene_names(var: pd.DataFrame, gene_symbols: Any) -> np.ndarray:
    """Names of the features: the index, or symbols, made unique by the index where they are not."""
    index = unique_names(var.index, "gene", "adata.var_names_make_unique()")
    if gene_symbols is None:
        return index
    if not isinstance(gene_symbols, str) or gene_symbols not in var:
        there = checks.shown(var.columns, 8) or "it has none"
        raise ValueError(f"`gene_symbols` must name a column of adata.var ({there}), not {brief(gene_symbols)}.")
    return unique_names(pd.Index(unique_symbols(var[gene_symbols], index)), "gene", "adata.var_names_make_unique()")


def unique_symbols(column: pd.Series, index: np.ndarray) -> np.ndarray:
    """Symbols of genes; a gene without one has its name of the index, which is appended to symbols that repeat."""
    column = column.astype(object)
    missing = column.isna().to_numpy() | (column.astype(str).str.strip() == "").to_numpy()
    symbols: np.ndarray = np.where(missing, index, column.astype(str).to_numpy(object))
    twice = pd.Index(symbols).duplicated(keep=False)
    symbols[twice] = [f"{a}_{b}" if a != b else a for a, b in zip(symbols[twice], index[twice], strict=True)]
    return symbols


def _check_orientation(cells: pd.Index, features: pd.Index, where: str) -> None:
    def share(names: pd.Index, pattern: re.Pattern[str]) -> float:
        step = max(1, len(names) // _LOOKED_AT)
        looked_at = [str(name) for name in names[::step]]
        return sum(pattern.fullmatch(name) is not None for name in looked_at) / len(looked_at)

    turned = share(cells, _GENE) > 0.5
    if turned or (share(features, _BARCODE) > 0.5 and any(_GENE.fullmatch(str(name)) for name in cells)):
        raise ValueError(
            f"`{where}` seems to be genes × cells: its rows are called {checks.shown(cells, 2)}, its columns "
            f"{checks.shown(features, 2)}; give `adata.T`, cells × genes."
        )


def _of_genes(var: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Which columns are genes by `var["feature_types"]`, and the types; all where it does not say so of any."""
    if "feature_types" not in var:
        return np.ones(len(var), dtype=bool), np.full(len(var), "")
    kinds = var["feature_types"].astype(str)
    own = kinds.str.lower().isin(_OF_GENES).to_numpy()
    return own | ~own.any(), kinds.to_numpy(object)


def gene_columns(source: Source, genes: Any) -> np.ndarray | None:
    """Numbers among the genes of those that `genes` means (names, or a column of `var`), None for all of them."""
    if genes is None:
        return None
    if isinstance(genes, str) and genes in source.var:
        return _marked(source.var[genes], genes)
    if isinstance(genes, str) and genes not in source.genes:
        raise ValueError(
            f"`genes` must be a boolean column of adata.var or names of genes, and {brief(genes)} is neither."
        )
    wanted = checks.strings("genes", genes)
    if not wanted:
        raise ValueError("`genes` must name at least one gene.")
    found = pd.Index(source.genes).get_indexer(pd.Index(wanted))
    if (found < 0).any():
        missing = [g for g, j in zip(wanted, found, strict=True) if j < 0]
        kinds = source.others[source.others.index.isin(missing)].unique()
        no_genes = f" ({checks.shown(kinds)} in adata.var['feature_types'], so no genes)" if len(kinds) else ""
        column = other_names(source.var, missing)
        remedy = f"; adata.var[{column!r}] has them: give gene_symbols={column!r}" if column else ""
        raise ValueError(
            f"{len(missing)} of {len(wanted)} genes are not in `adata`: {checks.shown(missing)}{no_genes}{remedy}."
        )
    return None if np.array_equal(found, np.arange(len(source.genes))) else found


def other_names(var: pd.DataFrame, wanted: list[str]) -> str | None:
    """Which column of `var` has these names."""
    for column in var:
        if var[column].dtype.kind not in "biufc" and pd.Index(wanted).isin(var[column].astype(str)).mean() > 0.5:
            return str(column)
    return None


def _marked(column: pd.Series, name: str) -> np.ndarray:
    """Where a column says yes: booleans of any kind, or the words for them; missing is no, with a message."""
    missing = column.isna().to_numpy()
    words = column.astype(object).map(lambda v: v if isinstance(v, bool | np.bool_) else str(v).lower())
    yes = words.isin([True, *_TRUE]).to_numpy() & ~missing
    no = words.isin([False, *_FALSE]).to_numpy() & ~missing
    numbers = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if numbers or not (yes | no | missing).all():
        raise ValueError(
            f"`genes` names the column {brief(name)} of adata.var, which must be boolean, not {column.dtype}."
        )
    if not yes.any():
        raise ValueError(f"`genes` names the column {brief(name)} of adata.var, which selects no gene.")
    if missing.any():
        checks.note(f"{int(missing.sum())} genes have no value in adata.var[{name!r}] and are not modelled.")
    return np.flatnonzero(yes)
