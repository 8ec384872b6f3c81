"""The one basis in which factors are reported: centred, rotated, ordered, signed and scaled.

A softmax leaves every column of loadings free up to a constant, and a Gaussian latent leaves their basis free: two
trainings agree on the span of the loadings, not on the columns. Centring over genes removes the constants, a varimax
rotation of the leading singular vectors (Kaiser 1958) fixes the basis, and scores of unit variance fix the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stats.rotations import varimax

__all__ = ["Canonical", "canonical_basis"]

_CELLS_AT_A_TIME = 10_000  # whose variances are turned at a time
_ACTIVE_KL = 0.1  # nats per cell that a factor must carry about the cells to count as supported


@dataclass(frozen=True)
class Canonical:
    """Scores are (z - center) @ rotation; `loadings` (genes × K) are natural-log units per unit of score."""

    loadings: np.ndarray
    rotation: np.ndarray
    center: np.ndarray
    kl: np.ndarray
    active: np.ndarray


def canonical_basis(loadings: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> Canonical:
    """Canonical factors of a linear map from z to log expression.

    Parameters
    ----------
    loadings
        Genes × K, natural-log units per unit of z; columns need not be centred.
    mean, variance
        Posterior of z, cells × K.
    """
    n_latent = loadings.shape[1]
    centred = loadings - loadings.mean(0)
    noise = np.diag(variance.mean(0))
    total = np.atleast_2d(np.cov(mean.T)) + noise
    values, vectors = np.linalg.eigh(total)
    # the softmax latent has one direction without variance: give it a score of zero instead of dividing by it
    keep = values > values.max() * 1e-10
    root = (vectors * np.sqrt(np.where(keep, values, 0))) @ vectors.T
    inverse = (vectors * np.where(keep, 1 / np.sqrt(np.where(keep, values, 1)), 0)) @ vectors.T
    _, triangle = np.linalg.qr(centred)
    _, _, right = np.linalg.svd(triangle @ root)
    rotation = inverse @ right.T
    scaled = centred @ (root @ right.T)
    active = _information(variance, rotation) >= _ACTIVE_KL
    order = np.r_[np.flatnonzero(active), np.flatnonzero(~active)]
    rotation, scaled = rotation[:, order], scaled[:, order]
    n_active = int(active.sum())
    turn = np.eye(n_latent)
    if n_active > 1:
        turn[:n_active, :n_active] = varimax(scaled[:, :n_active])
    rotation, scaled = rotation @ turn, scaled @ turn
    strength = (scaled**2).sum(0)
    order = np.r_[np.argsort(-strength[:n_active]), n_active + np.argsort(-strength[n_active:])]
    sign = np.where((scaled[:, order] ** 3).sum(0) < 0, -1.0, 1.0)
    rotation, scaled = rotation[:, order] * sign, scaled[:, order] * sign
    return Canonical(scaled, rotation, mean.mean(0), _information(variance, rotation), np.arange(n_latent) < n_active)


def _information(variance: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Mutual information of each unit-variance score and the cell: -1/2 E[log posterior variance] (nats)."""
    total = np.zeros(rotation.shape[1])
    for start in range(0, len(variance), _CELLS_AT_A_TIME):
        spread = variance[start : start + _CELLS_AT_A_TIME] @ rotation**2
        total += np.log(np.clip(spread, 1e-12, None)).sum(0)
    return -0.5 * total / len(variance)
