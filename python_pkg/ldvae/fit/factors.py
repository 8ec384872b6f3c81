"""What a trained model says about its factors: canonical loadings, their uncertainty, what each explains."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from ..counts.minibatches import Minibatch, SparseCounts
from ..machine.processes import ALONE, Ranks
from ..model.link import log_expression
from ..model.network import LDVAE
from ..stats.centre import centre
from ..stats.shrinkage import ash
from ..tables import GENES, LEVEL, LN2
from .axes import measured_factors
from .canonical import Canonical, canonical_basis
from .posterior import latent_moments, linear_map

__all__ = ["describe_factors", "factors_of"]

_INFORMATION_CELLS = 3000  # cells whose information is added up and scaled to all: enough for a standard error
_FLAT = 1e-6  # prior precision where loadings have no prior


def factors_of(
    model: LDVAE,
    counts: sp.csr_matrix,
    lib_size: np.ndarray,
    design: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    measure: bool,
    seed: int = 0,
    ranks: Ranks = ALONE,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """`Fit.factors`: measured (`axes`), or read off the decoder."""
    if measure:
        return measured_factors(
            model, counts, lib_size, design, mean, variance, seed=seed, ranks=ranks, progress=progress
        )
    data = SparseCounts(counts, lib_size, design, torch.device("cpu"))
    return describe_factors(model, data, mean, variance)


def describe_factors(
    model: LDVAE, counts: SparseCounts, mean: np.ndarray, variance: np.ndarray
) -> dict[str, np.ndarray]:
    """The canonical factors of a trained model as plain arrays (`Fit.factors`).

    Loadings of active factors are centred where most genes lie, and are posterior means under an adaptive prior
    (Stephens 2017): genes that do not take part, whose loadings differ from one training to the next, go to zero, and
    the others stay as they are.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU.
    counts
        The training cells.
    mean, variance
        Gaussian posterior of the training cells.
    """
    z, z_variance = latent_moments(model, mean, variance)
    linear = linear_map(model, z, z_variance)
    basis = canonical_basis(linear, z, z_variance)
    loadings = basis.loadings.copy()
    std, lfsr = np.full_like(loadings, np.nan), np.ones_like(loadings)
    for j, (estimate, error) in enumerate(zip(*_estimates(model, counts, basis, linear, z, z_variance), strict=True)):
        shrunk = ash(estimate - centre(estimate, error), error)
        loadings[:, j], std[:, j], lfsr[:, j] = shrunk.mean, shrunk.std, shrunk.lfsr
    # a factor whose loadings have no sure sign describes nothing, however much the cells spread along it
    active = basis.active & ((lfsr < LEVEL).sum(0) >= GENES)
    loadings[:, ~active] = basis.loadings[:, ~active]
    std[:, ~active] = np.nan
    strength = (loadings**2).sum(0)
    order = np.lexsort((-strength, ~active))
    return {
        "loadings": loadings[:, order] / LN2,
        "loadings_std": std[:, order] / LN2,
        "loadings_lfsr": lfsr[:, order],
        "rotation": basis.rotation[:, order],
        "center": basis.center,
        "variance_explained": strength[order] / max(strength.sum(), 1e-300),
        "kl": basis.kl[order],
        "active": active[order],
    }


def _estimates(
    model: LDVAE, counts: SparseCounts, basis: Canonical, linear: np.ndarray, z: np.ndarray, z_variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Loadings before shrinkage and centring, and their standard errors: supported factors × genes, natural-log units.

    Their posterior given the latent positions has the precision H_g + prior, with the Fisher information
    H_g = sum over cells of w [1, f][1, f]ᵀ, w = mu theta / (mu + theta) (in expectation over f). Taking the normal
    prior out of each marginal again leaves the estimate and its standard error.
    """
    n_active = int(basis.active.sum())
    if not n_active:
        return np.empty((0, counts.n_genes)), np.empty((0, counts.n_genes))
    prior = _prior_variance(model, basis)[:n_active]
    variance = np.minimum(_posterior_std(model, counts, basis, z, z_variance, prior) ** 2, 0.999 * prior)
    error2 = variance * prior / (prior - variance)
    # not centred: the prior is about zero where training has it, so that a gene without counts stays there
    loadings = linear @ np.linalg.pinv(basis.rotation).T[:, :n_active]
    return (loadings * (1 + error2 / prior)).T, np.sqrt(error2).T


def _prior_variance(model: LDVAE, basis: Canonical) -> np.ndarray:
    """Prior variance of the canonical loadings, per factor."""
    if not model.shrunken:
        return np.full(basis.loadings.shape[1], 1 / _FLAT)
    with torch.no_grad():
        tau2 = (model.loadings.square() + model.loadings_log_variance.exp()).mean(0).double().numpy()
    to_canonical = np.linalg.pinv(basis.rotation).T  # loadings (in z) @ to_canonical = canonical loadings
    return tau2 @ to_canonical**2


def _posterior_std(
    model: LDVAE, counts: SparseCounts, basis: Canonical, z: np.ndarray, z_variance: np.ndarray, prior: np.ndarray
) -> np.ndarray:
    """Genes × active factors: posterior standard deviation of canonical loadings (natural log)."""
    n, r = len(z), len(prior)
    rows = np.sort(np.random.default_rng(0).permutation(n)[:_INFORMATION_CELLS])
    rotation = basis.rotation[:, :r]
    score = np.c_[np.ones(len(rows)), (z[rows] - basis.center) @ rotation].astype(np.float32)
    spread = np.c_[np.zeros(len(rows)), z_variance[rows] @ rotation**2].astype(np.float32)
    upper = np.triu_indices(r + 1)
    information = torch.zeros(counts.n_genes, len(upper[0]))
    theta = model.log_theta.detach().exp()
    for start in range(0, len(rows), 256):
        block = slice(start, min(start + 256, len(rows)))
        products = score[block][:, upper[0]] * score[block][:, upper[1]]
        diagonal = np.flatnonzero(upper[0] == upper[1])
        products[:, diagonal] += spread[block]
        mu = _mean_counts(model, counts.minibatch(torch.from_numpy(rows[block])), z[rows[block]])
        weight = mu if model.config.gene_likelihood == "poisson" else mu * theta / (mu + theta)
        information += weight.T @ torch.from_numpy(products)
    scale = n / len(rows)
    full = np.zeros((counts.n_genes, r + 1, r + 1))
    full[:, upper[0], upper[1]] = full[:, upper[1], upper[0]] = information.numpy() * scale
    full[:, range(r + 1), range(r + 1)] += np.r_[_FLAT, 1 / prior]
    return np.sqrt(np.linalg.inv(full)[:, range(1, r + 1), range(1, r + 1)])


@torch.no_grad()
def _mean_counts(model: LDVAE, batch: Minibatch, z: np.ndarray) -> torch.Tensor:
    logits = model.decode(torch.from_numpy(z).float(), batch.design)
    return (log_expression(logits, model.config.closed) + batch.log_library).exp()
