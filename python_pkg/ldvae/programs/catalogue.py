"""One name for programs of different populations that move the same genes."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ..checks import note, shown
from .agreement import Slope, agreement, pool, signal
from .population import Population
from .search import Columns, search

__all__ = ["LINK", "Catalogue", "catalogue"]

LINK = 0.7  # correlation of slopes freed from noise, from which two programs are one (validity: programs)


@dataclass(frozen=True)
class Catalogue:
    """Programs of each population, and which of them are one.

    `members[c]` are the populations that have program c, with the column of `columns` and the sign that it has there.
    """

    columns: list[Columns]
    members: list[dict[int, tuple[int, float]]]
    populations: list[Population]
    n_genes: int

    def of(self, population: int) -> dict[int, int]:
        """Columns of a population that have a name: column → program."""
        return {own[population][0]: c for c, own in enumerate(self.members) if population in own}

    def slope(self, population: int, column: int) -> Slope:
        """Slopes of one column on all genes."""
        found = self.columns[population]
        return self.populations[population].slopes(found.slope[:, column], found.std[:, column], self.n_genes)

    def pooled(self, program: int, without: int | None = None) -> Slope:
        """Slopes of a named program in all its populations but one."""
        parts = []
        for i, (k, sign) in self.members[program].items():
            if i != without:
                b, variance = self.slope(i, k)
                parts.append((sign * b, variance))
        return pool(parts)


def catalogue(populations: list[Population], most: int, n_genes: int, seed: int) -> Catalogue:
    """What each population's counts say, at most `most` programs in each, and what several of them have in common."""
    bar = tqdm(populations, "programs", leave=False, disable=None if sys.stderr else True)
    columns = [search(p.local, most, seed) for p in bar]
    full = [p.name for p, own in zip(populations, columns, strict=True) if own.last is None]
    if full:
        note(f"{shown(full)} may have more programs than the {most} that were looked for: set `n_programs` higher.")
    found = Catalogue(columns, [], populations, n_genes)
    at = [(i, k) for i, own in enumerate(columns) for k in own.sound()]
    slopes = [found.slope(*where) for where in at]
    signals = [signal(s) for s in slopes]
    alike = np.zeros((len(at), len(at)))
    for u in range(len(at)):
        for v in range(u):
            if at[u][0] != at[v][0]:
                alike[u, v] = alike[v, u] = agreement(slopes[u], slopes[v], signals[u], signals[v])
    members = []
    for group in _linked(alike, np.array([i for i, _ in at], dtype=int)):
        centre = max(group, key=lambda u: np.abs(alike[u, group]).sum())
        members.append({at[u][0]: (at[u][1], -1.0 if alike[centre, u] < 0 else 1.0) for u in sorted(group)})
    return Catalogue(columns, members, populations, n_genes)


def _linked(alike: np.ndarray, population: np.ndarray) -> list[list[int]]:
    """Groups of two and more by average linkage, of each population one at most."""
    groups = [[u] for u in range(len(alike))]
    while True:
        best, pair = LINK, None
        for x in range(len(groups)):
            for y in range(x):
                if not set(population[groups[x]]) & set(population[groups[y]]):
                    r = np.abs(alike[np.ix_(groups[x], groups[y])]).mean()
                    if r > best:
                        best, pair = r, (x, y)
        if pair is None:
            return [group for group in groups if len(group) > 1]
        groups[pair[1]] += groups.pop(pair[0])
