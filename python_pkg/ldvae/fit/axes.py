"""The axes of a latent in which a fit reports: its measured factors, then the directions that are none."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from ..checks import note
from ..machine.processes import Ranks
from ..model.network import LDVAE
from ..tables import LN2
from .measured import Measured, measure_factors
from .posterior import latent_moments, linear_map

__all__ = ["measured_factors"]

_CELLS = 20_000  # that are measured; a seeded sample of more settles loadings to a hundredth
_ENTRIES = 60_000_000  # cells × genes at most, but no fewer cells than these:
_FEW = 5_000
_HELD = 0.4  # correlation of a factor and the latent, below which it is none of the latent's
_RIDGE = 1e-3  # in variances of a coordinate: one that is constant takes no part


def measured_factors(
    model: LDVAE,
    counts: sp.csr_matrix,
    lib_size: np.ndarray,
    design: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    *,
    seed: int,
    ranks: Ranks,
    progress: bool,
) -> dict[str, np.ndarray]:
    """`Fit.factors` of a latent whose directions are measured on the counts of its cells.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU: what it says of the directions that are no factors.
    counts, lib_size, design
        The cells; of several processes, each has the counts of its own.
    mean, variance
        Gaussian posterior of the positions.
    seed, ranks, progress
        As in training.
    """
    z, z_variance = latent_moments(model, mean, variance)
    n, n_genes = counts.shape
    most = min(_CELLS, max(_FEW, _ENTRIES // n_genes))
    rows = np.sort(np.random.default_rng(seed).permutation(n)[:most])
    part = ranks.together(counts[rows])
    found = measure_factors(
        part, lib_size[rows], design[rows], z[rows].astype(np.float64), seed=seed, progress=progress and ranks.rank == 0
    )
    axes, held = _axes(z[rows], z_variance[rows].mean(0), found)
    if held.sum() == z.shape[1] > 1:
        note(f"All {z.shape[1]} directions of the latent are factors; a larger `n_latent` may show more.")
    if not held.any():
        note(
            "No direction of the latent is a factor that other genes confirm: tables of factors are empty. Populations "
            "can be asked about all the same; more cells, more genes or deeper counts may show factors."
        )
    return _completed(found.take(held), axes[:, held], linear_map(model, z, z_variance), z)


def _axes(z: np.ndarray, noise: np.ndarray, found: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Where in the latent the factors lie (K × r), and which of them it holds.

    Scores of helpers are regressed on positions drawn from their posterior (of variance `noise`): a coordinate of which
    counts tell next to nothing is not blown up to tell something. The correlation of both is divided by what noise of
    the scores leaves of it.
    """
    centred = (z - z.mean(0)).astype(np.float64)
    covariance = centred.T @ centred / len(z)
    ridge = np.diag(noise + _RIDGE * np.maximum(np.diag(covariance), 1e-300))
    cross = centred.T @ found.scores / len(z)
    axes = np.linalg.solve(covariance + ridge, cross)
    scores = centred @ axes
    held = (axes * cross).sum(0) / np.maximum(scores.std(0), 1e-300)
    return axes, held >= _HELD * np.sqrt(found.reliability)


def _completed(found: Measured, axes: np.ndarray, linear: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    """Measured factors and what is left of the latent: directions uncorrelated with their scores, by the decoder."""
    centre = z.mean(0)
    covariance = np.atleast_2d(np.cov(z.T.astype(np.float64)))
    axes = axes / np.sqrt(np.maximum(np.diag(axes.T @ covariance @ axes), 1e-300))
    rest = _rest(axes, covariance)
    rotation = np.concatenate([axes, rest], 1)
    r, n_genes = axes.shape[1], len(linear)
    theirs = ((linear - linear.mean(0)) @ np.linalg.pinv(rotation).T)[:, r:]
    order = np.argsort(-(theirs**2).sum(0), kind="stable")
    rotation = np.concatenate([axes, rest[:, order]], 1)
    loadings = np.concatenate([found.loadings, theirs[:, order]], 1)
    strength, none = (loadings**2).sum(0), len(order)
    return {
        "loadings": loadings / LN2,
        "loadings_std": np.concatenate([found.std / LN2, np.full((n_genes, none), np.nan)], 1),
        "loadings_lfsr": np.concatenate([found.lfsr, np.ones((n_genes, none))], 1),
        "rotation": rotation,
        "center": centre,
        "variance_explained": strength / max(strength.sum(), 1e-300),
        "kl": np.r_[-0.5 * np.log1p(-np.minimum(found.reliability, 1 - 1e-9)), np.full(none, np.nan)],
        "active": np.arange(r + none) < r,
        "reliability": np.r_[found.reliability, np.full(none, np.nan)],
        "pval": np.r_[found.pvalue, np.full(none, np.nan)],
    }


def _rest(axes: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Directions whose scores are uncorrelated with those along `axes` and with each other, of unit variance.

    A direction without variance, as the softmax latent has one, gets a score of zero.
    """
    basis = scipy.linalg.null_space(axes.T @ covariance) if axes.shape[1] else np.eye(len(covariance))
    basis = basis[:, : len(covariance) - axes.shape[1]]
    values, vectors = np.linalg.eigh(basis.T @ covariance @ basis)
    kept = values > 1e-10 * max(float(np.trace(covariance)), 1e-300)
    return np.asarray(basis @ (vectors * np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)))
