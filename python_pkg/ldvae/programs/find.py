"""All programs of one kind, remembered with the fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import checks
from ..comparisons.batches import warn_populations_apart
from ..comparisons.people import say_samples
from ..comparisons.samples import read_adjust
from ..counts.labels import Labels, read_labels, warn_unnamed
from ..fit.cells import Cells, read_beyond, read_data
from ..fit.record import Fit, check_fit
from .between import between_programs
from .catalogue import catalogue
from .deviation import deviation_programs
from .likeness import compared, warn_like
from .program import Program, call_programs, too_small
from .setting import MIN_CELLS, Setting, prepare
from .specific import specific_programs
from .within import within_programs

__all__ = ["KINDS", "Found", "find_programs"]

KINDS = ("between", "within", "specific", "deviation")


@dataclass(frozen=True)
class Found:
    """Programs of one kind with their adjusted p-values and calls, and what is needed to score cells on them."""

    programs: list[Program]
    padj: np.ndarray
    called: np.ndarray
    reasons: list[str]
    cells: Cells
    labels: Labels
    reference: list[str] | None
    setting: Setting | None
    within: list[Program]
    genes: np.ndarray


# A user asks for loadings, programs and scores of several kinds, one call each: what the last cells and labels gave is
# kept with the fit, by the name of the step.
_LAST: WeakKeyDictionary[Fit, tuple[str, dict[Any, Any]]] = WeakKeyDictionary()


def find_programs(
    fit: Any,
    adata: Any,
    groupby: Any,
    kind: Any,
    reference: Any,
    sample_key: Any,
    n_programs: Any,
    seed: Any,
    adjust: Any = None,
    layer: Any = None,
) -> Found:
    """Check the arguments and find the programs; see `population_loadings` for their meaning."""
    fit = check_fit(fit)
    kind = checks.choice("kind", kind, KINDS)
    n_programs = checks.integer("n_programs", n_programs, 1, 50)
    seed = checks.integer("seed", seed, 0, 2**32 - 1)
    labels = read_labels(adata, groupby, "groupby")
    samples = None if sample_key is None else read_labels(adata, sample_key, "sample_key")
    covariates = read_adjust(adata, adjust, samples)
    if covariates is not None and kind != "between":
        raise ValueError("`adjust` needs kind='between': programs vary inside samples, where these covariates do not.")
    reference = _reference(labels, reference, kind)
    cells = read_data(fit, adata, layer)
    beyond = read_beyond(cells, adata, layer) if kind == "between" else None
    known, whole, fit = _LAST.get(fit), fit, cells.fit
    genes = fit.genes if beyond is None else np.concatenate([fit.genes, beyond.genes])
    key = _fingerprint(cells, labels, samples, (n_programs, seed))
    if known is None or known[0] != key:
        known = _LAST[whole] = (key, {})

    def once(step: Any, against: list[str] | None, make: Callable[[], Any]) -> Any:
        name = (step, None if against is None else tuple(against))
        if name not in known[1]:
            known[1][name] = make()
        return known[1][name]

    def say() -> None:
        warn_unnamed(labels)
        if samples is not None:
            say_samples(adata, samples, labels)

    once("labels", None, say)

    def find() -> Found:
        if kind == "between":
            programs = between_programs(fit, cells, labels, samples, reference, seed, covariates, beyond)
            return Found(programs, *call_programs(programs), cells, labels, reference, None, [], genes)
        setting = once("setting", None, lambda: prepare(fit, cells, labels, samples, seed))
        if kind != "within":
            _need_reference(setting, labels, reference, kind)
        everything = once("names", None, lambda: _within(setting, n_programs))
        programs = everything
        if kind == "specific":
            programs = specific_programs(setting, everything, reference)
        elif kind == "deviation":
            programs = deviation_programs(setting, everything, reference)
        if kind != "deviation":
            programs = programs + [too_small(name, kind, n, setting.n_genes) for name, n in setting.small.items()]
        return Found(programs, *call_programs(programs), cells, labels, reference, setting, everything, genes)

    own: tuple[Any, ...] = () if covariates is None else (*covariates.keys, covariates.columns.tobytes())
    own += () if beyond is None else (*beyond.genes.tolist(), float(beyond.matrix.sum()))
    found: Found = once((kind, *own), reference, find)
    if kind == "between":
        warn_populations_apart(labels, [p.population for p in found.programs], reference, cells.batch)
    else:
        warn_like(found.programs, found.called)
    return found


def _within(setting: Setting, n_programs: int) -> list[Program]:
    found = catalogue(setting.populations, n_programs, setting.n_genes, setting.seed)
    return compared(setting, within_programs(found, setting.seed))


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
    names = [labels.key, labels.levels, samples and samples.levels, list(cells.counts.cells), list(cells.fit.genes)]
    digest = hashlib.blake2b(repr((arguments, names)).encode())
    matrix, codes = cells.counts.matrix, [s.codes for s in (labels, samples) if s is not None]
    arrays = (matrix.data, matrix.indices, matrix.indptr, cells.counts.lib_size, cells.design, cells.mean, *codes)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
