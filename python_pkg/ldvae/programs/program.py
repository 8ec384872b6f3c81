"""One program of one population, and when it is called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stats.testing import bh
from ..tables import GENES, LEVEL

__all__ = ["ALIKE", "EXCESS", "REST", "Program", "beside", "call_programs", "cosine", "heavier_tail", "plausible"]

REST = "rest"  # name of what is left of a population beyond its programs
EXCESS = 0.1  # share of the variance along a program that must not be counting noise (validity: nulls, real)
ALIKE = 0.25  # cosine with a program's loadings: half of the genes may differ, not most


@dataclass(frozen=True)
class Program:
    """One program of one population; arrays over all genes, natural-log units per SD of its activity.

    Attributes
    ----------
    tested
        Genes seen often enough.
    pvalue
        Of the test that makes it a program of its kind.
    ratio
        Its variance over that in the reference.
    enough
        Whether the effect (not its significance) suffices for a call.
    share
        Part of the variance of all programs of the population.
    varies
        P-value of genes varying together at all.
    reference
        The other population in which it varies most.
    learnt
        What each half of the cells taught (2 × genes), None if other populations did.
    """

    population: str
    kind: str
    name: str
    loading: np.ndarray
    std: np.ndarray
    lfsr: np.ndarray
    tested: np.ndarray
    pvalue: float
    ratio: float
    n_cells: int
    enough: bool = True
    share: float = float("nan")
    varies: float = float("nan")
    reference: str = ""
    learnt: np.ndarray | None = None

    @property
    def n_genes(self) -> int:
        """Genes with lfsr below 0.05."""
        return int((self.lfsr[self.tested] < LEVEL).sum())


def plausible(program: Program) -> bool:
    """Whether a program varies beyond doubt, in enough genes and by enough."""
    return program.enough and program.n_genes >= GENES and program.varies < LEVEL


def call_programs(programs: list[Program]) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted p-values (Benjamini–Hochberg) and which programs are called.

    Those that are significant and have enough of an effect.
    """
    adjusted = bh(np.array([p.pvalue for p in programs]))
    enough = [p.enough and (p.n_genes >= (1 if p.kind in ("between", "deviation") else GENES)) for p in programs]
    return adjusted, (adjusted < LEVEL) & np.array(enough, dtype=bool)


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Absolute cosines of loadings (genes) with others (genes × q)."""
    norms = np.linalg.norm(first) * np.linalg.norm(second, axis=0)
    return np.asarray(np.abs(first @ second) / np.maximum(norms, 1e-12))


def beside(programs: list[Program], population: str, program: Program) -> np.ndarray:
    """Loadings (genes × q) of what varies in a population besides a program: neither it by name nor something like it."""
    own = [p for p in programs if p.population == population and plausible(p) and p.name != program.name]
    loadings = np.stack([p.loading for p in own], 1) if own else np.zeros((len(program.loading), 0))
    if population == program.population:
        return loadings
    return loadings[:, cosine(program.loading, loadings) < ALIKE]


def heavier_tail(loadings: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Sign (per column) that makes the heavier tail of the clear loadings positive; a program has none of its own."""
    clear = np.where(np.abs(loadings) > 2 * np.nan_to_num(std, nan=np.inf), loadings, 0.0)
    return np.where((clear**3).sum(0) < 0, -1.0, 1.0)
