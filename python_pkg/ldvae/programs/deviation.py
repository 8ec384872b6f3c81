"""Where the genes of a population answer a shared program differently from those of the other populations."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ..stats.centre import weighted_median
from ..stats.shrinkage import ash
from ..stats.testing import simes
from ..tables import GENES
from .activities import as_tensor
from .population import Population
from .program import Program, plausible
from .setting import Setting
from .shared import RELIABLE, agreement

__all__ = ["deviation_programs"]

_CLEAR = 4.0  # standard errors
_LEAST = 0.1  # amplitude, relative to the common loadings
_ALIKE = 0.25  # correlation with the common loadings: half of the genes may differ, not most


def deviation_programs(setting: Setting, own: list[Program], reference: list[str] | None) -> list[Program]:
    """Where the genes of a population answer a shared program differently from those of the reference populations.

    The same loadings score the program in every population; the deviation of a gene is its slope less that of the
    reference. Slopes are scaled first, population by population: a larger amplitude is not another response. The
    p-value combines the genes' (Simes). Populations are looked at if they have the program, or something like it.

    Parameters
    ----------
    own
        Programs of single populations, held fixed: through genes they have in common with a shared one, or by chance,
        their activity enters its scores. One that resembles a shared program is how its genes answer here, and is not.
    """
    populations, shared = setting.populations, setting.shared
    n_genes, q = shared.loadings.shape
    slope, precision = np.zeros((len(populations), n_genes, q)), np.zeros((len(populations), n_genes, q))
    reliable = np.zeros((q, len(populations)), bool)
    for i, p in enumerate(populations if q else []):
        columns = [shared.loadings] + [o.loading[:, None] for o in own if o.population == p.name and _other(o)]
        scores = p.local.score(as_tensor(np.concatenate(columns, 1)[p.genes]), p.local.intercept)
        fitted = p.local.regress(scores.left_out, scores.size)
        slope[i, p.genes] = np.stack([fitted.centred(j) for j in range(q)], 1)
        precision[i, p.genes] = 1 / fitted.se[:, :q] ** 2
        reliable[:, i] = scores.reliability[:q] >= RELIABLE
    pooled = (shared.loadings, 1 / np.where(shared.std > 0, shared.std, np.inf) ** 2)
    programs = []
    for j in range(q):
        members = np.flatnonzero(shared.active[j]).tolist()
        common = pooled[0][:, j], pooled[1][:, j]
        scaled = [_scaled(slope[i, :, j], precision[i, :, j], *common) for i in range(len(populations))]
        for i, p in enumerate(populations):
            alike = reliable[j, i] and agreement((slope[i], precision[i]), pooled, j) >= _ALIKE
            others = [k for k in members if k != i and (reference is None or populations[k].name in reference)]
            if others and (i in members or alike):
                theirs, weights = (np.stack([scaled[k][part] for k in others]) for part in (0, 1))
                expected = _expected(scaled[i][0], theirs, weights)
                programs.append(_deviation(p, f"shared_{j + 1}", slope[i, :, j], precision[i, :, j], *expected))
    return programs


def _other(own: Program) -> bool:
    """Whether an own program is convincing, and none of the shared ones in disguise."""
    return plausible(own) and own.resembles is None


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
