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
_ROUNDS = 3  # of amplitude and deviations in turn
_NEAR = 3.0  # standard deviations within which a gene deviates as most do
_LEAST = 1e-5  # variance of deviations: no two populations are quite alike
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
    product, clear = _product((x[0][both], x[1][both]), (y[0][both], y[1][both]), weight)
    if not clear:
        return 0.0
    squares = [(weight * (signal(s) if own is None else own)[both]).sum() for s, own in ((x, of_x), (y, of_y))]
    return float(np.clip(product / np.sqrt(max(squares[0] * squares[1], 1e-12)), -1, 1))


def _product(x: Slope, y: Slope, weight: np.ndarray) -> tuple[float, bool]:
    """Weighted sum of the products of slopes, and whether it is more than noise makes."""
    product = float((weight * x[0] * y[0]).sum())
    noise = x[0] ** 2 * y[1] + y[0] ** 2 * x[1]
    return product, abs(product) >= _CLEAR * float(np.sqrt((weight**2 * noise).sum()))


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

    own ~ N(beta, variance), beta = c mu + deviation, where mu has the posterior that `ash` gives the others' slopes.
    All genes deviate a little and few far: the prior of deviations is a mixture around a variance that most genes
    share, and c is what most genes share. Estimate and variance of beta, the error of c among it.
    """
    known = np.isfinite(own[1]) & np.isfinite(others[1])
    if known.sum() < _FEW:
        return own
    b, variance = own[0][known], own[1][known]
    posterior = ash(others[0][known], np.sqrt(others[1][known]))
    m, of_m = posterior.mean, posterior.std**2
    weight = 1 / (variance + of_m + _FLOOR)
    square = (weight * m**2).sum()
    if square <= 0 or not _product((b, variance), (others[0][known], others[1][known]), weight)[1]:
        return own
    c = np.clip((weight * m * b).sum() / square, -_AMPLITUDE, _AMPLITUDE)
    small = _LEAST
    for _ in range(_ROUNDS):
        noise, rest = variance + c**2 * of_m, b - c * m
        near = weight * (rest**2 < _NEAR**2 * (noise + small))
        small = max(float((near * (rest**2 - noise)).sum() / max(near.sum(), 1e-12)), _LEAST)
        deviation = ash(rest, np.sqrt(noise + small))
        alike = deviation.lfdr * weight
        c = np.clip((alike * m * b).sum() / max((alike * m**2).sum(), 1e-12), -_AMPLITUDE, _AMPLITUDE)
    responsibility, scale = deviation.of_components()
    prior = c**2 * of_m[:, None] + scale**2 + small
    precision = 1 / variance[:, None] + 1 / prior
    each = (b / variance)[:, None] / precision + (c * m)[:, None] / (prior * precision)
    mean = (responsibility * each).sum(1)
    spread = (responsibility * (1 / precision + (each - mean[:, None]) ** 2)).sum(1)
    of_c = 1 / (m**2 / (variance + (responsibility * prior).sum(1))).sum()
    slope, out = own[0].copy(), own[1].copy()
    slope[known] = mean
    out[known] = spread + of_c * (m * (responsibility / (prior * precision)).sum(1)) ** 2
    return slope, out
