"""A program learnt on one half of a population's cells and measured on the other, over several halvings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .activities import as_tensor
from .evidence import VarianceTest
from .local import Local

__all__ = ["HALVINGS", "CrossFit", "cross_fit", "halves_of", "seeds_of", "tested"]

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


def cross_fit(local: Local, seed: int) -> CrossFit:
    """The leading program of each half, measured and tested on the other half."""
    slopes, variances, tests, learnt = [], [], [], []
    for s in seeds_of(seed):
        halves, own = halves_of(local, s), []
        weighted, precision, pair = 0.0, 0.0, []
        for i in (0, 1):
            loading = halves[i].learn(s)
            first = learnt[0][0] if learnt else (own[0] if own else loading.numpy())
            loading = -loading if float(first @ loading.numpy()) < 0 else loading
            own.append(loading.numpy())
            measured = halves[1 - i].associate(loading)
            pair.append(halves[1 - i].variance_test(loading))
            weight = 1 / measured.se[:, 0] ** 2
            weighted, precision = weighted + measured.centred(0) * weight, precision + weight
        slopes.append(weighted / precision)
        variances.append(1 / precision)
        tests.append(VarianceTest.combine(pair))
        learnt.append(np.stack(own))
    test = VarianceTest.mean(tests)
    return CrossFit(np.mean(slopes, 0), np.sqrt(np.mean(variances, 0)), test, np.stack(learnt))


def tested(local: Local, learnt: np.ndarray, given: np.ndarray, seed: int) -> VarianceTest:
    """Test of what halves taught (halvings × 2 × genes), given other programs that they taught (… × genes × q).

    `local` has what is held fixed besides.
    """
    fixed, tests = local.nuisance.numpy(), []
    for i, s in enumerate(seeds_of(seed)):
        halves = halves_of(local, s)
        pair = [halves[1 - h].given(np.c_[fixed, given[i, h]]).variance_test(as_tensor(learnt[i, h])) for h in (0, 1)]
        tests.append(VarianceTest.combine(pair))
    return VarianceTest.mean(tests)
