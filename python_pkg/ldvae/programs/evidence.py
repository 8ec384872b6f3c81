"""What a local model says: slopes of genes on an activity, and whether genes vary together at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor

from ..stats.centre import centre
from ..stats.shrinkage import Shrunk, ash

__all__ = ["Slopes", "VarianceTest", "pair_variance"]

_STEPS = 4  # of weights that depend on the variance


@dataclass(frozen=True)
class Slopes:
    """Regression of every gene on activities: `slope`, `se` (genes × q) and the intercepts (genes)."""

    slope: np.ndarray
    se: np.ndarray
    intercept: Tensor

    def shrunk(self, j: int) -> Shrunk:
        """Column j, centred (what all genes share is composition) and shrunk."""
        return ash(self.centred(j), self.se[:, j])

    def centred(self, j: int) -> np.ndarray:
        """Column j less what most genes do."""
        slope, se = self.slope[:, j], self.se[:, j]
        return slope - centre(slope, se)


@dataclass(frozen=True)
class VarianceTest:
    """Does a loading learnt elsewhere make genes vary together here? `ratio` is about 1 if they vary independently."""

    ratio: float
    df: float

    @staticmethod
    def of(y: Tensor, square: Tensor) -> VarianceTest:
        """From what genes say of an activity and its expected squares (n × genes; see `Local.variance_test`)."""
        expected = square.sum(1, dtype=torch.float64)
        pairs = (expected.square() - square.square().sum(1, dtype=torch.float64)).sum()
        if float(pairs) <= 0:  # no loading, or a single gene: nothing to vary together
            return VarianceTest(1.0, 0.0)
        ratio = y.sum(1, dtype=torch.float64).square().sum() / expected.sum()
        return VarianceTest(float(ratio), float(expected.sum() ** 2 / pairs))

    @staticmethod
    def combine(tests: list[VarianceTest]) -> VarianceTest:
        """Of independent halves."""
        df = sum(t.df for t in tests)
        return VarianceTest(sum(t.ratio * t.df for t in tests) / df if df else 1.0, df)

    @staticmethod
    def mean(tests: list[VarianceTest]) -> VarianceTest:
        """Of halvings of the same cells, which are not independent."""
        return VarianceTest(float(np.mean([t.ratio for t in tests])), float(np.mean([t.df for t in tests])))

    @property
    def pvalue(self) -> float:
        """Chance of at least this ratio if genes vary independently given the model."""
        return float(chi2.sf(self.ratio * self.df, self.df)) if self.df else 1.0

    @property
    def excess(self) -> float:
        """Share of the variance along the loading that is not counting noise."""
        return max(0.0, 1 - 1 / max(self.ratio, 1e-9))


def pair_variance(y: Tensor, square: Tensor, information: Tensor) -> tuple[float, float]:
    """Variance of an activity and its standard error, from what genes say of it (n × genes; see `Local.variances`)."""
    total, noise, along = (v.sum(1, dtype=torch.float64) for v in (information, square, y))
    found, pairs = along.square() - noise, total.square() - information.square().sum(1, dtype=torch.float64)
    if float(pairs.sum()) <= 0:
        return 0.0, float("inf")
    weight, variance = torch.ones_like(total), 0.0
    for _ in range(_STEPS):
        # of a cell: what it knows over the variance of what it says
        spread = noise.mean() / total.mean() * total + max(variance, 0.0) * total.square()
        weight = pairs.clamp(min=0.0) / spread.clamp(min=1e-6).square()
        variance = float((weight * found).sum() / (weight * pairs).sum())
    error = (weight * (found - variance * pairs)).square().sum().sqrt() / (weight * pairs).sum()
    return variance, float(error)
