"""What the counts of one population say: its programs, one after the other, turned towards few genes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stats.rotations import varimax
from ..stats.shrinkage import ash
from ..tables import GENES, LEVEL
from .crossfit import HALVINGS, CrossFit, cross_fit, tested
from .evidence import VarianceTest
from .local import Local
from .program import EXCESS, heavier_tail

__all__ = ["Columns", "search", "shrunk"]


@dataclass(frozen=True)
class Columns:
    """Programs of one population: slopes and standard errors (its genes × q), each tested given the others.

    `learnt` (halvings × 2 × genes × q) is what each half of the cells taught; `last` the one that did not convince,
    None if the most that were asked for did.
    """

    slope: np.ndarray
    std: np.ndarray
    learnt: np.ndarray
    tests: list[VarianceTest]
    last: CrossFit | None

    def __len__(self) -> int:
        return self.slope.shape[1]


def search(local: Local, most: int, seed: int) -> Columns:
    """Programs beyond those that `local` holds fixed, until one is not convincing or there are `most`."""
    fixed, found, last = local.nuisance.numpy(), [], None
    for _ in range(most):
        fit = cross_fit(local.given(fixed), seed)
        posterior = ash(fit.slope, fit.std)
        enough = fit.test.excess >= EXCESS and (posterior.lfsr < LEVEL).sum() >= GENES
        if not (fit.test.pvalue < LEVEL and enough):
            last = fit
            break
        found.append(fit)
        fixed = np.c_[fixed, posterior.mean]
    q, n_genes = len(found), local.x.shape[1]
    slope = np.stack([f.slope for f in found], 1) if q else np.zeros((n_genes, 0))
    std = np.stack([f.std for f in found], 1) if q else np.zeros((n_genes, 0))
    learnt = np.stack([f.learnt for f in found], -1) if q else np.zeros((HALVINGS, 2, n_genes, 0))
    # programs of about the same variance come mixed: sparsity tells them apart
    turn = varimax(shrunk(slope, std)) if q > 1 else np.eye(q)
    turn = turn * heavier_tail(slope @ turn, np.sqrt(std**2 @ turn**2))
    slope, std, learnt = slope @ turn, np.sqrt(std**2 @ turn**2), learnt @ turn
    tests = [f.test for f in found]
    if q > 1:
        tests = [tested(local, learnt[..., k], np.delete(learnt, k, -1), seed) for k in range(q)]
    return Columns(slope, std, learnt, tests, last)


def shrunk(slope: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Posterior means, column by column."""
    return np.stack([ash(b, s).mean for b, s in zip(slope.T, std.T, strict=True)], 1) if slope.size else slope
