"""A program learnt on one half of a population's cells and measured on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..stats.shrinkage import ash
from .evidence import VarianceTest
from .local import Local
from .population import Population
from .program import EXCESS, Program, heavier_tail

__all__ = ["CrossFit", "cross_fit", "halves_of", "program_of"]


@dataclass(frozen=True)
class CrossFit:
    """A program learnt on each half of the cells and measured on the other, over the genes of one population."""

    mean: np.ndarray
    std: np.ndarray
    lfsr: np.ndarray
    test: VarianceTest
    halves: list[Tensor]


def halves_of(local: Local, seed: int) -> list[Local]:
    """Two random halves of the cells, the same for the same seed."""
    order = np.random.default_rng(seed).permutation(len(local.x))
    return [local.cells(np.sort(part)) for part in np.array_split(order, 2)]


def cross_fit(local: Local, seed: int) -> CrossFit:
    """The leading program of each half, measured and tested on the other half; the two estimates pooled."""
    halves = halves_of(local, seed)
    learnt = [half.learn(seed) for half in halves]
    slopes = [halves[1 - i].associate(learnt[i]) for i in (0, 1)]
    test = VarianceTest.combine([halves[1 - i].variance_test(learnt[i]) for i in (0, 1)])
    sign = -1.0 if float(learnt[0] @ learnt[1]) < 0 else 1.0
    precision = [1 / s.se[:, 0] ** 2 for s in slopes]
    total = precision[0] + precision[1]
    estimate = (slopes[0].centred(0) * precision[0] + sign * slopes[1].centred(0) * precision[1]) / total
    shrunk = ash(estimate, total**-0.5)
    tail = float(heavier_tail(shrunk.mean, shrunk.std))
    return CrossFit(tail * shrunk.mean, shrunk.std, shrunk.lfsr, test, [tail * learnt[0], tail * sign * learnt[1]])


def program_of(p: Population, kind: str, name: str, fit: CrossFit, n_genes: int, pvalue: float) -> Program:
    """Spread over all genes; slopes on activities of unit variance are loadings per standard deviation already."""
    return Program(
        population=p.name,
        kind=kind,
        name=name,
        loading=p.spread(fit.mean, n_genes, 0.0),
        std=p.spread(fit.std, n_genes, np.nan),
        lfsr=p.spread(fit.lfsr, n_genes, 1.0),
        tested=p.spread(np.ones(len(p.genes)), n_genes, 0.0) > 0,
        pvalue=pvalue,
        ratio=float("nan"),
        n_cells=len(p.rows),
        enough=fit.test.excess >= EXCESS,
        varies=pvalue,
    )
