"""A program learnt on one half of a population's cells and measured on the other, over several halvings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .activities import as_tensor
from .evidence import VarianceTest
from .local import Local

__all__ = ["HALVINGS", "CrossFit", "cross_fit", "halves_of", "measured", "seeds_of", "tested"]

HALVINGS = 3  # of a population's cells; one alone makes the numbers of weak programs those of its seed (validity)


@dataclass(frozen=True)
class CrossFit:
    """A program over the genes of one population.

    `slope` and its standard error `std` (genes) are averages over halvings, and so is the ratio of `test`, whose
    degrees of freedom are those of one halving: averaging can make a p-value cautious only. `learnt` are the loadings
    that each half taught (halvings × 2 × genes), all of one sign.
    """

    slope: np.ndarray
    std: np.ndarray
    test: VarianceTest
    learnt: np.ndarray


def seeds_of(seed: int) -> range:
    """Seeds of the halvings."""
    return range(seed * HALVINGS, (seed + 1) * HALVINGS)


def halves_of(local: Local, seed: int) -> list[Local]:
    """Two random halves of the cells, the same for the same seed."""
    order = np.random.default_rng(seed).permutation(len(local.x))
    return [local.cells(np.sort(part)) for part in np.array_split(order, 2)]


def cross_fit(local: Local, before: np.ndarray, seed: int) -> CrossFit:
    """The leading program of each half given those it found before, measured and tested on the other half.

    `before` (halvings × 2 × genes × q) are the loadings of these; `local` has what is held fixed besides.
    """
    slopes, variances, tests = [], [], []
    learnt: list[np.ndarray] = []
    for s, known in zip(seeds_of(seed), before, strict=True):
        halves = halves_of(local, s)
        own = [half.given(_beside(local, k)).learn(s).numpy() for half, k in zip(halves, known, strict=True)]
        first = learnt[0][0] if learnt else own[0]
        own = [-v if float(first @ v) < 0 else v for v in own]
        others = [half.given(_beside(local, k)) for half, k in zip(halves[::-1], known, strict=True)]
        fits = [other.associate(as_tensor(v)) for other, v in zip(others, own, strict=True)]
        slope, variance = _together([(f.centred(0), f.se[:, 0]) for f in fits])
        slopes.append(slope)
        variances.append(variance)
        tests.append(VarianceTest.combine([o.variance_test(as_tensor(v)) for o, v in zip(others, own, strict=True)]))
        learnt.append(np.stack(own))
    std = np.sqrt(np.mean(variances, 0))
    return CrossFit(np.mean(slopes, 0), std, VarianceTest.mean(tests), np.stack(learnt))


def measured(local: Local, learnt: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and standard errors (genes × q) of programs that halves taught, all at once, on the other halves."""
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

    `local` has what is held fixed besides.
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
