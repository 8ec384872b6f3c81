"""Directions of a latent space that disjoint halves of the genes agree on, more than chance would."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from ..tables import LEVEL

__all__ = ["FOLDS", "Directions", "reliable_directions"]

FOLDS = 10  # of the genes: a score without one of them keeps nine tenths of what the counts tell
_SHUFFLES = 199
_RELIABLE = 0.5  # share of a score's variance that other genes confirm; weaker ones differ by seed (validity: factors)
_CROSS = 5  # parts of the cells: the reliability of a direction is that in cells which did not choose it
_LEAST = 0.02  # reliability, as far as noise is divided out
_FLOOR = 1e-3  # of the total variance, under which a direction of the latent is nothing


@dataclass(frozen=True)
class Directions:
    """Directions of the latent (K × r): reliability, p-value, and scores without each fold and from all genes."""

    axes: np.ndarray
    reliability: np.ndarray
    pvalue: np.ndarray
    scores: np.ndarray  # folds × cells × r, unit variance
    whole: np.ndarray  # cells × r, from all genes, unit variance


def reliable_directions(u: np.ndarray, v: np.ndarray, asked: np.ndarray, rng: np.random.Generator) -> Directions:
    """What positions from halves of the genes (halvings × cells × K each) agree on, more than chance would.

    Eigenvectors of their cross-covariance against the total covariance. The null gives every cell a random sign: of the
    largest eigenvalues in what larger directions leave, the observed one must be beyond 95 %. `asked` are positions
    without each fold and, last, from all genes.
    """
    cross, total = _moments(u, v)
    values, axes = scipy.linalg.eigh(cross, _floored(total))
    values, axes = values[::-1], axes[:, ::-1]
    pvalue = _chance(u @ axes.astype(np.float32), v @ axes.astype(np.float32), values, rng)
    r = int(np.argmax(np.r_[pvalue > LEVEL, True]))
    axes = axes[:, :r]
    agreed, everything = np.zeros(r), np.zeros(r)
    scores = np.zeros((len(asked), u.shape[1], r))
    part = rng.permutation(u.shape[1]) % _CROSS
    for c in range(_CROSS if r else 0):
        own = part == c
        cross, total = _moments(u[:, ~own], v[:, ~own])
        total = _floored(total)
        turned = scipy.linalg.eigh(cross, total)[1][:, ::-1][:, :r]
        left, _, right = np.linalg.svd(turned.T @ total @ axes)
        turned = turned @ left @ right  # the same directions without these cells, as alike as can be
        scores[:, own] = asked[:, own] @ turned
        a, b = u[:, own] @ turned, v[:, own] @ turned
        agreed += (a * b).sum((0, 1))
        everything += (a**2 + b**2).sum((0, 1)) / 2
    of_half = np.maximum(agreed / np.maximum(everything, 1e-300), _LEAST)
    more = 2 * (FOLDS - 1) / FOLDS  # genes in a score without one fold, in halves (Spearman & Brown)
    reliability = more * of_half / (1 + (more - 1) * of_half)
    kept = reliability >= _RELIABLE
    scores = scores[..., kept]
    scores /= np.maximum(scores.std(1, keepdims=True), 1e-300)
    return Directions(axes[:, kept], reliability[kept], pvalue[:r][kept], scores[:-1], scores[-1])


def _moments(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric cross-covariance and mean covariance (K × K) of two sets of positions (halvings × cells × K)."""
    n = u.shape[0] * u.shape[1]
    a, b = (x.reshape(n, -1).astype(np.float64) for x in (u, v))
    cross = a.T @ b / n
    return (cross + cross.T) / 2, (a.T @ a + b.T @ b) / (2 * n)


def _floored(total: np.ndarray) -> np.ndarray:
    return np.asarray(total + (_FLOOR * np.trace(total) / len(total) + 1e-12) * np.eye(len(total)))


def _chance(u: np.ndarray, v: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """P-value of each eigenvalue, given that the larger ones are there."""
    n, k = u.shape[1:]
    exceeded = np.ones(k)
    for _ in range(_SHUFFLES):
        signs = rng.choice(np.array([-1, 1], np.float32), n)
        cross = np.mean([(a * signs[:, None]).T @ b / n for a, b in zip(u, v, strict=True)], axis=0)
        cross = (cross + cross.T) / 2
        largest = np.array([np.linalg.eigvalsh(cross[j:, j:])[-1] for j in range(k)])
        exceeded = exceeded + (largest >= values)
    return exceeded / (1 + _SHUFFLES)
