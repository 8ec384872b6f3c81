"""Programs that move genes as going to another population would, and the samples in which programs vary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..checks import warn
from ..tables import LEVEL
from .activities import as_tensor
from .program import Program, beside, cosine, plausible
from .setting import MIN_CELLS, Setting

__all__ = ["compared", "warn_like"]

_LIKE = 0.35  # cosine with the change to another population, from which a program may be a mixture (validity: programs)


def compared(setting: Setting, programs: list[Program]) -> list[Program]:
    """Programs with the population that they are like, and the share of samples in which they vary."""
    level = _log_means(setting)
    out = []
    for program in programs:
        own = next(i for i, p in enumerate(setting.populations) if p.name == program.population)
        if plausible(program):
            change = np.nan_to_num(level - level[own]) * program.tested
            alike = cosine(program.loading, change.T)
            alike[own] = 0.0
            if len(alike) > 1:
                nearest = int(alike.argmax())
                program = replace(
                    program, towards=setting.populations[nearest].name, towards_cosine=float(alike[nearest])
                )
            program = replace(program, samples=_share_of_samples(setting, programs, own, program))
        out.append(program)
    return out


def warn_like(programs: list[Program], called: np.ndarray) -> None:
    """Name the called programs that may be mixtures."""
    found = [
        f"'{p.name} of {p.population} (like {p.towards}, {p.towards_cosine:.2f})'"
        for p, yes in zip(programs, called, strict=True)
        if yes and p.towards_cosine >= _LIKE
    ]
    if found:
        named = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        warn(
            f"{named}: genes go along as in cells on the way to the other population; wrong labels, doublets and "
            "ambient RNA look like that, and so does a real continuum (`like_population`)."
        )


def _log_means(setting: Setting) -> np.ndarray:
    """Log mean expression (populations × genes), centred; NaN where a gene is not tested."""
    out = np.full((len(setting.populations), setting.n_genes), np.nan)
    for i, p in enumerate(setting.populations):
        out[i, p.genes] = p.local.intercept.double().numpy()
    known = np.isfinite(out).any(0)
    relative = out[:, known] - np.nanmedian(out[:, known], 0)
    return np.asarray(out - np.nanmedian(relative, 1)[:, None])


def _share_of_samples(setting: Setting, programs: list[Program], own: int, program: Program) -> float:
    p = setting.populations[own]
    if p.samples is None:
        return float("nan")
    local = p.local.given(beside(programs, p.name, program)[p.genes])
    loading, varies = as_tensor(program.loading[p.genes]), []
    for sample in np.unique(p.samples):
        rows = np.flatnonzero(p.samples == sample)
        if len(rows) >= MIN_CELLS:
            varies.append(local.cells(rows).variance_test(loading).pvalue < LEVEL)
    return float(np.mean(varies)) if varies else float("nan")
