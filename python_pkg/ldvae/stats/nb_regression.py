"""Negative binomial regressions of many genes on the same few columns, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Regression", "evidence", "nb_regression"]

_STEPS = 7  # of Newton's
_DISPERSION_AT = (2, 4)  # steps before which each gene's dispersion is estimated (again)
_THETA = (0.05, 1e3)  # inverse dispersion
_LARGEST_STEP = 1.0  # of a coefficient at a time
_LOG_SHARE = (-30.0, 3.0)  # of the library, natural log
_BLOCK = 4_000_000  # entries genes × cells held at a time
_LEAST = 1e-6  # information that no column is without, so that a gene without counts can be solved for


@dataclass(frozen=True)
class Regression:
    """The penalised fit of every gene, and what its likelihood is like there.

    Attributes
    ----------
    coefficient
        Genes × columns, maximum of the likelihood times a normal prior.
    information, gradient
        Of the likelihood alone in each half of the cells (2 × genes × columns (× columns)).
    scatter
        Sum over cells of the squares of their gradients (genes × columns × columns), for robust errors.
    theta
        Inverse dispersion of each gene.
    """

    coefficient: np.ndarray
    information: np.ndarray
    gradient: np.ndarray
    scatter: np.ndarray
    theta: np.ndarray


def nb_regression(
    counts: np.ndarray, columns: np.ndarray, lib_size: np.ndarray, penalty: np.ndarray, half: np.ndarray
) -> Regression:
    """Regress each gene's counts on the same columns: log mu = log library + columns @ coefficient.

    Parameters
    ----------
    counts
        Genes × cells.
    columns
        Cells × p; the first is the intercept.
    lib_size
        Library size of each cell.
    penalty
        Precision of a normal prior around 0 on each column's coefficient (p).
    half
        Which half of the cells each belongs to (boolean).

    Returns
    -------
    Regression
        Of all genes, in order.
    """
    at_once = max(1, _BLOCK // max(len(columns), 1))
    order = np.argsort(half, kind="stable")  # halves become slices
    cut = int((~half).sum())
    d, library = np.asarray(columns, np.float32)[order], np.asarray(lib_size)[order]
    upper = np.triu_indices(d.shape[1])
    pairs = d[:, upper[0]] * d[:, upper[1]]
    parts = []
    for start in range(0, max(len(counts), 1), at_once):
        x = np.ascontiguousarray(counts[start : start + at_once, order], dtype=np.float32)
        parts.append(_newton(x, d, pairs, library, penalty, cut))
    c, information, gradient, scatter, theta = zip(*parts, strict=True)
    return Regression(
        np.concatenate(c), np.concatenate(information, 1), np.concatenate(gradient, 1),
        np.concatenate(scatter), np.concatenate(theta),
    )  # fmt: skip


def _newton(
    x: np.ndarray, d: np.ndarray, pairs: np.ndarray, library: np.ndarray, penalty: np.ndarray, cut: int
) -> tuple[np.ndarray, ...]:
    """Newton's steps for some genes (genes × cells), the cells of the first half before `cut`."""
    log_library = np.log(library).astype(np.float32)
    p = d.shape[1]
    c = np.zeros((len(x), p))
    c[:, 0] = np.log((x.sum(1, dtype=np.float64) + 1e-3) / library.sum())
    theta = np.full(len(x), _THETA[1])
    ridge = np.diag(penalty + _LEAST)
    for step in range(_STEPS):
        mu = _mean(c, d, log_library)
        if step in _DISPERSION_AT:
            theta = _dispersion(x, mu)
        over = 1 / (1 + mu / theta[:, None].astype(np.float32))
        gradient = ((x - mu) * over) @ d - penalty * c
        move = np.linalg.solve(_square((mu * over) @ pairs, p) + ridge, gradient[..., None])[..., 0]
        c += np.clip(move, -_LARGEST_STEP, _LARGEST_STEP)
    mu = _mean(c, d, log_library)
    over = 1 / (1 + mu / theta[:, None].astype(np.float32))
    residual, weight = (x - mu) * over, mu * over
    halves = (slice(cut), slice(cut, None))
    information = np.stack([_square(weight[:, h] @ pairs[h], p) for h in halves])
    return c, information, np.stack([residual[:, h] @ d[h] for h in halves]), _square(residual**2 @ pairs, p), theta


def _mean(c: np.ndarray, d: np.ndarray, log_library: np.ndarray) -> np.ndarray:
    mu = np.clip(c.astype(np.float32) @ d.T, *_LOG_SHARE)
    mu += log_library
    return np.exp(mu, out=mu)


def _square(upper: np.ndarray, p: int) -> np.ndarray:
    """Symmetric matrices from their upper triangles."""
    out = np.empty((len(upper), p, p))
    rows, columns = np.triu_indices(p)
    out[:, rows, columns] = out[:, columns, rows] = upper
    return out


def _dispersion(x: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Inverse dispersion by moments: the variance beyond Poisson's, over mu²."""
    excess = ((x - mu) ** 2 - x).sum(1, dtype=np.float64)
    return np.clip((mu**2).sum(1, dtype=np.float64) / np.maximum(excess, 1e-9), *_THETA)


def evidence(
    counts: np.ndarray, columns: np.ndarray, lib_size: np.ndarray, theta: np.ndarray, full: np.ndarray, less: np.ndarray
) -> np.ndarray:
    """By how many standard errors coefficients `full` are likelier than `less`: the root of twice the log ratio.

    Parameters
    ----------
    counts
        Entries × cells; theta, `full` and `less` (entries × p) belong to the same entries.
    """
    out = np.zeros(len(counts))
    d, log_library = np.asarray(columns, np.float32), np.log(lib_size).astype(np.float32)
    at_once = max(1, _BLOCK // max(len(d), 1))
    for start in range(0, len(counts), at_once):
        rows = slice(start, start + at_once)
        x, th = counts[rows], theta[rows, None].astype(np.float32)
        b = less[rows].copy()
        mu = _mean(b, d, log_library)
        for _ in range(2):  # an intercept of its own, by Newton's steps
            over = 1 / (1 + mu / th)
            step = ((x - mu) * over).sum(1, dtype=np.float64) / np.maximum((mu * over).sum(1, dtype=np.float64), _LEAST)
            b[:, 0] += np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
            mu = _mean(b, d, log_library)
        ratio = _log_likelihood(x, _mean(full[rows], d, log_library), th) - _log_likelihood(x, mu, th)
        out[rows] = np.sqrt(np.maximum(2 * ratio, 0))
    return out


def _log_likelihood(x: np.ndarray, mu: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Up to a constant of the counts."""
    total = x * np.log(mu) - (x + theta) * np.log1p(mu / theta)
    return total.sum(1, dtype=np.float64)
