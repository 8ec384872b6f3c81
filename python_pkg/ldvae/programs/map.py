"""Every program in every population: how much it varies there, and how surely."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from tqdm import tqdm

from ..stats.testing import bh
from ..tables import LN2
from .activities import as_tensor
from .agreement import pool
from .columns import top
from .find import Found
from .population import Population
from .program import REST, Program, beside, plausible
from .strength import variance_here, variances_elsewhere

__all__ = ["map_columns"]


def map_columns(found: Found, genes: np.ndarray) -> dict[str, Any]:
    """One row per program (of all populations) and population.

    A program is scored in a population with the loadings that the *other* populations give it, where there are others:
    its variance is that of the activity, freed from counting noise, times the sum of the squared loadings.
    """
    assert found.setting is not None
    by_name: dict[str, dict[str, tuple[Program, bool]]] = {}
    for program, called in zip(found.programs, found.called, strict=True):
        if program.name != REST:
            by_name.setdefault(program.name, {})[program.population] = program, bool(called)
    rows: list[tuple[Any, ...]] = []
    ordered = sorted(by_name, key=lambda name: int(name.rpartition("_")[2]))
    for name in tqdm(ordered, "map", leave=False, disable=None if sys.stderr else True):
        own = {population: p for population, (p, _) in by_name[name].items() if plausible(p)}
        for p in found.setting.populations:
            if own:
                here = by_name[name].get(p.name)
                rows.append((name, p.name, *_row(p, here and here[0], bool(here and here[1]), own, found, genes)))
    names = ("program", "population", "variance", "std", "share", "pval", "active", "n_genes", "top_up", "top_down")
    columns: dict[str, Any] = {column: [row[k] for row in rows] for k, column in enumerate(names)}
    return {**columns, "padj": bh(np.array(columns["pval"], dtype=float))}


def _row(
    p: Population, here: Program | None, called: bool, own: dict[str, Program], found: Found, genes: np.ndarray
) -> tuple[Any, ...]:
    assert found.setting is not None
    others = [program for name, program in own.items() if name != p.name]
    program = here or others[0]
    if others:
        loading = np.nan_to_num(pool([(o.loading, o.std**2) for o in others])[0])
        variance, error = variances_elsewhere(p, [(program, [loading])], found.within)[0]
    else:
        variance, error = variance_here(p, program, found.within, found.setting.seed)
    variance, error = variance / LN2**2, error / LN2**2
    if here is None:
        local = p.local.given(beside(found.within, p.name, program)[p.genes])
        return variance, error, 0.0, local.variance_test(as_tensor(loading[p.genes])).pvalue, False, 0, "", ""
    share = here.share if np.isfinite(here.share) else 0.0
    return variance, error, share, here.pvalue, called, here.n_genes, top(here, genes, 1.0), top(here, genes, -1.0)
