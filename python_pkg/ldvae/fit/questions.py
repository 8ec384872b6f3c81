"""The public functions that read a fit: history, latent, loadings, factors, expression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.labels import read_cells
from ..machine.memory import need_memory
from ..tables import LEVEL, factor_names, table, wide
from .cells import read_data
from .embedding import positions
from .expression import decoded_expression
from .posterior import factor_scores, rebuild
from .record import Fit, check_fit

__all__ = [
    "get_expression",
    "get_factors",
    "get_history",
    "get_latent",
    "get_loadings",
    "get_loadings_uncertainty",
]

_BYTES_PER_ROW = 60  # of the table of `get_expression`, with what it is made from


def get_history(fit: Fit) -> pd.DataFrame:
    """How training went: `epoch, elbo_train, elbo_validation, reconstruction, kl` (nats per cell, KL weight 1).

    `elbo_train` is `reconstruction` less `kl`, of cells whose encoder sees a part of the genes; `elbo_validation`, by
    which the best epoch is chosen, is the log-likelihood of held-out cells, each half of their genes at positions from
    the other half (a lower bound). In fits of before both are plain ELBOs.

    Parameters
    ----------
    fit
        The fit.
    """
    return table("history", check_fit(fit).history)


def get_latent(
    fit: Fit, adata: Any = None, *, inactive: bool = False, embedding: bool = False, layer: str | None = None
) -> pd.DataFrame:
    """Score of every cell on every active factor: `cell, Z_1, ...` (mean 0, variance 1 over the training cells).

    As the encoder places cells; or, with `embedding`, as their counts do, for neighbours and clusters.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells to place; the training cells if None. Genes are aligned by name. Batches that the fit has not seen change
        nothing; of genes that are missing a message says what the others tell.
    inactive
        Also the directions of the latent that are no factors (see `get_factors`).
    embedding
        What `add_ldvae` stores: the most probable scores of each cell given its counts in `adata` and the loadings of
        the active factors, each times the root of the length of these loadings (log2 units), so that a factor that
        moves many genes keeps cells further apart than one that moves few. Clusters of such positions are nearer to
        known types than those of the encoder's.
    layer
        The layer of `adata` with the counts: "X" for `adata.X`, "raw" for `adata.raw`; where the fit took them if None.
    """
    fit = check_fit(fit)
    chosen, names = _factors(fit, inactive)
    cells, mean, variance = fit.cells, fit.latent_mean, fit.latent_variance
    if checks.boolean("embedding", embedding) and (inactive or adata is None):
        raise ValueError("`embedding` must be False for inactive factors, and without the counts of cells (`adata`).")
    if adata is not None:
        data = read_data(fit, adata, layer)
        cells, mean, variance = data.counts.cells, data.mean, data.variance
        if embedding:
            return wide("cell", cells, names, positions(data))
    return wide("cell", cells, names, factor_scores(fit, mean, variance, chosen))


def get_loadings(fit: Fit, *, inactive: bool = False) -> pd.DataFrame:
    """Loadings of every gene: `gene, Z_1, ...`, in log2 units of expression per standard deviation of the factor.

    What the counts of a gene say about its answer to each active factor, zero where most genes lie: see
    `get_loadings_uncertainty` for how they are measured and how sure they are. The weights of the decoder itself are
    `fit.weights["loadings"]`, in its own basis.

    Parameters
    ----------
    fit
        The fit.
    inactive
        Also those of the directions of the latent that are no factors (see `get_factors`), from the decoder.
    """
    fit = check_fit(fit)
    chosen, names = _factors(fit, inactive)
    return wide("gene", fit.genes, names, fit.factors["loadings"][:, chosen])


def _factors(fit: Fit, inactive: bool) -> tuple[np.ndarray, list[str]]:
    """Numbers and names of the active factors, or of all directions of the latent."""
    active = fit.factors["active"]
    chosen = np.flatnonzero(active | checks.boolean("inactive", inactive))
    return chosen, [factor_names(len(active))[k] for k in chosen]


def get_loadings_uncertainty(fit: Fit) -> pd.DataFrame:
    """Loadings of the active factors with their uncertainty: `gene, factor, loading, std, lfsr` (long).

    A loading is a negative binomial regression of the gene's counts on the factor, in cells that were scored without
    this gene by helpers that other cells taught; noise of the scores is taken out. `loading` and `std` are mean and
    standard deviation of its posterior under a prior that learns from all genes of the factor how many have no loading
    at all; `lfsr` is the local false sign rate, the probability that the loading has the other sign or is zero
    (Stephens 2017). In a fit that was not measured (see `fit_ldvae`), they are those of the decoder given the positions
    that the same cells were given.

    Parameters
    ----------
    fit
        The fit.
    """
    fit = check_fit(fit)
    chosen, names = _factors(fit, False)
    columns = {k: fit.factors[source][:, chosen].T.ravel() for k, source in _UNCERTAINTY.items()}
    names = np.repeat(np.array(names, dtype=object), len(fit.genes)).tolist()
    return table("loadings_uncertainty", {"gene": np.tile(fit.genes, len(chosen)), "factor": names, **columns})


_UNCERTAINTY = {"loading": "loadings", "std": "loadings_std", "lfsr": "loadings_lfsr"}


def get_factors(fit: Fit) -> pd.DataFrame:
    """One row per direction of the latent: `factor, reliability, pval, variance_explained, kl, n_genes, active`.

    A factor is what genes that were not asked confirm in cells that taught nothing: `reliability` is the share of the
    variance of its scores on which disjoint halves of the genes agree, `pval` the chance of as much if cells had
    nothing in common (cells' scores are given random signs). It is `active` if `pval` is below 0.05, if the loadings of
    disjoint halves of the cells agree, and if five genes have an lfsr below 0.05 (`n_genes`); the other directions of
    the latent come last and are not factors. `variance_explained` is the share of the variance of centred log
    expression, `kl` the nats that a cell's counts tell
    about its score, -log(1 - reliability) / 2. In a fit that was not measured (see
    `fit_ldvae`), `reliability` and `pval` are missing, and a factor is active if it tells at least 0.1 nats about a
    cell and has five such genes.

    Parameters
    ----------
    fit
        The fit.
    """
    f = check_fit(fit).factors
    unknown = np.full(len(f["active"]), np.nan)
    columns = {k: f.get(k, unknown) for k in ("reliability", "pval", "variance_explained", "kl", "active")}
    n_genes = (f["loadings_lfsr"] < LEVEL).sum(0)
    return table("factors", {"factor": factor_names(len(unknown)), "n_genes": n_genes, **columns})


def get_expression(
    fit: Fit,
    adata: Any,
    *,
    genes: Any,
    layer: str | None = None,
    n_samples: int = 25,
    library_size: float = 1e4,
    seed: int = 0,
) -> pd.DataFrame:
    """Denoised expression of some genes in every cell, at the average batch.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes.
    genes
        Names of genes of the fit, also such as `adata` lacks.
    layer
        The layer of `adata` with the counts: "X" for `adata.X`, "raw" for `adata.raw`; where the fit took them if None.
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
    cells = read_data(fit, adata, layer)
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
