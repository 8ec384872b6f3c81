"""Where cells lie, told from any part of their genes by helpers that other cells taught.

A helper is the leading principal components of square roots of relative counts, of one half of the cells; it places the
other half. Components are sums over genes, so that a score without some genes is a subtraction. A linear map, learnt on
the helper's own cells, takes its positions into the space that is asked about: any latent can be.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from tqdm import tqdm

__all__ = ["place", "teach", "transform"]

_COMPONENTS = 30
_SPARE, _SWEEPS = 10, 4  # further directions and sweeps of the subspace iteration, after which the components stand
_RIDGE = 1e-2  # on the map between two spaces, in variances of the helper's


def transform(counts: sp.csr_matrix, lib_size: np.ndarray) -> sp.csr_matrix:
    """Square roots of relative counts."""
    y = sp.csr_matrix(sp.diags((1 / lib_size).astype(np.float32)) @ counts, dtype=np.float32)
    y.data = np.sqrt(y.data)
    return y


def teach(y: sp.csr_matrix, rng: np.random.Generator) -> np.ndarray:
    """Leading principal components (genes × components) of transformed counts, by subspace iteration.

    References
    ----------
    Halko, Martinsson & Tropp (2011), Finding structure with randomness. SIAM Review 53(2).
    """
    n, n_genes = y.shape
    mean = np.asarray(y.mean(0), np.float32).ravel()
    basis = rng.standard_normal((n_genes, min(_COMPONENTS + _SPARE, n, n_genes)), np.float32)
    for _ in range(_SWEEPS):
        left = y @ basis - mean @ basis
        basis, _ = np.linalg.qr(y.T @ left - np.outer(mean, left.sum(0)))
    _, _, turn = np.linalg.svd(y @ basis - mean @ basis, full_matrices=False)
    return np.ascontiguousarray((basis @ turn.T)[:, :_COMPONENTS])


def place(
    counts: sp.csr_matrix,
    lib_size: np.ndarray,
    nuisance: np.ndarray,
    target: np.ndarray,
    folds: Sequence[np.ndarray],
    subsets: np.ndarray,
    halves: Sequence[np.ndarray],
    rng: np.random.Generator,
    progress: bool,
) -> np.ndarray:
    """Positions of all cells in the space of `target`, by subsets of the genes (subsets × cells × K).

    Parameters
    ----------
    counts, lib_size
        Cells × genes.
    nuisance
        What is taken out of the positions (cells × columns, with a constant): depth, covariates.
    target
        Where the cells lie in the space that is asked about (cells × K).
    folds, subsets
        Genes of each fold, and which folds each subset has (subsets × folds, boolean).
    halves
        For each split of the cells, which half every cell is in (boolean): each half is placed by a helper that the
        other one taught. Positions are averaged over splits.
    """
    out = np.zeros((len(subsets), *target.shape), np.float32)
    y = transform(counts, lib_size)
    columns = y.tocsc()
    of_folds = [columns[:, fold].tocsr() for fold in folds]
    for half in tqdm(halves, "factors", leave=False, disable=None if progress and sys.stderr else True):
        for scored in (half, ~half):
            weight = teach(y[~scored], rng)
            parts = np.stack([own @ weight[fold] for own, fold in zip(of_folds, folds, strict=True)])
            projection = np.linalg.pinv(nuisance[scored])
            for j, subset in enumerate(subsets.astype(np.float32)):
                found = np.tensordot(subset, parts, 1).astype(np.float64)
                taught = found[~scored]
                found = (found - taught.mean(0)) / np.maximum(taught.std(0), 1e-12)
                placed = found[scored] @ _map(found[~scored], target[~scored])
                out[j, scored] += (placed - nuisance[scored] @ (projection @ placed)) / len(halves)
    return out


def _map(positions: np.ndarray, target: np.ndarray) -> np.ndarray:
    gram = positions.T @ positions + _RIDGE * len(positions) * np.eye(positions.shape[1])
    return np.linalg.solve(gram, positions.T @ target)
