"""Everything that varies inside each population, by the names of the catalogue."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from ..stats.shrinkage import ash
from ..tables import LEVEL
from .activities import as_tensor
from .agreement import Slope, agreement, borrow
from .catalogue import LINK, Catalogue
from .evidence import VarianceTest
from .population import Population
from .program import EXCESS, REST, Program, plausible
from .search import search, shrunk

__all__ = ["within_programs"]


def within_programs(found: Catalogue, seed: int) -> list[Program]:
    """Programs of each population, and those that were tested there and are none.

    A population's slopes of a program that others have are drawn to theirs by as much as they agree. One that it lacks
    is looked for with the others' loadings: it must vary, and its slopes must agree. What has no name is found once
    more, given what has.
    """
    programs = []
    bar = tqdm(found.populations, "names", leave=False, disable=None if sys.stderr else True)
    for i, p in enumerate(bar):
        own = _own(found, i, p, seed)
        strength = [float((m.loading**2).sum()) if plausible(m) else 0.0 for m in own]
        total = max(sum(strength), 1e-300)
        own = [replace(m, share=s / total) for m, s in zip(own, strength, strict=True)]
        programs += sorted(own, key=lambda m: -m.share)
    return _named(programs)


def _named(programs: list[Program]) -> list[Program]:
    """One name per program: those of most populations first, then the strongest."""
    groups: dict[str, list[int]] = {}
    for j, program in enumerate(programs):
        if program.name != REST:
            groups.setdefault(program.name, []).append(j)

    def rank(members: list[int]) -> tuple[int, float]:
        own = [programs[j] for j in members if plausible(programs[j])]
        return -len(own), -sum(float((p.loading**2).sum()) for p in own)

    for number, members in enumerate(sorted(groups.values(), key=rank), 1):
        for j in members:
            programs[j] = replace(programs[j], name=f"program_{number}")
    return programs


def _own(found: Catalogue, i: int, p: Population, seed: int) -> list[Program]:
    columns, named, genes = found.columns[i], found.of(i), p.genes
    alone = [k for k in range(len(columns)) if k not in named]
    programs: list[Program] = []
    here: list[np.ndarray] = []
    for k, c in named.items():
        sign = found.members[c][i][1]
        slope = borrow(found.slope(i, k), tuple(sign * v if a == 0 else v for a, v in enumerate(found.pooled(c, i))))
        program = _program(
            found, p, f"c{c}", (sign * slope[0], slope[1]), columns.tests[k], sign * columns.learnt[..., k]
        )
        programs.append(program)
        here.append(program.loading[genes])
    fixed = shrunk(columns.slope, columns.std)
    for c, theirs in _lacking(found, i, p, fixed):
        loading = np.nan_to_num(ash(theirs[0], np.sqrt(theirs[1])).mean)[genes]
        test = p.local.given(fixed).variance_test(as_tensor(loading))
        program = None
        if test.pvalue < LEVEL and test.excess >= EXCESS:
            local = p.local.given(np.c_[loading, fixed])
            slopes = local.regress(local.null.left_out, local.null.size)
            mine = tuple(p.spread(v, found.n_genes, np.nan) for v in (slopes.centred(0), slopes.se[:, 0] ** 2))
            if agreement(mine, theirs) >= LINK:
                program = _program(found, p, f"c{c}", borrow(mine, theirs), test)
                here.append(loading)
                fixed = np.c_[fixed, loading]
        alike = test.pvalue < LEVEL and test.excess >= EXCESS
        programs.append(program or _nothing(found, p, f"c{c}", test, "other genes answer here" if alike else ""))
    last = columns.last
    if here and alone:
        columns = search(p.local.given(np.stack(here, 1)), len(alone), seed)
        alone = list(range(len(columns)))
        last = columns.last
    for k in alone:
        slope = tuple(p.spread(v[:, k], found.n_genes, np.nan) for v in (columns.slope, columns.std**2))
        programs.append(_program(found, p, f"{p.name}_{k}", slope, columns.tests[k], columns.learnt[..., k]))
    if last is not None:
        slope = tuple(p.spread(v, found.n_genes, np.nan) for v in (last.slope, last.std**2))
        programs.append(_program(found, p, REST, slope, last.test, last.learnt))
    return programs


def _lacking(found: Catalogue, i: int, p: Population, fixed: np.ndarray) -> list[tuple[int, Slope]]:
    """Named programs that a population lacks with their slopes in the others, those that vary most here first."""
    out = []
    for c, members in enumerate(found.members):
        if i in members:
            continue
        theirs = found.pooled(c)
        loading = np.nan_to_num(ash(theirs[0], np.sqrt(theirs[1])).mean)[p.genes]
        if loading.any():
            out.append((p.local.given(fixed).variance_test(as_tensor(loading)).excess, c, theirs))
    return [(c, theirs) for _, c, theirs in sorted(out, key=lambda o: -o[0])]


def _program(
    found: Catalogue, p: Population, name: str, slope: Slope, test: VarianceTest, learnt: np.ndarray | None = None
) -> Program:
    posterior = ash(slope[0], np.sqrt(slope[1]))
    return Program(
        population=p.name,
        kind="within",
        name=name,
        loading=posterior.mean,
        std=posterior.std,
        lfsr=posterior.lfsr,
        tested=p.spread(np.ones(len(p.genes)), found.n_genes, 0.0) > 0,
        pvalue=test.pvalue,
        ratio=float("nan"),
        n_cells=len(p.rows),
        enough=test.excess >= EXCESS,
        varies=test.pvalue,
        learnt=learnt,
    )


def _nothing(found: Catalogue, p: Population, name: str, test: VarianceTest, reason: str) -> Program:
    """A program of others that this population does not have."""
    nowhere = np.full(found.n_genes, np.nan), np.full(found.n_genes, np.nan)
    return replace(_program(found, p, name, nowhere, test), reason=reason)
