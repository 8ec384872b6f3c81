"""Tests of all factors for one level, or slope, of an annotation: between cells, or between samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.stats import rankdata
from scipy.stats import t as t_distribution

from .. import checks
from ..counts.labels import Labels
from ..stats.moderation import hotelling, hotelling_design, moderated_contrast
from ..stats.replicates import NotEnough, equally_known, sample_design

__all__ = ["Columns", "Result", "contrasts", "slopes"]

PER_STD = "per standard deviation"
_MIN_CELLS = 5  # the mean of fewer cells is no measurement of a sample, and fewer cells are no group


@dataclass
class Result:
    """One level (or slope): arrays over factors, and the test of all factors together."""

    level: str
    effect: np.ndarray
    std: np.ndarray
    statistic: np.ndarray
    pvalue: np.ndarray
    auc: np.ndarray
    omnibus: tuple[float, float]
    n_cells: int
    n_samples: int
    refused: str = ""


Columns = Callable[[np.ndarray], np.ndarray]
Analysis = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], list[Result]]  # of scores, their rows, samples


def _untested(level: str, n_cells: int, n_factors: int) -> Result:
    nothing = np.full(n_factors, np.nan)
    return Result(level, nothing, nothing, nothing, nothing, nothing, (np.nan, np.nan), n_cells, 0)


def _sums(values: np.ndarray, codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Sums of the rows of `values` (n, K) by code: (n_codes, K)."""
    indicator = sp.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_codes, len(codes)))
    return np.asarray(indicator @ values)


def _centre(scores: np.ndarray) -> np.ndarray:
    """Scores minus their mean; exactly zero where a factor is constant but for rounding."""
    centred = scores - scores.mean(0)
    return np.asarray(np.where((centred**2).sum(0) > 1e-20 * (scores**2).sum(0), centred, 0.0))


def _remaining(total: np.ndarray, explained: np.ndarray) -> np.ndarray:
    """Sums of squares left over; exactly zero where only rounding is."""
    return np.where(total - explained > 1e-13 * total, total - explained, 0.0)


def _t_test(
    result: Result, effect: np.ndarray, variance: np.ndarray, df: Callable[[np.ndarray], np.ndarray | float]
) -> None:
    """Effect, standard error, t and p-value; all but the effect are NaN where nothing varies."""
    variance = np.where(variance > 0, variance, np.nan)
    result.effect, result.std = effect, np.sqrt(variance)
    result.statistic = effect / result.std
    result.pvalue = 2.0 * t_distribution.sf(np.abs(result.statistic), df(variance))


def _moderated(
    result: Result, y: np.ndarray, x: np.ndarray, samples: np.ndarray, adjust: Columns | None, slope: bool = False
) -> None:
    try:
        columns = None if adjust is None else adjust(samples)
        found = sample_design(x, samples.astype(str).tolist(), columns, slope=slope)
    except NotEnough as error:
        result.refused = str(error)
        return
    rows, design = equally_known(y, found)
    tested = moderated_contrast(rows, design, found.contrast)
    result.effect, result.std = tested["effect"], tested["std"]
    result.statistic, result.pvalue = tested["statistic"], tested["pvalue"]
    result.omnibus = hotelling_design(rows, design, found.contrast)
    result.n_samples = found.n_samples


def contrasts(key: str, values: Labels, used: np.ndarray, adjust: Columns | None) -> Analysis:
    """The analysis of a categorical key: all levels that occur, or the second of two, each against all other cells."""
    found = np.unique(values.codes[used])
    if len(found) < 2:
        names = checks.shown(values.levels[code] for code in found) or "none"
        raise ValueError(f"`key` must name a column with at least 2 levels, but '{key}' has {names}; name another.")
    tested, n_levels = (found[1:] if len(found) == 2 else found), len(values.levels)

    def analyse(scores: np.ndarray, rows: np.ndarray, samples: np.ndarray | None) -> list[Result]:
        codes, n_cells = values.codes[rows], len(rows)
        size = np.bincount(codes, minlength=n_levels)
        ranks = _sums(rankdata(scores, axis=0), codes, n_levels)  # (levels, K)
        test = (
            _cell_tests(scores, codes, size)
            if samples is None
            else _sample_tests(scores, codes, samples, n_levels, adjust)
        )
        results = []
        for level in tested:
            result = _untested(values.levels[level], int(size[level]), scores.shape[1])
            if min(size[level], n_cells - size[level]) >= _MIN_CELLS:
                test(level, result)
                wins = ranks[level] - size[level] * (size[level] + 1) / 2
                result.auc = wins / (float(size[level]) * float(n_cells - size[level]))
            results.append(result)
        return results

    return analyse


