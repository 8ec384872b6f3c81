"""All programs of one kind, remembered with the fit, and as the columns of tables."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import checks
from ..counts.reader import Labels, read_labels
from ..fit.posterior import Cells, latent_moments, read_data, rebuild
from ..fit.record import Fit
from .between import between_programs
from .deviation import deviation_programs
from .populations import (
    MIN_CELLS,
    Program,
    Setting,
    call_programs,
    own_programs,
    prepare,
    program_activity,
    within_programs,
)

__all__ = ["KINDS", "Found", "activity_columns", "find_programs", "loading_columns", "program_columns"]

KINDS = ("between", "within", "specific", "deviation")
_TOP = 5  # genes named on either side of a program


@dataclass(frozen=True)
class Found:
    """Programs of one kind with their adjusted p-values and calls, and what is needed to score cells on them."""

    programs: list[Program]
    padj: np.ndarray
    called: np.ndarray
    cells: Cells
    labels: Labels
    reference: list[str] | None
    setting: Setting | None


# A user asks for loadings, programs and scores of several kinds, one call each: what the last cells and labels gave is
# kept with the fit, by the name of the step.
_LAST: WeakKeyDictionary[Fit, tuple[str, dict[Any, Any]]] = WeakKeyDictionary()


def find_programs(
    fit: Fit, adata: Any, groupby: Any, kind: Any, reference: Any, sample_key: Any, n_programs: Any, seed: Any
) -> Found:
    """Check the arguments and find the programs; see `population_loadings` for their meaning."""
    kind = checks.choice("kind", kind, KINDS)
    n_programs = checks.integer("n_programs", n_programs, 1, 50)
    seed = checks.integer("seed", seed, 0, 2**32 - 1)
    labels = read_labels(adata, groupby, "groupby")
    samples = None if sample_key is None else read_labels(adata, sample_key, "sample_key")
    reference = _reference(labels, reference, kind)
    cells = read_data(fit, adata)
    key = _fingerprint(cells, labels, samples, (n_programs, seed))
    known = _LAST.get(fit)
    if known is None or known[0] != key:
        known = _LAST[fit] = (key, {})

    def once(step: str, against: list[str] | None, make: Callable[[], Any]) -> Any:
        name = (step, None if against is None else tuple(against))
        if name not in known[1]:
            known[1][name] = make()
        return known[1][name]

    def find() -> Found:
        if kind == "between":
            programs = between_programs(fit, cells, labels, samples, reference, seed)
            return Found(programs, *call_programs(programs), cells, labels, reference, None)
        setting = once("setting", None, lambda: prepare(fit, cells, labels, samples, seed))
        if kind != "within":
            _need_reference(setting, labels, reference, kind)
        against = reference if kind == "specific" else None
        programs = once("own", against, lambda: own_programs(setting, n_programs, against))
        if kind == "specific" and reference is not None:
            present = {p.name for p in setting.populations} & set(reference)
            programs = [p for p in programs if present - {p.population}]  # not one that is its own reference
        elif kind == "deviation":
            programs = deviation_programs(setting, programs, reference)
        elif kind == "within":
            programs = within_programs(setting, programs)
        return Found(programs, *call_programs(programs), cells, labels, reference, setting)

    found: Found = once(kind, reference, find)
    return found


def _reference(labels: Labels, reference: Any, kind: str) -> list[str] | None:
    if reference is None:
        return None
    if kind == "within":
        raise ValueError("`reference` must be None for kind 'within', which compares a population with no other.")
    names = checks.strings("reference", reference)
    unknown = [name for name in names if name not in labels.levels]
    if unknown or not names:
        known = checks.shown(labels.levels, 20)
        raise ValueError(f"`reference` must name populations of {labels.key!r} ({known}), not {checks.shown(unknown)}.")
    return names


def _need_reference(setting: Setting, labels: Labels, reference: list[str] | None, kind: str) -> None:
    names = [p.name for p in setting.populations]
    if len(names) < 2:
        raise ValueError(
            f"`groupby` must have two populations of at least {MIN_CELLS} cells for kind {kind!r}, and {labels.key!r} "
            f"has {len(names)}; 'within' needs no other."
        )
    if reference is not None and not set(reference) & set(names):
        found = checks.shown(reference)
        raise ValueError(f"`reference` must have a population of at least {MIN_CELLS} cells, and {found} have fewer.")


def _fingerprint(cells: Cells, labels: Labels, samples: Labels | None, arguments: Any) -> str:
    digest = hashlib.blake2b(repr((arguments, labels.key, labels.levels, samples and samples.levels)).encode())
    matrix, codes = cells.counts.matrix, [s.codes for s in (labels, samples) if s is not None]
    arrays = (matrix.data, matrix.indices, matrix.indptr, cells.counts.lib_size, cells.design, cells.mean, *codes)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def loading_columns(found: Found, genes: np.ndarray) -> dict[str, Any]:
    """Called programs, long: one row per tested gene: those with lfsr below 0.05 by strength, then the others."""
    parts = []
    for program in [p for p, called in zip(found.programs, found.called, strict=True) if called]:
        tested = np.flatnonzero(program.tested)
        # genes beyond doubt first: the shrunken estimate of a rare gene can be large and mean little
        order = tested[np.lexsort((-np.abs(program.loading[tested]), program.lfsr[tested] >= 0.05))]
        parts.append((program, order))

    def column(values: list[Any], dtype: type) -> np.ndarray:
        return np.concatenate([np.empty(0, dtype), *values])

    return {
        "population": column([[p.population] * len(o) for p, o in parts], object),
        "kind": column([[p.kind] * len(o) for p, o in parts], object),
        "program": column([[p.name] * len(o) for p, o in parts], object),
        "gene": column([genes[o] for _, o in parts], object),
        "loading": column([p.loading[o] / math.log(2) for p, o in parts], float),
        "std": column([p.std[o] / math.log(2) for p, o in parts], float),
        "lfsr": column([p.lfsr[o] for p, o in parts], float),
        "rank": column([np.arange(1, len(o) + 1) for _, o in parts], int),
    }


def program_columns(found: Found, genes: np.ndarray) -> dict[str, Any]:
    """Every program that was tested, one row each."""
    programs = found.programs
    return {
        "population": [p.population for p in programs],
        "kind": [p.kind for p in programs],
        "program": [p.name for p in programs],
        "called": found.called,
        "variance": [float((p.loading**2).sum()) / math.log(2) ** 2 for p in programs],
        "share": [p.share for p in programs],
        "ratio_to_reference": [p.ratio for p in programs],
        "pval": [p.pvalue for p in programs],
        "padj": found.padj,
        "n_cells": [p.n_cells for p in programs],
        "n_genes": [p.n_genes for p in programs],
        "top_up": [_top(p, genes, 1.0) for p in programs],
        "top_down": [_top(p, genes, -1.0) for p in programs],
    }


def _top(program: Program, genes: np.ndarray, sign: float) -> str:
    clear = np.flatnonzero(program.tested & (program.lfsr < 0.05) & (sign * program.loading > 0))
    return ", ".join(genes[clear[np.argsort(-np.abs(program.loading[clear]), kind="stable")][:_TOP]])


def activity_columns(found: Found, fit: Fit) -> tuple[list[str], np.ndarray]:
    """Column names `<population>_<program>` and the activity of every called program in every cell."""
    called = [p for p, yes in zip(found.programs, found.called, strict=True) if yes]
    names = [f"{p.population}_{p.name}" for p in called]
    values = [
        program_activity(found.setting, p, found.cells, found.labels, fit)
        if found.setting
        else _position(found, p, fit)
        for p in called
    ]
    return names, np.stack(values, 1) if values else np.zeros((len(found.labels.codes), 0))


def _position(found: Found, program: Program, fit: Fit) -> np.ndarray:
    """Where a cell lies between the reference (0) and the population (1), along what sets the population apart."""
    z, _ = latent_moments(rebuild(fit), found.cells.mean, found.cells.variance)
    along = ((z - fit.factors["center"]) @ fit.factors["rotation"]) @ (fit.factors["loadings"].T @ program.loading)
    labels = found.labels
    own = labels.levels.index(program.population)
    others = [
        i for i, name in enumerate(labels.levels) if i != own and (found.reference is None or name in found.reference)
    ]
    start = np.mean([along[labels.where(i)].mean() for i in others])
    return (along - start) / (along[labels.where(own)].mean() - start)
