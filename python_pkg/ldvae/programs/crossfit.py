"""A program learnt on one half of a population's cells and measured on the other, over several halvings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stats.shrinkage import ash
from ..tables import GENES, LEVEL
from .activities import as_tensor
from .evidence import VarianceTest
from .local import Local
from .program import EXCESS

__all__ = ["HALVINGS", "CrossFit", "convincing", "cross_fit", "halves_of", "measured", "seeds_of", "tested"]

HALVINGS = 3  # of a population's cells; one alone makes the numbers of weak programs those of its seed (validity)


@dataclass(frozen=True)
class CrossFit:
    """A program over the genes of one population: what each half taught, and what the first halving says of it.

    `slope` and its standard error `std` (genes), `test`; `learnt` are the loadings of each half (halvings × 2 × genes),
    all of one sign, None if the first halving was not convincing.
    """

    slope: np.ndarray
    std: np.ndarray
    test: VarianceTest
    learnt: np.ndarray | None


def seeds_of(seed: int) -> range:
    """Seeds of the halvings."""
    return range(seed * HALVINGS, (seed + 1) * HALVINGS)


def halves_of(local: Local, seed: int) -> list[Local]:
    """Two random halves of the cells, the same for the same seed."""
    order = np.random.default_rng(seed).permutation(len(local.x))
    return [local.cells(np.sort(part)) for part in np.array_split(order, 2)]


def cross_fit(local: Local, before: np.ndarray, seed: int) -> CrossFit:
    """The leading program of each half given those it found before.

    `before` (halvings × 2 × genes × q) are the loadings of these; `local` has what is held fixed besides. The first
    halving is measured and tested, each half on the other: if it does not convince, there are no others.
    """
    own = _taught(local, before[0], seeds_of(seed)[0])
    parts = list(zip(halves_of(local, seeds_of(seed)[0])[::-1], own, before[0], strict=True))
    others = [(half.given(_beside(local, known)), as_tensor(loading)) for half, loading, known in parts]
    test = VarianceTest.combine([half.variance_test(loading) for half, loading in others])
    fits = [half.associate(loading) for half, loading in others]
    slope, variance = _together([(fit.centred(0), fit.se[:, 0]) for fit in fits])
    std, learnt = np.sqrt(variance), None
    if convincing(slope, std, test):
        more = [_taught(local, known, s) for s, known in list(zip(seeds_of(seed), before, strict=True))[1:]]
        learnt = np.stack([own, *more])
        learnt = learnt * np.where(learnt @ own[0] < 0, -1.0, 1.0)[..., None]
    return CrossFit(slope, std, test, learnt)


def convincing(slope: np.ndarray, std: np.ndarray, test: VarianceTest) -> bool:
    """Whether it varies for sure, by enough, with enough sure genes."""
    return test.pvalue < LEVEL and test.excess >= EXCESS and bool((ash(slope, std).lfsr < LEVEL).sum() >= GENES)


def _taught(local: Local, known: np.ndarray, seed: int) -> np.ndarray:
    """Loadings (2 × genes) of the next program of each half, of one sign."""
    halves = halves_of(local, seed)
    own = [half.given(_beside(local, k)).learn(seed).numpy() for half, k in zip(halves, known, strict=True)]
    return np.stack([own[0], own[1] * (-1.0 if own[0] @ own[1] < 0 else 1.0)])


def measured(local: Local, learnt: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and standard errors (genes × q) of programs that halves taught, all at once, on the other halves.

    Averages over halvings; errors are those of one.
    """
    q, slopes, variances = learnt.shape[-1], [], []
    for s, pair in zip(seeds_of(seed), learnt, strict=True):
        parts = []
        for other, loadings in zip(halves_of(local, s)[::-1], pair, strict=True):
            scores = other.score(as_tensor(np.c_[loadings, local.nuisance.numpy()]), other.intercept)
            fit = other.regress(scores.left_out, scores.size)
            parts.append((np.stack([fit.centred(k) for k in range(q)], 1), fit.se[:, :q]))
        slope, variance = _together(parts)
        slopes.append(slope)
        variances.append(variance)
    return np.mean(slopes, 0), np.sqrt(np.mean(variances, 0))


def tested(local: Local, learnt: np.ndarray, given: np.ndarray, seed: int) -> VarianceTest:
    """Test of what halves taught (halvings × 2 × genes), given other programs that they taught (… × genes × q).

    `local` has what is held fixed besides. The ratio is the average over halvings, the degrees of freedom are those of
    one: averaging can make a p-value cautious only.
    """
    tests = []
    for s, pair, others in zip(seeds_of(seed), learnt, given, strict=True):
        parts = zip(halves_of(local, s)[::-1], pair, others, strict=True)
        both = [half.given(_beside(local, o)).variance_test(as_tensor(v)) for half, v, o in parts]
        tests.append(VarianceTest.combine(both))
    return VarianceTest.mean(tests)


def _beside(local: Local, loadings: np.ndarray) -> np.ndarray:
    return np.c_[local.nuisance.numpy(), loadings]


def _together(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Estimates with standard errors of independent cells: mean by precision, and its variance."""
    weights = [1 / se**2 for _, se in parts]
    precision = np.sum(weights, 0)
    return np.sum([b * w for (b, _), w in zip(parts, weights, strict=True)], 0) / precision, 1 / precision
