"""Where the genes of a population answer a shared program differently from those of the other populations."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ..stats.centre import weighted_median
from ..stats.shrinkage import ash
from ..stats.testing import simes
from ..tables import GENES
from .activities import as_tensor
from .agreement import Slope, agreement, pool
from .population import Population
from .program import ALIKE, Program, cosine, plausible
from .setting import Setting

__all__ = ["deviation_programs"]

_CLEAR = 4.0  # standard errors
_LEAST = 0.1  # amplitude, relative to the common loadings
_RELIABLE = 0.7  # share of the variance of a score that is not noise


def deviation_programs(setting: Setting, within: list[Program], reference: list[str] | None) -> list[Program]:
    """Where the genes of a population answer a shared program differently from those of the reference populations.

    The same loadings score the program in every population; the deviation of a gene is its slope less that of the
    reference. Slopes are scaled first, population by population: a larger amplitude is not another response. The
    p-value combines the genes' (Simes). Populations are looked at if they have the program, or something like it; what
    else they have is held fixed: through genes in common, or by chance, its activity enters the scores.
    """
    populations = setting.populations
    shared = [own for own in _shared(within) if len(own) > 1]
    common = [pool([(p.loading, p.std**2) for p in own.values()]) for own in shared]
    loadings = np.stack([np.nan_to_num(m) for m, _ in common], 1) if shared else np.zeros((setting.n_genes, 0))
    programs = []
    for j, own in enumerate(shared):
        name = next(iter(own.values())).name
        found = [_slopes(p, within, name, loadings, j) for p in populations]
        slopes, reliable = [(slope, precision) for slope, precision, _ in found], [sure for *_, sure in found]
        scaled = [_scaled(*slope, loadings[:, j], _precision(common[j])) for slope in slopes]
        for i, p in enumerate(populations):
            mine = slopes[i][0], np.where(slopes[i][1] > 0, 1 / np.maximum(slopes[i][1], 1e-12), np.nan)
            alike = reliable[i] and abs(agreement(mine, common[j])) >= ALIKE
            others = [
                k
                for k, other in enumerate(populations)
                if k != i and other.name in own and (reference is None or other.name in reference)
            ]
            if others and (p.name in own or alike):
                theirs, weights = (np.stack([scaled[k][part] for k in others]) for part in (0, 1))
                programs.append(_deviation(p, name, *slopes[i], *_expected(scaled[i][0], theirs, weights)))
    return programs


def _shared(within: list[Program]) -> list[dict[str, Program]]:
    """Plausible programs by name, of each population."""
    found: dict[str, dict[str, Program]] = {}
    for program in within:
        if plausible(program):
            found.setdefault(program.name, {})[program.population] = program
    return list(found.values())


def _slopes(
    p: Population, within: list[Program], name: str, loadings: np.ndarray, j: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Slopes on a shared program with their precision (0 where a gene is not tested), and if it is scored reliably."""
    own = [o.loading for o in within if o.population == p.name and plausible(o) and o.name != name]
    besides = np.stack(own, 1) if own else np.zeros((len(loadings), 0))
    besides = besides[:, cosine(loadings[:, j], besides) < ALIKE]
    scores = p.local.score(as_tensor(np.c_[loadings[:, j], besides][p.genes]), p.local.intercept)
    fitted = p.local.regress(scores.left_out, scores.size)
    slope, precision = (p.spread(v, len(loadings), 0.0) for v in (fitted.centred(0), 1 / fitted.se[:, 0] ** 2))
    return slope, precision, bool(scores.reliability[0] >= _RELIABLE)


def _precision(slope: Slope) -> np.ndarray:
    return np.where(np.isfinite(slope[1]), 1 / np.where(slope[1] > 0, slope[1], np.inf), 0.0)


def _scaled(
    slope: np.ndarray, precision: np.ndarray, common: np.ndarray, common_precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and precisions at the amplitude of the common loadings."""
    scale = max(_amplitude(slope, precision, common, common_precision), _LEAST)
    return slope / scale, precision * scale**2


def _deviation(
    p: Population,
    name: str,
    slope: np.ndarray,
    precision: np.ndarray,
    expected: np.ndarray,
    expected_precision: np.ndarray,
) -> Program:
    tested = (precision > 0) & (expected_precision > 0)
    scale = _amplitude(slope, precision, expected, expected_precision)
    difference = slope - scale * expected
    spread = np.sqrt(1 / np.where(tested, precision, 1.0) + scale**2 / np.where(tested, expected_precision, 1.0))
    shrunk = ash(np.where(tested, difference, np.nan), spread)
    return Program(
        population=p.name,
        kind="deviation",
        name=name,
        loading=shrunk.mean,
        std=shrunk.std,
        lfsr=shrunk.lfsr,
        tested=tested,
        pvalue=simes(2 * norm.sf(np.abs(difference[tested] / spread[tested]))),
        ratio=scale**2,
        n_cells=len(p.rows),
    )


def _expected(slope: np.ndarray, others: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope of each gene in the reference (populations × genes, with precisions), and its precision.

    The weighted median, so that one population that differs does not make all others differ from the reference. Two
    have no such median: a gene then deviates if it deviates from both, that is from the one that is nearer.
    """
    if len(others) == 2:
        distance = np.where(weights > 0, np.abs(slope - others), np.inf)
        nearer, genes = distance.argmin(0), np.arange(len(slope))
        return others[nearer, genes], weights[nearer, genes]
    weights = np.minimum(weights, np.median(weights, axis=0))  # none alone says what the others do
    total, largest = weights.sum(0), weights.max(0)
    expected = np.nan_to_num(weighted_median(others.T, weights.T))
    # One with half of the weight is the median. Else the median of normals has pi/2 times the variance of their mean;
    # one of them is not counted, since a population that differs moves the median to the edge of the others.
    return expected, np.where(2 * largest >= total, largest, 2 / np.pi * (total - largest))


def _amplitude(slope: np.ndarray, precision: np.ndarray, common: np.ndarray, common_precision: np.ndarray) -> float:
    """Least absolute deviations scale from common slopes to these, over genes whose common slope is clear."""
    clear = (precision > 0) & (common_precision > 0) & (common**2 * common_precision > _CLEAR**2)
    if clear.sum() < GENES:
        return 1.0
    b, c, variance = slope[clear], common[clear], 1 / precision[clear] + 1 / common_precision[clear]
    scale = 1.0
    for _ in range(20):
        weights = 1 / (np.maximum(np.abs(b - scale * c) / np.sqrt(variance), 0.3) * variance)
        scale = float((weights * b * c).sum() / (weights * c**2).sum())
    return scale
