"""Rotations that make columns sparse."""

from __future__ import annotations

import numpy as np

__all__ = ["varimax"]


def varimax(loadings: np.ndarray, n_iter: int = 500, tolerance: float = 1e-8) -> np.ndarray:
    """The orthogonal rotation (K × K) that makes the columns of `loadings @ rotation` as sparse as it can."""
    rotation = np.eye(loadings.shape[1])
    previous = 0.0
    for _ in range(n_iter):
        rotated = loadings @ rotation
        left, singular, right = np.linalg.svd(loadings.T @ (rotated**3 - rotated * (rotated**2).mean(0)))
        rotation = left @ right
        if singular.sum() <= previous * (1 + tolerance):
            break
        previous = singular.sum()
    return rotation
