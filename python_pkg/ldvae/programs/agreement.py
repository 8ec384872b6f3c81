"""When programs of different populations are one, and what one population may learn from the others.

Slopes are arrays over all genes, with their variances; NaN where a gene is not tested.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..stats.shrinkage import ash

__all__ = ["Slope", "agreement", "borrow", "pool", "signal"]

Slope = tuple[np.ndarray, np.ndarray]  # of every gene, with its variance

_FLOOR = 0.01  # variance below which no gene counts more
_FEW = 20  # genes, of which nothing can be said
_CLEAR = 3.0  # standard errors of a covariance, below which there is none
_AMPLITUDE = 3.0  # largest ratio of one population's slopes to another's that is believed


def signal(slope: Slope) -> np.ndarray:
    """Expected squares of the true slopes, under a sparse prior."""
    known = np.isfinite(slope[0]) & np.isfinite(slope[1])
    posterior = ash(np.where(known, slope[0], np.nan), np.sqrt(np.where(known, slope[1], 1.0)))
    return np.asarray(np.where(known, posterior.mean**2 + np.nan_to_num(posterior.std) ** 2, 0.0))


def agreement(x: Slope, y: Slope, of_x: np.ndarray | None = None, of_y: np.ndarray | None = None) -> float:
    """Correlation of two sets of slopes freed from the noise of both; 0 where it is not beyond doubt.

    `of_x`, `of_y` are their `signal`, if it is known already.
    """
    both = np.isfinite(x[1]) & np.isfinite(y[1])
    if both.sum() < _FEW:
        return 0.0
    weight = 1 / (x[1][both] + y[1][both] + _FLOOR)
    product = weight * x[0][both] * y[0][both]
    if abs(product.sum()) < _CLEAR * np.sqrt((product**2).sum()):
        return 0.0
    squares = [(weight * (signal(s) if own is None else own)[both]).sum() for s, own in ((x, of_x), (y, of_y))]
    return float(np.clip(product.sum() / np.sqrt(max(squares[0] * squares[1], 1e-12)), -1, 1))


def pool(members: Sequence[Slope]) -> Slope:
    """Slopes of several populations together, by their precision."""
    weighted = squares = total = np.zeros(1)
    for slope, variance in members:
        weight = np.nan_to_num(1 / (variance + _FLOOR))
        weighted, total = weighted + np.nan_to_num(slope) * weight, total + weight
        squares = squares + weight**2 * np.nan_to_num(variance)
    known = total > 0
    safe = np.where(known, total, 1.0)
    return np.where(known, weighted / safe, np.nan), np.where(known, squares / safe**2, np.nan)


def borrow(own: Slope, others: Slope) -> Slope:
    """A population's slopes, drawn to what the others say by as much as they agree.

    own ~ N(beta, variance), beta = c mu + deviation, where mu has the posterior that `ash` gives the others' slopes: c
    by regression on its mean (which is not attenuated), the variance of the deviations by moments. Estimate and
    variance of beta, the error of c among it.
    """
    known = np.isfinite(own[1]) & np.isfinite(others[1])
    if known.sum() < _FEW:
        return own
    b, variance = own[0][known], own[1][known]
    posterior = ash(others[0][known], np.sqrt(others[1][known]))
    m, of_m = posterior.mean, posterior.std**2
    weight = 1 / (variance + of_m + _FLOOR)
    square, product = (weight * m**2).sum(), weight * m * b
    if square <= 0 or abs(product.sum()) < _CLEAR * np.sqrt((product**2).sum()):
        return own
    c = np.clip(product.sum() / square, -_AMPLITUDE, _AMPLITUDE)
    spread = (weight * ((b - c * m) ** 2 - variance - c**2 * of_m)).sum() / weight.sum()
    prior = c**2 * of_m + max(float(spread), 1e-5)
    of_c = 1 / (m**2 / (variance + prior)).sum()
    slope, out = own[0].copy(), own[1].copy()
    precision = 1 / variance + 1 / prior
    slope[known] = (b / variance + c * m / prior) / precision
    out[known] = 1 / precision + of_c * (m / prior / precision) ** 2
    return slope, out
