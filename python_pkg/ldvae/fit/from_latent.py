"""Any embedding becomes a `Fit`: its positions are given, the genes of its factors and the decoder come from counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .. import checks
from ..counts.design import design_matrix, read_covariates
from ..counts.labels import read_positions
from ..counts.reader import Counts, read_counts
from ..machine.device import refuse_surroundings
from ..model.config import MOST, Config
from ..model.network import LDVAE
from ..stats.nb_regression import nb_regression
from ..version import VERSION
from .factors import factors_of
from .record import Fit

__all__ = ["from_latent"]

_CELLS = 20_000  # from which the decoder is regressed; a seeded sample of more
_GENES = 200  # regressed at a time
_PRIOR = 1.0  # precision of a normal prior on its coefficients


def from_latent(
    adata: Any,
    *,
    use_rep: str,
    genes: Any = None,
    gene_symbols: str | None = None,
    batch_key: str | None = None,
    covariate_keys: Any = (),
    size_factor_key: str | None = None,
    layer: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Fit:
    """Which genes drive the axes of an embedding: a fit whose positions are those of Harmony, scANVI, MultiVI, PCA, ...

    The embedding's are the positions of the cells, and what it did to batches. Ours are the factors: directions of the
    embedding that disjoint halves of the genes confirm in cells that taught nothing, the loadings of every gene with
    their uncertainty (see `get_factors`), and a linear decoder, regressed from the counts on the factors' scores, so
    that every other question can be asked too. Nothing is trained.

    Parameters
    ----------
    adata
        Annotated raw counts, with the embedding in `obsm`. Not changed.
    use_rep
        Key of `adata.obsm`: cells × dimensions.
    genes, gene_symbols, batch_key, covariate_keys, size_factor_key, layer, seed, progress
        As in `fit_ldvae`. An embedding without batches still needs `batch_key` for its counts.

    Returns
    -------
    Fit
        As of `fit_ldvae`. Other cells are placed by their own `adata.obsm[use_rep]`.

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.
    """
    refuse_surroundings()
    counts = read_counts(adata, layer=layer, genes=genes, gene_symbols=gene_symbols, size_factor_key=size_factor_key)
    positions = read_positions(adata, use_rep, "use_rep")
    seed = checks.integer("seed", seed, 0, 2**32 - 1)
    config = Config(
        n_genes=len(counts.genes),
        n_latent=checks.integer("the width of `use_rep`", positions.shape[1], 1, MOST["n_latent"]),
        n_hidden=1,
        dropout_rate=0.0,
        loadings_prior="none",
        closed=counts.closed,
        layer=layer,
        gene_symbols=gene_symbols,
        batch_key=batch_key,
        size_factor_key=size_factor_key,
        size_factor_scale=counts.size_factor_scale,
        covariates=read_covariates(adata, batch_key, covariate_keys),
        encoder="given",
        use_rep=use_rep,
    )
    design = design_matrix(adata, config.covariates)
    model, variance = LDVAE(config, torch.Generator().manual_seed(0)).eval(), np.zeros_like(positions)
    with torch.no_grad():
        model.loadings.zero_()
    factors = factors_of(
        model, counts.matrix, counts.lib_size, design, positions, variance,
        measure=True, seed=seed, progress=checks.boolean("progress", progress),
    )  # fmt: skip
    _regress(model, counts, design, positions, factors, seed)
    empty = np.zeros(0)
    return Fit(
        config=config,
        genes=counts.genes,
        cells=counts.cells,
        lib_size=counts.lib_size,
        weights={k: v.numpy() for k, v in model.state_dict().items()},
        latent_mean=positions,
        latent_variance=variance,
        history={"epoch": empty.astype(np.int64)}
        | dict.fromkeys(("elbo_train", "elbo_validation", "reconstruction", "kl"), empty),
        factors=factors,
        info={"version": VERSION, "device": "cpu", "seed": seed, "stopped": f"positions of {use_rep}"},
    )


@torch.no_grad()
def _regress(
    model: LDVAE, counts: Counts, design: np.ndarray, positions: np.ndarray, factors: dict[str, np.ndarray], seed: int
) -> None:
    """The decoder: counts of each gene on the scores of the factors and the covariates."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(positions))[:_CELLS])
    axes = factors["rotation"][:, factors["active"]]
    columns = np.column_stack([np.ones(len(rows)), (positions[rows] - factors["center"]) @ axes, design[rows]])
    prior = np.r_[0, np.full(columns.shape[1] - 1, _PRIOR)]
    x, half = counts.matrix[rows].tocsc(), np.arange(len(rows)) % 2 == 0
    for start in range(0, x.shape[1], _GENES):
        genes = slice(start, min(start + _GENES, x.shape[1]))
        fitted = nb_regression(x[:, genes].toarray().T, columns, counts.lib_size[rows], prior, half)
        of_factors, of_design = np.split(fitted.coefficient[:, 1:], [axes.shape[1]], axis=1)
        loadings = of_factors @ axes.T
        model.loadings[genes] = torch.from_numpy(loadings).float()
        model.intercept[genes] = torch.from_numpy(fitted.coefficient[:, 0] - loadings @ factors["center"]).float()
        model.design_effect[:, genes] = torch.from_numpy(of_design.T).float()
        model.log_dispersion[genes] = torch.from_numpy(np.log(fitted.theta)).float()
