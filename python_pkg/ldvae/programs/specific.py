"""What varies inside a population and, with half the variance, nowhere else."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from scipy.stats import norm
from torch import Tensor
from tqdm import tqdm

from ..tables import LEVEL
from .activities import as_tensor
from .crossfit import CrossFit, cross_fit, halves_of, program_of
from .local import Local
from .program import Program, plausible
from .setting import Setting

__all__ = ["specific_programs"]

_OTHER_CELLS = 300  # of another population, for the variance of a program there
_ALIKE = 0.25  # cosine with a shared program's loadings: half of the genes may differ, not most
_RATIO = 0.5  # a program with more than this share of its variance in another population is not a population's own


def specific_programs(setting: Setting, n_programs: int, reference: list[str] | None = None) -> list[Program]:
    """Programs of each population beyond the shared ones, one after the other until one is not convincing.

    The last, unconvincing one is kept, so that every population has a p-value. `pvalue` is the larger of two: genes
    vary together on cells that did not teach the program, and no other (reference) population has half of its variance.
    """
    n_genes = len(setting.shared.loadings)
    programs = []
    for i, p in enumerate(tqdm(setting.populations, "own programs", leave=False, disable=None if sys.stderr else True)):
        nuisance = setting.shared.loadings[p.genes]
        for k in range(n_programs):
            local = p.local.given(nuisance)
            fitted = cross_fit(local, setting.seed)
            program = program_of(
                replace(p, local=local), "specific", f"own_{k + 1}", fitted, n_genes, fitted.test.pvalue
            )
            program = replace(program, resembles=_alike(program.loading, setting.shared.loadings))
            if program.varies < LEVEL:
                ratio, foreign = _foreign_variance(setting, i, local, fitted, reference)
                program = replace(program, ratio=ratio, pvalue=max(program.varies, foreign))
            programs.append(program)
            if not plausible(program):
                break
            nuisance = np.c_[nuisance, program.loading[p.genes]]
    return programs


def _alike(loading: np.ndarray, shared: np.ndarray) -> int | None:
    norms = np.linalg.norm(loading) * np.linalg.norm(shared, axis=0)
    cosine = np.abs(loading @ shared) / np.maximum(norms, 1e-12)
    return int(cosine.argmax()) if len(cosine) and cosine.max() >= _ALIKE else None


def _foreign_variance(
    setting: Setting, index: int, local: Local, fitted: CrossFit, reference: list[str] | None
) -> tuple[float, float]:
    """Variance of a program here over its largest in the reference populations, and the p-value of it exceeding 2.

    Here it is measured on the half of the cells that did not teach the loading; elsewhere no cell did.
    """
    own = setting.populations[index]
    halves = halves_of(local, setting.seed)  # those of the cross-fit
    here = [_variance_along(halves[1 - i], fitted.halves[i]) for i in (0, 1)]
    value, error = np.mean([v for v, _ in here]), np.sqrt(np.mean([s**2 for _, s in here]) / 2)
    largest, pvalue = 0.0, 0.0
    for j, other in enumerate(setting.populations):
        if j == index or (reference is not None and other.name not in reference):
            continue
        sample = other.sample(_OTHER_CELLS, setting.seed).given(setting.shared.loadings[other.genes])
        there = []
        for loading in fitted.halves:
            everywhere = own.spread(loading.numpy(), len(setting.shared.loadings), 0.0)
            there.append(_variance_along(sample, as_tensor(everywhere[other.genes])))
        foreign, foreign_error = np.mean([v for v, _ in there]), np.mean([s for _, s in there])
        z = (_RATIO * value - foreign) / np.hypot(_RATIO * error, foreign_error)
        largest, pvalue = max(largest, float(foreign)), max(pvalue, float(norm.sf(z)))
    return float(value / largest) if largest else float("inf"), pvalue


def _variance_along(local: Local, loading: Tensor) -> tuple[float, float]:
    if not bool((loading != 0).any()):
        return 0.0, 1e-3
    scores = local.score(local.with_own(loading), local.intercept)
    return float(scores.variance[0]), float(scores.variance_se[0])
