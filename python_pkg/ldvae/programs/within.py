"""Everything that varies inside a population, programs it shares with others included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .activities import as_tensor
from .crossfit import CrossFit, program_of
from .program import Program, plausible
from .setting import Setting

__all__ = ["within_programs"]


def within_programs(setting: Setting, own: list[Program]) -> list[Program]:
    """Every program that varies within a population, shared ones included, as its genes show it there.

    A shared program is scored by the loadings that the *other* populations give it, so slopes and test have not seen
    the cells before; a population's own programs are those of `specific_programs`, the last, unconvincing one included.
    One that resembles a shared program which the population does not have otherwise is that program, by its name.
    `share` is a program's part of the variance of all plausible ones.
    """
    shared = setting.shared
    programs = []
    for i, p in enumerate(setting.populations):
        tested = [program for program in own if program.population == p.name]
        active = np.flatnonzero(shared.active[:, i])
        theirs = [program.loading[p.genes, None] for program in tested if plausible(program)]
        columns = np.concatenate([shared.without[i][np.ix_(p.genes, active)], *theirs], axis=1)
        local = p.local.given(columns)
        slopes = local.regress(local.null.left_out, local.null.size)
        mine: dict[str, Program] = {}
        for k, j in enumerate(active):
            test = p.local.given(np.delete(columns, k, 1)).variance_test(as_tensor(columns[:, k]))
            shrunk = slopes.shrunk(k)
            fitted = CrossFit(shrunk.mean, shrunk.std, shrunk.lfsr, test, [])
            name = f"shared_{j + 1}"
            mine[name] = program_of(p, "within", name, fitted, len(shared.loadings), test.pvalue)
        for program in tested:
            disguised = program.resembles is not None and plausible(program)
            alias = f"shared_{program.resembles + 1}" if disguised else program.name  # type: ignore[operator]
            name = program.name if alias in mine and plausible(mine[alias]) else alias
            mine[name] = replace(program, kind="within", name=name, pvalue=program.varies, ratio=float("nan"))
        strength = [float((m.loading**2).sum()) if plausible(m) else 0.0 for m in mine.values()]
        total = max(sum(strength), 1e-300)
        found = [replace(m, share=s / total) for m, s in zip(mine.values(), strength, strict=True)]
        programs += sorted(found, key=lambda m: -m.share)
    return programs
