"""How much a program varies in a population, from cells that did not teach it."""

from __future__ import annotations

import numpy as np

from .activities import as_tensor
from .crossfit import halves_of, seeds_of
from .population import Population
from .program import Program, beside

__all__ = ["variance_elsewhere", "variance_here"]


def variance_here(p: Population, program: Program, within: list[Program], seed: int) -> tuple[float, float]:
    """Variance of the activity times the sum of squared loadings in the population that taught the program, and error.

    What one half of its cells taught is measured on the other half, halving by halving.
    """
    if program.learnt is None:  # other populations taught it
        return variance_elsewhere(p, [program.loading[p.genes]], program, within)
    fixed = beside(within, p.name, program)[p.genes]
    found = []
    for s, learnt in zip(seeds_of(seed), program.learnt, strict=True):
        for half, loading in zip(halves_of(p.local, s), learnt[::-1], strict=True):
            ((variance, error),) = half.given(fixed).variances([as_tensor(loading)])
            found.append(np.array([variance, error]) * (loading**2).sum())
    # the halves of one halving are independent, the halvings are not
    variances, errors = np.array(found).T
    return float(variances.mean()), float(np.sqrt((errors**2).mean() / 2))


def variance_elsewhere(
    p: Population, loadings: list[np.ndarray], program: Program, within: list[Program]
) -> tuple[float, float]:
    """The same in a population that taught none of `loadings` (of its genes), on average over these."""
    local = p.local.given(beside(within, p.name, program)[p.genes])
    sizes = np.array([(loading**2).sum() for loading in loadings])
    variance, error = sizes @ np.array(local.variances([as_tensor(loading) for loading in loadings])) / len(sizes)
    return float(variance), float(error)
