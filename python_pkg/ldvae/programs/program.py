"""One program of one population, and when it is called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stats.testing import bh
from ..tables import GENES, LEVEL

__all__ = ["EXCESS", "Program", "call_programs", "heavier_tail", "plausible"]

EXCESS = 0.1  # share of the variance along a program that must not be counting noise (validity: nulls, real)


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
    resembles
        Number of the shared program that it looks like, or is in disguise: one whose genes answer differently here, or
        what a linear program leaves of a large response. None if it looks like no other.
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
    resembles: int | None = None

    @property
    def n_genes(self) -> int:
        """Genes with lfsr below 0.05."""
        return int((self.lfsr[self.tested] < LEVEL).sum())


def plausible(program: Program) -> bool:
    """Whether a program varies beyond doubt, in enough genes and by enough."""
    return program.enough and program.n_genes >= GENES and program.varies < LEVEL


def call_programs(programs: list[Program]) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted p-values (Benjamini–Hochberg) and which programs are called.

    Those that are significant, have enough of an effect, and, if they are to be specific, resemble no shared program.
    """
    adjusted = bh(np.array([p.pvalue for p in programs]))
    enough = [p.enough and (p.n_genes >= (1 if p.kind in ("between", "deviation") else GENES)) for p in programs]
    own = [p.kind != "specific" or p.resembles is None for p in programs]
    return adjusted, (adjusted < LEVEL) & np.array(enough, dtype=bool) & np.array(own, dtype=bool)


def heavier_tail(loadings: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Sign (per column) that makes the heavier tail of the clear loadings positive; a program has none of its own."""
    clear = np.where(np.abs(loadings) > 2 * np.nan_to_num(std, nan=np.inf), loadings, 0.0)
    return np.where((clear**3).sum(0) < 0, -1.0, 1.0)
