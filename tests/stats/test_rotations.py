"""Rotations find planted ones, and none nearby is better."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.multivariate.factor_rotation import rotate_factors

from ldvae.stats.rotations import varimax

N_GENES, K = 120, 5


def planted():
    """Sparse loadings of decreasing strength."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_GENES, K)) * (rng.random((N_GENES, K)) < 0.2) * np.linspace(2, 1, K)


def criterion(loadings):
    """Kaiser's: variance of the squared loadings, summed over columns."""
    return (loadings**2).var(0).sum()


def test_varimax_is_orthogonal_and_raises_its_criterion():
    loadings = planted() @ np.linalg.qr(np.random.default_rng(0).normal(size=(K, K)))[0]
    rotation = varimax(loadings)
    assert np.allclose(rotation.T @ rotation, np.eye(K), atol=1e-10)
    assert criterion(loadings @ rotation) > criterion(loadings) * 1.5
    rng = np.random.default_rng(1)
    for _ in range(50):  # no rotation nearby is better
        skew = rng.normal(0, 0.02, (K, K))
        near = np.linalg.qr(np.eye(K) + skew - skew.T)[0]
        assert criterion(loadings @ rotation @ near) <= criterion(loadings @ rotation) * (1 + 1e-9)


def test_varimax_is_statsmodels_varimax():
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(K, K)))[0]
    loadings = planted() @ turn + np.random.default_rng(3).normal(0, 0.05, (N_GENES, K))
    found, (wanted, _) = loadings @ varimax(loadings), rotate_factors(loadings, "varimax")
    assert criterion(found) == pytest.approx(criterion(wanted), rel=1e-4)
    correlation = np.abs(np.corrcoef(found.T, wanted.T)[:K, K:])
    assert (correlation.max(0) > 0.9999).all()
