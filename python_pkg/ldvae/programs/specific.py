"""What varies inside a population and, with half the variance, nowhere else."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from scipy.stats import norm
from torch import Tensor
from tqdm import tqdm

from .activities import as_tensor
from .crossfit import halves_of, seeds_of
from .local import Local
from .population import Population
from .program import REST, Program, beside, plausible
from .setting import Setting

__all__ = ["specific_programs"]

_OTHER_CELLS = 300  # of another population, for the variance of a program there
_RATIO = 0.5  # a program with more than this share of its variance in another population is not a population's own


def specific_programs(setting: Setting, within: list[Program], reference: list[str] | None) -> list[Program]:
    """The programs of each population, asked whether they vary elsewhere.

    `pvalue` is the larger of two: genes vary together on cells that did not teach the program, and no other (reference)
    population has half of its variance.
    """
    names = [p.name for p in setting.populations]
    others = {name: [p for p in setting.populations if p.name != name] for name in names}
    if reference is not None:
        others = {name: [p for p in rest if p.name in reference] for name, rest in others.items()}
    programs = []
    for program in tqdm(within, "elsewhere", leave=False, disable=None if sys.stderr else True):
        rest = others[program.population]
        if (plausible(program) or program.name == REST) and rest:
            own = replace(program, kind="specific", share=float("nan"))
            if plausible(program):
                p = setting.populations[names.index(program.population)]
                ratio, foreign, where = _elsewhere(setting, within, program, p, rest)
                own = replace(own, ratio=ratio, pvalue=max(program.varies, foreign), reference=where)
            programs.append(own)
    return programs


def _elsewhere(
    setting: Setting, within: list[Program], program: Program, own: Population, rest: list[Population]
) -> tuple[float, float, str]:
    """Variance of a program here over its largest in other populations, the p-value of it exceeding 2, and where.

    Here it is measured on the half of the cells that did not teach the loading; elsewhere no cell did.
    """
    local = own.local.given(beside(within, own.name, program)[own.genes])
    if program.learnt is None:
        loadings = [program.loading[own.genes]]
        here = [_variance_along(local, as_tensor(loadings[0]))]
    else:
        loadings = list(program.learnt)
        halves = halves_of(local, seeds_of(setting.seed)[0])  # those that taught it
        here = [_variance_along(halves[1 - i], as_tensor(loadings[i])) for i in (0, 1)]
    value, error = np.mean([v for v, _ in here]), np.sqrt(np.mean([s**2 for _, s in here]) / len(here))
    largest, pvalue, where = 0.0, 0.0, ""
    for other in rest:
        sample = other.sample(_OTHER_CELLS, setting.seed).given(beside(within, other.name, program)[other.genes])
        everywhere = [own.spread(loading, setting.n_genes, 0.0)[other.genes] for loading in loadings]
        there = [_variance_along(sample, as_tensor(loading)) for loading in everywhere]
        foreign, foreign_error = np.mean([v for v, _ in there]), np.mean([s for _, s in there])
        z = (_RATIO * value - foreign) / np.hypot(_RATIO * error, foreign_error)
        pvalue = max(pvalue, float(norm.sf(z)))
        if foreign > largest:
            largest, where = float(foreign), other.name
    return float(value / largest) if largest else float("inf"), pvalue, where


def _variance_along(local: Local, loading: Tensor) -> tuple[float, float]:
    if not bool((loading != 0).any()):
        return 0.0, 1e-3
    scores = local.score(local.with_own(loading), local.intercept)
    return float(scores.variance[0]), float(scores.variance_se[0])