def _cell_tests(scores: np.ndarray, codes: np.ndarray, size: np.ndarray) -> Callable[[int, Result], None]:
    """Welch's t and Hotelling's T² between cells, from sums that are taken once for all levels."""
    centred = _centre(scores)
    sums, squares = _sums(centred, codes, len(size)), _sums(centred**2, codes, len(size))
    total = centred.T @ centred

    def test(level: int, result: Result) -> None:
        n = np.array([[size[level]], [len(codes) - size[level]]], dtype=np.float64)  # (side, 1)
        mean = np.stack([sums[level], -sums[level]]) / n  # the centred scores sum to zero
        square = np.stack([squares[level], squares.sum(0) - squares[level]])
        variance = _remaining(square, n * mean**2) / (n - 1) / n  # of each mean, (side, K)
        spread = (variance**2 / (n - 1)).sum(0)
        _t_test(result, mean[0] - mean[1], variance.sum(0), lambda v: v**2 / np.where(spread > 0, spread, np.nan))
        result.omnibus = hotelling(result.effect, float((1 / n).sum()), total, len(codes) - 2)

    return test


def _sample_tests(
    scores: np.ndarray, codes: np.ndarray, samples: np.ndarray, n_levels: int, adjust: Columns | None
) -> Callable[[int, Result], None]:
    """Moderated t and Hotelling's T² between means of samples."""
    n_samples = int(samples.max(initial=-1)) + 1
    group = samples * n_levels + codes
    count = np.bincount(group, minlength=n_samples * n_levels).reshape(n_samples, n_levels)
    sums = _sums(scores, group, n_samples * n_levels).reshape(n_samples, n_levels, -1)

    def means(n: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = np.flatnonzero(n >= _MIN_CELLS)
        return total[kept] / n[kept, None], kept

    def test(level: int, result: Result) -> None:
        y1, samples1 = means(count[:, level], sums[:, level])
        y2, samples2 = means(count.sum(1) - count[:, level], sums.sum(1) - sums[:, level])
        if min(len(samples1), len(samples2)) >= 2:
            x, own = np.repeat([1.0, 0.0], [len(samples1), len(samples2)]), np.r_[samples1, samples2]
            _moderated(result, np.vstack([y1, y2]), x, own, adjust)

    return test


def slopes(key: str, values: np.ndarray, used: np.ndarray, sample: Labels | None, adjust: Columns | None) -> Analysis:
    """The analysis of a numeric key: regression of the scores, or of their sample means, on it."""
    x = np.asarray(values[used], dtype=np.float64)
    if sample is not None:
        count = np.bincount(sample.codes[used])
        x = np.bincount(sample.codes[used], x)[count >= _MIN_CELLS] / count[count >= _MIN_CELLS]
    # one standard deviation for the whole call, so that slopes sample_design between the levels of `within`
    unit = float(x.std(ddof=1)) if x.size > 1 else 0.0
    if unit <= 1e-12 * np.abs(x).max(initial=0.0):
        what = "cells" if sample is None else f"samples of at least {_MIN_CELLS} cells"
        raise ValueError(f"`key` must name a column that varies between {what}, which '{key}' does not; name another.")

    def analyse(scores: np.ndarray, rows: np.ndarray, samples: np.ndarray | None) -> list[Result]:
        x, result = np.asarray(values[rows], dtype=np.float64) / unit, _untested(PER_STD, len(rows), scores.shape[1])
        if samples is not None:
            count = np.bincount(samples)
            kept = count >= _MIN_CELLS
            means = _sums(np.column_stack([x, scores]), samples, len(count))[kept] / count[kept, None]
            x, scores = means[:, 0], means[:, 1:]
        x = x - x.mean() if x.size else x
        sxx = float(x @ x)  # in units of the key's variance
        if len(x) < (3 if samples is not None else _MIN_CELLS) or sxx < 1e-20:
            return [result]
        if samples is not None:
            _moderated(result, scores, x, np.flatnonzero(kept), adjust, slope=True)
            return [result]
        centred, df = _centre(scores), len(x) - 2
        total, effect = centred.T @ centred, x @ centred / sxx
        variance = _remaining(np.diag(total), effect**2 * sxx) / df / sxx
        _t_test(result, effect, variance, lambda _: float(df))
        result.omnibus = hotelling(effect, 1.0 / sxx, total, df)
        return [result]

    return analyse
