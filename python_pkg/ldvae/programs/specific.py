"""What varies inside a population and, with half the variance, nowhere else."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from scipy.stats import norm
from tqdm import tqdm

from .population import Population
from .program import REST, Program, plausible
from .setting import Setting
from .strength import variance_elsewhere, variance_here

__all__ = ["specific_programs"]

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
    """Variance of a program here over its largest in other populations, the p-value of it exceeding 2, and where."""
    value, error = variance_here(own, program, within, setting.seed)
    loadings = [program.loading[own.genes]] if program.learnt is None else list(program.learnt[0])
    largest, pvalue, where = 0.0, 0.0, ""
    for other in rest:
        there = [own.spread(v, setting.n_genes, 0.0)[other.genes] for v in loadings]
        foreign, foreign_error = variance_elsewhere(other, there, program, within)
        z = (_RATIO * value - foreign) / np.hypot(_RATIO * error, foreign_error)
        pvalue = max(pvalue, float(norm.sf(z)))
        if foreign > largest or not where:
            largest, where = max(foreign, 0.0), other.name
    return value / largest if largest > 0 else float("inf"), pvalue, where
