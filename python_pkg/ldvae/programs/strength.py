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

    What each half of its cells taught is measured on the other half.
    """
    if program.learnt is None:  # other populations taught it
        return variances_elsewhere(p, [(program, [program.loading])], within)[0]
    fixed, found = beside(within, p.name, program)[p.genes], []
    for half, loading in zip(halves_of(p.local, seeds_of(seed)[0])[::-1], program.learnt[0], strict=True):
        found += half.given(fixed).variances([as_tensor(loading)])
    sizes = (program.learnt[0] ** 2).sum(1)
    variance = np.mean([size * v for size, (v, _) in zip(sizes, found, strict=True)])
    error = np.sqrt(np.sum([(size * e) ** 2 for size, (_, e) in zip(sizes, found, strict=True)])) / len(sizes)
    return float(variance), float(error)


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
            variance, error = sizes @ np.array([next(found) for _ in sizes]) / len(sizes)
            out[k] = float(variance), float(error)
    return out
