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
    the cells before; a population's own programs are those of `own_programs`, the last, unconvincing one included. One
    that resembles a shared program which the population does not have otherwise is that program, and goes by its name.
    `share` is a program's part of the variance of all plausible ones.
    """
    shared = setting.shared
    programs = []
    for i, p in enumerate(setting.populations):
        tested = [q for q in own if q.population == p.name]
        kept = [q for q in tested if plausible(q)]
        active = np.flatnonzero(shared.active[:, i])
        columns = np.stack(
            [shared.without[i][p.genes, j] for j in active] + [q.loading[p.genes] for q in kept] + [0 * p.genes], 1
        )
        local = p.local.given(columns[:, :-1])
        slopes = local.regress(local.null.left_out, local.null.size)
        mine: dict[str, Program] = {}
        for k, j in enumerate(active):
            test = p.local.given(np.delete(columns[:, :-1], k, 1)).variance_test(as_tensor(columns[:, k]))
            shrunk = slopes.shrunk(k)
            fitted = CrossFit(shrunk.mean, shrunk.std, shrunk.lfsr, test, [])
            name = f"shared_{j + 1}"
            mine[name] = program_of(p, "within", name, fitted, len(shared.loadings), test.pvalue)
        for q in tested:
            alias = q.name if q.resembles is None or not plausible(q) else f"shared_{q.resembles + 1}"
            name = q.name if alias in mine and plausible(mine[alias]) else alias
            mine[name] = replace(q, kind="within", name=name, pvalue=q.varies, ratio=float("nan"))
        strength = [float((q.loading**2).sum()) if plausible(q) else 0.0 for q in mine.values()]
        shares = [s / max(sum(strength), 1e-300) for s in strength]
        found = [replace(q, share=s) for q, s in zip(mine.values(), shares, strict=True)]
        programs += sorted(found, key=lambda q: -q.share)
    return programs
