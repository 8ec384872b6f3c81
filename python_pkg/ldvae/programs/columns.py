"""Programs as the columns of tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tables import LEVEL, LN2
from .find import Found
from .program import Program

__all__ = ["loading_columns", "program_columns", "top"]

_TOP = 5  # genes named on either side of a program


def loading_columns(found: Found) -> dict[str, Any]:
    """Called programs, long: one row per tested gene: those with lfsr below 0.05 by strength, then the others."""
    parts = []
    for program in [p for p, called in zip(found.programs, found.called, strict=True) if called]:
        tested = np.flatnonzero(program.tested)
        # genes beyond doubt first: the shrunken estimate of a rare gene can be large and mean little
        order = tested[np.lexsort((-np.abs(program.loading[tested]), program.lfsr[tested] >= LEVEL))]
        parts.append((program, order))

    def column(values: list[Any], dtype: type) -> np.ndarray:
        return np.concatenate([np.empty(0, dtype), *values])

    return {
        "population": column([[p.population] * len(o) for p, o in parts], object),
        "kind": column([[p.kind] * len(o) for p, o in parts], object),
        "program": column([[p.name] * len(o) for p, o in parts], object),
        "gene": column([found.genes[o] for _, o in parts], object),
        "loading": column([p.loading[o] / LN2 for p, o in parts], float),
        "std": column([p.std[o] / LN2 for p, o in parts], float),
        "lfsr": column([p.lfsr[o] for p, o in parts], float),
        "rank": column([np.arange(1, len(o) + 1) for _, o in parts], int),
    }


def program_columns(found: Found) -> dict[str, Any]:
    """Every program that was tested, one row each."""
    programs = found.programs
    return {
        "population": [p.population for p in programs],
        "kind": [p.kind for p in programs],
        "program": [p.name for p in programs],
        "called": found.called,
        "reason": found.reasons,
        "variance": [float((p.loading**2).sum()) / LN2**2 for p in programs],
        "share": [p.share for p in programs],
        "ratio_to_reference": [p.ratio for p in programs],
        "reference_population": [p.reference for p in programs],
        "like_population": [p.towards for p in programs],
        "like_cosine": [p.towards_cosine for p in programs],
        "share_of_samples": [p.samples for p in programs],
        "pval": [p.pvalue for p in programs],
        "padj": found.padj,
        "n_cells": [p.n_cells for p in programs],
        "n_genes": [p.n_genes for p in programs],
        "top_up": [top(p, found.genes, 1.0) for p in programs],
        "top_down": [top(p, found.genes, -1.0) for p in programs],
    }


def top(program: Program, genes: np.ndarray, sign: float) -> str:
    """Names of the strongest sure genes of one sign."""
    clear = np.flatnonzero(program.tested & (program.lfsr < LEVEL) & (sign * program.loading > 0))
    return ", ".join(genes[clear[np.argsort(-np.abs(program.loading[clear]), kind="stable")][:_TOP]])
