"""One program of one population, and when it is called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stats.testing import bh
from ..tables import GENES, LEVEL

__all__ = [
    "ALIKE",
    "EXCESS",
    "RATIO",
    "REST",
    "Program",
    "beside",
    "call_programs",
    "cosine",
    "heavier_tail",
    "plausible",
    "too_small",
]

REST = "rest"  # name of what is left of a population beyond its programs
RATIO = 0.5  # a program with more than this share of its variance in another population is not a population's own
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
        The other population that is the most likely to have half of its variance.
    reason
        Why it is no program, if that is known before p-values are adjusted.
    towards, towards_cosine
        The population that it moves genes as going to would, and how closely (see `likeness`).
    samples
        Share of the samples in which it varies.
    learnt
        What each half of the cells taught (halvings × 2 × genes), None if other populations did.
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
    reason: str = ""
    towards: str = ""
    towards_cosine: float = float("nan")
    samples: float = float("nan")
    learnt: np.ndarray | None = None

    @property
    def n_genes(self) -> int:
        """Genes with lfsr below 0.05."""
        return int((self.lfsr[self.tested] < LEVEL).sum())


def too_small(population: str, kind: str, n_cells: int, n_genes: int) -> Program:
    """The row of a population with too few cells to say anything."""
    nan, nothing = float("nan"), np.zeros(n_genes)
    missing, ones, no = np.full(n_genes, np.nan), np.ones(n_genes), np.zeros(n_genes, bool)
    return Program(population, kind, REST, nothing, missing, ones, no, nan, nan, n_cells, False, reason="too few cells")


def plausible(program: Program) -> bool:
    """Whether a program varies beyond doubt, in enough genes and by enough."""
    return program.enough and program.n_genes >= GENES and program.varies < LEVEL


def call_programs(programs: list[Program]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Adjusted p-values (Benjamini–Hochberg), which programs are called, and for the others why not.

    Called are those that are significant and have enough of an effect.
    """
    adjusted = bh(np.array([p.pvalue for p in programs]))
    reasons = [_reason(p, q) for p, q in zip(programs, adjusted, strict=True)]
    return adjusted, np.array([not reason for reason in reasons], dtype=bool), reasons


def _reason(program: Program, padj: float) -> str:
    if program.reason:
        return program.reason
    if program.kind in ("between", "deviation"):
        return "" if padj < LEVEL and program.n_genes else "no gene differs for sure"
    if not program.varies < LEVEL:
        return "does not vary beyond counting noise"
    if not program.enough:
        return f"less than {100 * EXCESS:.0f} % beyond counting noise"
    if program.n_genes < GENES:
        return f"fewer than {GENES} sure genes"
    if program.kind == "specific" and not program.pvalue < LEVEL:
        return f"{'varies' if program.ratio < 1 / RATIO else 'may vary'} in {program.reference} too"
    return "" if padj < LEVEL else "not sure enough among as many tests"


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Absolute cosines of loadings (genes) with others (genes × q)."""
    norms = np.linalg.norm(first) * np.linalg.norm(second, axis=0)
    return np.asarray(np.abs(first @ second) / np.maximum(norms, 1e-12))


def beside(programs: list[Program], population: str, program: Program) -> np.ndarray:
    """Loadings (genes × q) of what varies in a population besides a program: not it by name, nor its like."""
    own = [p for p in programs if p.population == population and plausible(p) and p.name != program.name]
    loadings = np.stack([p.loading for p in own], 1) if own else np.zeros((len(program.loading), 0))
    if population == program.population:
        return loadings
    return loadings[:, cosine(program.loading, loadings) < ALIKE]


def heavier_tail(loadings: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Sign (per column) that makes the heavier tail of the clear loadings positive; a program has none of its own."""
    clear = np.where(np.abs(loadings) > 2 * np.nan_to_num(std, nan=np.inf), loadings, 0.0)
    return np.where((clear**3).sum(0) < 0, -1.0, 1.0)
