"""What the counts of one population say: its programs, one after the other, turned towards few genes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stats.rotations import varimax
from ..stats.shrinkage import ash
from .crossfit import HALVINGS, CrossFit, convincing, cross_fit, measured, tested
from .evidence import VarianceTest
from .local import Local
from .program import heavier_tail

__all__ = ["Columns", "search", "shrunk"]

_TURNS = 5  # of Procrustes rotations towards the mean, which they change


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

    def sound(self) -> list[int]:
        """Those that vary for sure, by enough, with enough sure genes."""
        return [k for k, test in enumerate(self.tests) if convincing(self.slope[:, k], self.std[:, k], test)]


def search(local: Local, most: int, seed: int) -> Columns:
    """Programs beyond those that `local` holds fixed, until one is not convincing or there are `most`."""
    learnt, last = np.zeros((HALVINGS, 2, local.x.shape[1], 0)), None
    for _ in range(most):
        found = cross_fit(local, learnt, seed)
        if found.learnt is None:
            last = found
            break
        learnt = np.concatenate([learnt, found.learnt[..., None]], -1)
    q = learnt.shape[-1]
    if q == 0:
        return Columns(learnt[0, 0], learnt[0, 0], learnt, [], last)
    # programs of about the same variance come mixed, in each half in its own way: one basis, of few genes
    learnt = _aligned(learnt)
    slope, std = measured(local, learnt, seed)
    turn = varimax(shrunk(slope, std)) if q > 1 else np.eye(1)
    turn = turn * heavier_tail(slope @ turn, np.sqrt(std**2 @ turn**2))
    learnt = learnt @ turn
    tests = [tested(local, learnt[..., k], np.delete(learnt, k, -1), seed) for k in range(q)]
    return Columns(slope @ turn, np.sqrt(std**2 @ turn**2), learnt, tests, last)


def _aligned(learnt: np.ndarray) -> np.ndarray:
    """Loadings of all halves (halvings × 2 × genes × q), each turned towards their mean (Procrustes)."""
    mean = learnt[0, 0]
    for _ in range(_TURNS):
        u, _, v = np.linalg.svd(np.swapaxes(learnt, -1, -2) @ mean)
        learnt = learnt @ (u @ v)
        mean = learnt.mean((0, 1))
    return learnt


def shrunk(slope: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Posterior means, column by column."""
    return np.stack([ash(b, s).mean for b, s in zip(slope.T, std.T, strict=True)], 1) if slope.size else slope
