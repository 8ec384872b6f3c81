"""The public functions that read a fit: history, latent, loadings, factors, expression."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.labels import read_cells
from ..machine.files import replacing
from ..machine.memory import need_memory
from ..tables import LEVEL, factor_names, table, wide
from .expression import decoded_expression
from .posterior import factor_scores, read_data, rebuild
from .record import Fit, check_fit

__all__ = [
    "get_expression",
    "get_factors",
    "get_history",
    "get_latent",
    "get_loadings",
    "get_loadings_uncertainty",
    "top_genes",
]

_BYTES_PER_ROW = 60  # of the table of `get_expression`, with what it is made from


def get_history(fit: Fit) -> pd.DataFrame:
    """How training went: `epoch, elbo_train, elbo_validation, reconstruction, kl` (nats per cell, KL weight 1).

    Parameters
    ----------
    fit
        The fit.
    """
    return table("history", check_fit(fit).history)


def get_latent(fit: Fit, adata: Any = None) -> pd.DataFrame:
    """Score of every cell on every canonical factor: `cell, Z_1 ... Z_K` (mean 0, variance 1 over the training cells).

    The variance counts the posterior's, so the standard deviation of the scores themselves is below 1 by as much
    as the counts leave open.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells to encode; the training cells if None. Genes are aligned by name.
    """
    fit = check_fit(fit)
    cells, mean, variance = fit.cells, fit.latent_mean, fit.latent_variance
    if adata is not None:
        data = read_data(fit, adata)
        cells, mean, variance = data.counts.cells, data.mean, data.variance
    scores = factor_scores(fit, mean, variance)
    return wide("cell", cells, factor_names(scores.shape[1]), scores)


def get_loadings(fit: Fit) -> pd.DataFrame:
    """Loadings of every gene: `gene, Z_1 ... Z_K`, in log2 units of expression per standard deviation of the factor.

    Canonical basis: varimax-rotated, ordered by variance explained, signed by the heavier tail, zero where most genes
    lie. Loadings of active factors are posterior means under an adaptive prior: see `get_loadings_uncertainty`.

    Parameters
    ----------
    fit
        The fit.
    """
    fit = check_fit(fit)
    return wide("gene", fit.genes, factor_names(fit.config.n_latent), fit.factors["loadings"])


def get_loadings_uncertainty(fit: Fit) -> pd.DataFrame:
    """Loadings of the active factors with their uncertainty: `gene, factor, loading, std, lfsr` (long).

    `loading` and `std` are mean and standard deviation of the posterior given the cells' positions, under a prior that
    learns from all genes of the factor how many have no loading at all; `lfsr` is the local false sign rate, the
    probability that the loading has the other sign or is zero (Stephens 2017).

    Parameters
    ----------
    fit
        The fit.
    """
    fit = check_fit(fit)
    active = np.flatnonzero(fit.factors["active"])
    names = np.array(factor_names(fit.config.n_latent), dtype=object)[active]
    columns = {k: fit.factors[source][:, active].T.ravel() for k, source in _UNCERTAINTY.items()}
    return table(
        "loadings_uncertainty",
        {"gene": np.tile(fit.genes, len(active)), "factor": np.repeat(names, len(fit.genes)), **columns},
    )


_UNCERTAINTY = {"loading": "loadings", "std": "loadings_std", "lfsr": "loadings_lfsr"}


def get_factors(fit: Fit) -> pd.DataFrame:
    """One row per factor: `factor, variance_explained, kl, n_genes, active`, ordered by variance explained.

    `variance_explained` is the share of the modelled variance of centred log expression, `kl` the nats that a cell's
    counts tell about its score, `n_genes` the number of loadings with lfsr below 0.05. A factor is `active` if it
    tells at least 0.1 nats about a cell and has five such genes; inactive ones come last.

    Parameters
    ----------
    fit
        The fit.
    """
    fit = check_fit(fit)
    columns = {k: fit.factors[k] for k in ("variance_explained", "kl", "active")}
    n_genes = (fit.factors["loadings_lfsr"] < LEVEL).sum(0)
    return table("factors", {"factor": factor_names(fit.config.n_latent), "n_genes": n_genes, **columns})


def top_genes(loadings: pd.DataFrame, *, n: int = 10, gmt: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """The strongest rows of a loadings table: the `n` largest in absolute value of each factor or program.

    Parameters
    ----------
    loadings
        A table of `get_loadings`, `get_loadings_uncertainty` or `population_loadings`.
    n
        Rows per factor or program.
    gmt
        A file to write them to as gene sets in the GMT format; an existing one is replaced. A factor or program gives
        two sets, such as `Z_1_up` and `Z_1_down`: genes with positive and with negative loadings, strongest first.

    Returns
    -------
    DataFrame
        The same columns (a wide table becomes `gene, factor, loading`), strongest first.
    """
    n, gmt = checks.integer("n", n, 1), checks.optional(checks.new_file, "gmt", gmt)
    if not isinstance(loadings, pd.DataFrame) or "gene" not in loadings:
        raise TypeError("`loadings` must be a table of get_loadings, get_loadings_uncertainty or population_loadings.")
    if "loading" not in loadings:
        loadings = loadings.melt("gene", var_name="factor", value_name="loading")
    keys = [c for c in ("population", "kind", "program", "factor") if c in loadings]
    order = loadings["loading"].abs().sort_values(ascending=False, kind="stable").index
    first = loadings.loc[order].groupby(keys, sort=False, observed=True).head(n)
    position = {key: i for i, key in enumerate(loadings[keys].drop_duplicates().itertuples(index=False, name=None))}
    rank = [position[key] for key in first[keys].itertuples(index=False, name=None)]
    first = first.iloc[np.argsort(rank, kind="stable")].reset_index(drop=True)
    if gmt is not None:
        way = np.where(first["loading"] > 0, "up", "down")
        labels = zip(*(first[key] for key in keys), way, strict=True)
        names = pd.Series(["_".join(parts) for parts in labels], dtype=object)
        with (
            replacing(gmt, "gene sets", "gmt") as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            for name, genes in first["gene"].groupby(names, sort=False):
                file.write("\t".join([str(name), "ldvae", *genes]) + "\n")
    return first


def get_expression(
    fit: Fit, adata: Any, *, genes: Any, n_samples: int = 25, library_size: float = 1e4, seed: int = 0
) -> pd.DataFrame:
    """Denoised expression of some genes in every cell, at the average batch.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes.
    genes
        Names of genes.
    n_samples
        Draws from the posterior of each cell that are averaged.
    library_size
        Expression is per this many counts.
    seed
        Of the draws.

    Returns
    -------
    DataFrame
        `cell, gene, expression`, long: all cells of the first gene, then the next.
    """
    fit = check_fit(fit)
    wanted = checks.strings("genes", genes)
    known = pd.Index(fit.genes).get_indexer(pd.Index(wanted, dtype=object))
    if (known < 0).any() or not wanted:
        missing = [g for g, j in zip(wanted, known, strict=True) if j < 0]
        raise ValueError(f"`genes` must name genes of the fit, and {len(missing)} are not: {checks.shown(missing)}.")
    scale = checks.number("library_size", library_size, 0, low_open=True)
    n_samples = checks.integer("n_samples", n_samples, 1, 1_000_000)
    seed = checks.integer("seed", seed, 0, 2**32 - 1)
    n_cells = len(read_cells(adata))
    size = float(_BYTES_PER_ROW) * n_cells * len(wanted)
    need_memory(f"{len(wanted):,} genes in {n_cells:,} cells", size, "name fewer `genes` or cells at a time")
    cells = read_data(fit, adata)
    values = decoded_expression(rebuild(fit), cells, known, n_samples, seed)
    names = cells.counts.cells
    return table(
        "expression",
        {
            "cell": np.tile(names, len(wanted)),
            "gene": np.repeat(wanted, len(names)),
            "expression": (scale * values).T.ravel(),
        },
    )
