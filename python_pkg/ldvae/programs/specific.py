"""What varies inside a population and, with half the variance, nowhere else."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import inf, nan

import numpy as np
from scipy.stats import norm
from tqdm import tqdm

from .population import Population
from .program import RATIO, REST, Program, plausible
from .setting import Setting
from .strength import variance_here, variances_elsewhere

__all__ = ["specific_programs"]


def specific_programs(setting: Setting, within: list[Program], reference: list[str] | None) -> list[Program]:
    """The programs of each population, asked whether they vary elsewhere.

    `pvalue` is the larger of two: genes vary together on cells that did not teach the program, and no other (reference)
    population has half of its variance.
    """
    own = [p for p in within if plausible(p)]
    there = _elsewhere(setting, own, within, reference)
    by_name = {p.name: p for p in setting.populations}
    programs = []
    for program in within:
        others = there.get(id(program), {})
        if others:
            here = variance_here(by_name[program.population], program, within, setting.seed)
            ratio, foreign, where = _compared(here, others)
            pvalue = max(program.varies, foreign)
            programs.append(replace(program, kind="specific", share=nan, ratio=ratio, pvalue=pvalue, reference=where))
        elif program.name == REST and (reference is None or set(reference) - {program.population}):
            programs.append(replace(program, kind="specific", share=nan))
    return programs


def _elsewhere(
    setting: Setting, own: list[Program], within: list[Program], reference: list[str] | None
) -> dict[int, dict[str, tuple[float, float]]]:
    """Of each program: its variance and the error in the other (reference) populations."""
    genes = {p.name: p for p in setting.populations}
    out: dict[int, dict[str, tuple[float, float]]] = {id(program): {} for program in own}
    for other in tqdm(setting.populations, "elsewhere", leave=False, disable=None if sys.stderr else True):
        asked = [p for p in own if p.population != other.name and (reference is None or other.name in reference)]
        loadings = [_learnt(genes[program.population], program) for program in asked]
        found = variances_elsewhere(other, list(zip(asked, loadings, strict=True)), within)
        for program, value in zip(asked, found, strict=True):
            out[id(program)][other.name] = value
    return out


def _learnt(own: Population, program: Program) -> list[np.ndarray]:
    """Loadings that one half of each halving taught, on all genes."""
    if program.learnt is None:
        return [program.loading]
    return [own.spread(v, len(program.loading), 0.0) for v in program.learnt[:, 0]]


def _compared(here: tuple[float, float], others: dict[str, tuple[float, float]]) -> tuple[float, float, str]:
    """Variance here over that elsewhere, the p-value of it exceeding 2, where it is most likely not to, and where."""
    value, error = here
    pvalues = {
        name: float(norm.sf((RATIO * value - v) / np.hypot(RATIO * error, e))) for name, (v, e) in others.items()
    }
    where = max(pvalues, key=lambda name: (pvalues[name], others[name][0]))
    foreign = max(others[where])  # where there is none, its standard error stands for it
    return value / foreign if 0 < foreign < inf else nan, pvalues[where], where
