"""Rotations that make columns sparse, or symmetric matrices diagonal together."""

from __future__ import annotations

import numpy as np

__all__ = ["joint_diagonalizer", "varimax"]


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


def joint_diagonalizer(matrices: np.ndarray, n_sweeps: int = 100, tolerance: float = 1e-10) -> np.ndarray:
    """The rotation (r × r) in whose basis symmetric `matrices` (m × r × r) are as diagonal as they can be together.

    References
    ----------
    Cardoso & Souloumiac (1996), Jacobi angles for simultaneous diagonalization. SIAM J. Matrix Anal. Appl. 17(1).
    """
    a, r = np.array(matrices, dtype=np.float64), matrices.shape[-1]
    rotation = np.eye(r)
    for _ in range(n_sweeps):
        largest = 0.0
        for p in range(r - 1):
            for q in range(p + 1, r):
                h = np.stack([a[:, p, p] - a[:, q, q], a[:, p, q] + a[:, q, p]])
                g = h @ h.T
                on, off = g[0, 0] - g[1, 1], g[0, 1] + g[1, 0]
                angle = 0.5 * np.arctan2(off, on + np.hypot(on, off))
                largest = max(largest, abs(angle))
                c, s = np.cos(angle), np.sin(angle)
                turn = np.array([[c, -s], [s, c]])
                a[:, :, [p, q]] = a[:, :, [p, q]] @ turn
                a[:, [p, q], :] = turn.T @ a[:, [p, q], :]
                rotation[:, [p, q]] = rotation[:, [p, q]] @ turn
        if largest < tolerance**0.5:
            break
    return rotation
