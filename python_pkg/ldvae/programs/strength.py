"""How much a program varies in a population, from cells that did not teach it."""

from __future__ import annotations

import numpy as np

from .activities import as_tensor
from .crossfit import halves_of, seeds_of
from .population import Population
from .program import Program, beside

__all__ = ["variance_here", "variances_elsewhere"]


def variance_here(p: Population, program: Program, within: list[Program], seed: int) -> tuple[float, float]:
    """Variance of the activity times the sum of squared loadings in the population that taught the program, and error.

    What each half of its cells taught is measured on the other half, halving by halving.
    """
    if program.learnt is None:  # other populations taught it
        return variances_elsewhere(p, [(program, [program.loading])], within)[0]
    fixed, found = beside(within, p.name, program)[p.genes], []
    for s, learnt in zip(seeds_of(seed), program.learnt, strict=True):
        for half, loading in zip(halves_of(p.local, s)[::-1], learnt, strict=True):
            found.append((loading**2).sum() * np.array(half.given(fixed).variances([as_tensor(loading)])[0]))
    variances, errors = np.array(found).T
    # the halves of one halving are independent, the halvings are not
    return float(variances.mean()), float(np.sqrt((errors**2).mean() / 2))


def variances_elsewhere(
    p: Population, asked: list[tuple[Program, list[np.ndarray]]], within: list[Program]
) -> list[tuple[float, float]]:
    """The same in a population that taught none of the loadings (of all genes), on average over those of a program."""
    fixed = [beside(within, p.name, program)[p.genes] for program, _ in asked]
    groups: dict[bytes, list[int]] = {}  # most programs are asked beside the same others
    for k, columns in enumerate(fixed):
        groups.setdefault(columns.tobytes(), []).append(k)
    out = [(0.0, 0.0)] * len(asked)
    for members in groups.values():
        loadings = [loading[p.genes] for k in members for loading in asked[k][1]]
        found = iter(p.local.given(fixed[members[0]]).variances([as_tensor(loading) for loading in loadings]))
        for k in members:
            sizes = np.array([(loading[p.genes] ** 2).sum() for loading in asked[k][1]])
            # genes that are not seen here do not vary here
            values = np.array([next(found) for _ in sizes])
            values[sizes == 0] = 0.0
            variance, error = (sizes[:, None] * values).mean(0)
            out[k] = float(variance), float(error)
    return out
