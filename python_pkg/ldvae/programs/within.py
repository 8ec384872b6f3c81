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

_OPEN = 0.03  # of a loading: what the standard deviation of the activity leaves open (validity: programs)


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
    columns, named = found.columns[i], found.of(i)
    programs = [_borrowed(found, i, p, k, c) for k, c in named.items()]
    sound, looked_for = columns.sound(), {}
    fixed = shrunk(columns.slope[:, sound], columns.std[:, sound])
    for c, theirs in _lacking(found, i, p, fixed):
        program = _looked_for(found, p, c, theirs, fixed)
        if plausible(program):
            looked_for[c] = theirs
            fixed = np.c_[fixed, program.loading[p.genes]]
        programs.append(program)
    alone = [k for k in range(len(columns)) if k not in named]
    last = columns.last
    if alone and looked_for:  # which may have been a part of what has no name
        columns = search(p.local.given(_of(programs, p)), len(alone), seed)
        alone, last = list(range(len(columns))), columns.last
    elif looked_for:  # which explain what was left
        last = None
    for k in alone:
        slope = p.slopes(columns.slope[:, k], columns.std[:, k], found.n_genes)
        programs.append(_program(found, p, f"{p.name}_{k}", slope, columns.tests[k], columns.learnt[..., k]))
    for c, theirs in looked_for.items():  # measured beside what had hidden a part of it
        at = next(j for j, program in enumerate(programs) if program.name == f"c{c}")
        others = _of(programs[:at] + programs[at + 1 :], p)
        programs[at] = _looked_for(found, p, c, theirs, others)
    if last is not None:
        programs.append(_program(found, p, REST, p.slopes(last.slope, last.std, found.n_genes), last.test))
    return programs


def _of(programs: list[Program], p: Population) -> np.ndarray:
    """Loadings of the plausible ones (genes of the population × q)."""
    own = [program.loading[p.genes] for program in programs if plausible(program)]
    return np.stack(own, 1) if own else np.zeros((len(p.genes), 0))


def _borrowed(found: Catalogue, i: int, p: Population, k: int, c: int) -> Program:
    """Column k of a population, drawn to what the others say of program c."""
    sign, columns = found.members[c][i][1], found.columns[i]
    theirs, of_theirs = found.pooled(c, i)
    slope, variance = borrow(found.slope(i, k), (sign * theirs, of_theirs))
    learnt = sign * columns.learnt[..., k]
    return _program(found, p, f"c{c}", (sign * slope, variance), columns.tests[k], learnt)


def _looked_for(found: Catalogue, p: Population, c: int, theirs: Slope, fixed: np.ndarray) -> Program:
    """Program c in a population that does not show it by itself, with the others' loadings."""
    loading = np.nan_to_num(ash(theirs[0], np.sqrt(theirs[1])).mean)[p.genes]
    test, reason = p.local.given(fixed).variance_test(as_tensor(loading)), ""
    if test.pvalue < LEVEL and test.excess >= EXCESS:
        local = p.local.given(np.c_[loading, fixed])
        slopes = local.regress(local.null.left_out, local.null.size)
        mine = p.slopes(slopes.centred(0), slopes.se[:, 0], found.n_genes)
        alike = agreement(mine, theirs)
        if alike >= LINK:
            return _program(found, p, f"c{c}", borrow(mine, theirs), test)
        reason = "other genes answer here" if alike else "too weak to tell which genes answer"
    nowhere = np.full(found.n_genes, np.nan), np.full(found.n_genes, np.nan)
    return replace(_program(found, p, f"c{c}", nowhere, test), reason=reason)


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
    std = np.hypot(posterior.std, _OPEN * posterior.mean)
    return Program(
        population=p.name,
        kind="within",
        name=name,
        loading=posterior.mean,
        std=std,
        lfsr=posterior.lfsr,
        tested=p.spread(np.ones(len(p.genes)), found.n_genes, 0.0) > 0,
        pvalue=test.pvalue,
        ratio=float("nan"),
        n_cells=len(p.rows),
        enough=test.excess >= EXCESS,
        varies=test.pvalue,
        learnt=learnt,
    )
