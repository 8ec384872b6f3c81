"""Which cells are compared with which: groups, samples and strata become units, and comparisons are sets of units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.labels import Labels, read_cells, read_labels, read_values
from ..machine.memory import need_memory
from .batches import apart, linked

__all__ = ["Comparison", "Plan", "leave_out", "plan_comparisons", "row_numbers"]

_MIN_CELLS = 3  # fewer cells say nothing about how cells vary
_CELLS_PER_SAMPLE = 5  # the mean of fewer is mostly counting noise (validity: nulls)
_MOST_VALUES = 20  # that a number whose slope is asked for takes in a sample, on average
PER_UNIT = "per unit"
_BYTES_PER_ROW, _BYTES_PER_SUM = 200, 130  # per comparison and gene, per unit and gene


@dataclass(frozen=True)
class Comparison:
    """Two disjoint groups as numbers of units; of a slope, all units are in the first."""

    within: str
    group1: str
    group2: str
    units1: np.ndarray
    units2: np.ndarray
    slope: bool = False

    @property
    def title(self) -> str:
        """Which groups, and where."""
        return _title(self.group1, self.group2, self.within)


@dataclass(frozen=True)
class Plan:
    """Every cell belongs to at most one unit (stratum × group × sample), and every group is a set of units.

    Attributes
    ----------
    codes
        Unit of each cell; -1 where a cell takes part in no comparison.
    sample
        Sample of each unit, a number; -1 throughout without samples.
    samples
        Names of the samples.
    comparisons
        In the order of the table.
    group
        Of each unit the number of its group and stratum, whatever its sample.
    value
        Of each unit the number whose slope is asked for; empty without one.
    mixed
        Groups are sets of cells of whatever populations, not labels.
    """

    codes: np.ndarray
    sample: np.ndarray
    samples: list[str]
    comparisons: list[Comparison]
    group: np.ndarray
    value: np.ndarray = field(default_factory=lambda: np.zeros(0))
    mixed: bool = False

    def apart(self, batch: Labels) -> list[str]:
        """Comparisons whose groups have batches that no group links."""
        taken, n = self.codes >= 0, np.zeros((len(self.sample), len(batch.levels)))
        np.add.at(n, (self.codes[taken], batch.codes[taken]), 1)
        unit, level = np.nonzero(n)
        sets = linked(self.group[unit], level, len(batch.levels))
        return [
            c.title for c in self.comparisons if not c.slope and apart(n[c.units1].sum(0), n[c.units2].sum(0), sets)
        ]

    def rows(self, units: np.ndarray) -> np.ndarray:
        """Row numbers of the cells of some units."""
        return np.flatnonzero(np.isin(self.codes, units))

    def parts(self) -> list[np.ndarray]:
        """Units that are compared with each other, of each stratum."""
        every = {c.within: [] for c in self.comparisons}
        for c in self.comparisons:
            every[c.within] += [c.units1, c.units2]
        return [np.unique(np.concatenate(units)) for units in every.values()]

    def samples_of(self, units: np.ndarray, n: np.ndarray) -> dict[int, np.ndarray]:
        """Of some units, those of each sample that has enough cells there; `n` is the number of cells of every unit."""
        own = {int(sample): units[self.sample[units] == sample] for sample in np.unique(self.sample[units])}
        return {s: rows for s, rows in own.items() if n[rows].sum() >= _CELLS_PER_SAMPLE}


def _title(group1: str, group2: str, within: str) -> str:
    return f"{group1} against {group2}" + ("" if within == "all" else f" in {within}")


def row_numbers(argument: str, cells: Any, names: np.ndarray) -> np.ndarray:
    """Row numbers of a set of cells given as a boolean mask or by names."""
    if isinstance(cells, pd.Series) and cells.dtype == bool:
        cells = cells.to_numpy()
    if isinstance(cells, np.ndarray | list) and len(cells) and all(isinstance(c, bool | np.bool_) for c in cells):
        if len(cells) != len(names):
            raise ValueError(f"`{argument}` is a mask of {len(cells)} cells, but `adata` has {len(names)}.")
        rows = np.flatnonzero(np.asarray(cells))
    else:
        wanted = checks.strings(argument, cells.tolist() if isinstance(cells, np.ndarray) else cells)
        rows = pd.Index(names).get_indexer(pd.Index(wanted, dtype=object))
        if (rows < 0).any():
            missing = [c for c, row in zip(wanted, rows, strict=True) if row < 0]
            found = f"names {len(missing)} cells that are not in `adata`"
            raise ValueError(f"`{argument}` {found}: {checks.shown(missing)}.")
    if len(rows) == 0:
        raise ValueError(f"`{argument}` must hold at least one cell, and it is empty.")
    return rows


def leave_out(refused: list[str], n_kept: int) -> None:
    """Say which comparisons have too few samples: a warning, or an error if none is left."""
    if refused and not n_kept:
        if "`adjust`" in refused[0]:
            raise ValueError(f"`adjust`: {refused[0]}.")
        raise ValueError(f"`sample_key`: {refused[0]} (of at least {_CELLS_PER_SAMPLE} cells each).")
    if refused:
        checks.warn(f"Left out were {len(refused)} comparisons, the first because {refused[0]}.")


def plan_comparisons(
    adata: Any,
    *,
    groupby: Any = None,
    group1: Any = None,
    group2: Any = None,
    cells1: Any = None,
    cells2: Any = None,
    sample_key: Any = None,
    within: Any = None,
    n_genes: int = 1,
) -> Plan:
    """Read the arguments that say what is compared; see `differential_expression` for their meaning.

    `n_genes` says how large the answer will be.

    Raises
    ------
    TypeError, ValueError
        One sentence if a name is unknown, a set is empty, two sets share cells, nothing is left to compare, or the
        answer would not fit into memory.
    """
    groups, pairs, numbers = _groups(adata, groupby, group1, group2, cells1, cells2, sample_key)
    sample = _labels(adata, sample_key, "sample_key")
    stratum = _labels(adata, within, "within")
    for argument, labels in (("sample_key", sample), ("within", stratum)):
        if labels is not None and groupby is not None and labels.key == groups.key:
            raise ValueError(f"`{argument}` and `groupby` must be different columns, and both are {groups.key!r}.")
    taking_part = np.unique([level for pair in pairs for side in pair[2:] for level in side])
    parts = [("all", groups.codes >= 0)]
    if stratum is not None:
        parts = [(level, stratum.codes == i) for i, level in enumerate(stratum.levels)]
    n_samples = 1 if sample is None else len(sample.levels)
    _check_size("comparisons", len(parts) * len(pairs), n_genes, _BYTES_PER_ROW, "name fewer groups in `group1`")
    codes = np.full(len(groups.codes), -1)
    base = len(groups.levels) * n_samples
    offset = np.zeros(len(codes), dtype=np.int64) if sample is None else sample.codes
    labelled = np.isin(groups.codes, taking_part) & (offset >= 0)
    for i, (_, rows) in enumerate(parts):
        rows = rows & labelled
        codes[rows] = (i * base + groups.codes * n_samples + offset)[rows]
    used, dense = np.unique(codes[codes >= 0], return_inverse=True)
    codes[codes >= 0] = dense
    _check_size("groups, samples and strata", len(used), n_genes, _BYTES_PER_SUM, "compare fewer of them at a time")
    n_cells = np.bincount(dense, minlength=len(used))
    comparisons, left_out = [], []
    for i, (name, _) in enumerate(parts):
        for name1, name2, levels1, levels2 in pairs:
            in_part = used // base == i
            sides = [np.flatnonzero(in_part & np.isin(used % base // n_samples, s)) for s in (levels1, levels2)]
            slope = numbers is not None
            if min(n_cells[side].sum() for side in sides[: 1 if slope else 2]) >= _MIN_CELLS:
                comparisons.append(Comparison(name, name1, name2, *sides, slope))
            else:
                left_out.append(_title(name1, name2, name))
    if left_out:
        reason = f"with fewer than {_MIN_CELLS} cells on one side: {checks.shown(left_out)}."
        if not comparisons:
            raise ValueError(f"There is nothing to compare, only groups {reason}")
        checks.warn(f"Left out were {len(left_out)} comparisons {reason}")
    sample_of = np.full(len(used), -1) if sample is None else used % n_samples
    value = np.zeros(0) if numbers is None else numbers[used % base // n_samples]
    return Plan(
        codes,
        sample_of,
        [] if sample is None else sample.levels,
        comparisons,
        used // n_samples,
        value,
        groupby is None,
    )


def _check_size(what: str, n: int, n_genes: int, each: int, remedy: str) -> None:
    need_memory(f"{n:,} {what} of {n_genes:,} genes", float(n) * n_genes * each, remedy)


_Pair = tuple[str, str, list[int], list[int]]


def _labels(adata: Any, key: Any, argument: str) -> Labels | None:
    return None if key is None else read_labels(adata, key, argument)


def _groups(
    adata: Any, groupby: Any, group1: Any, group2: Any, cells1: Any, cells2: Any, sample_key: Any
) -> tuple[Labels, list[_Pair], np.ndarray | None]:
    """The label of each cell, pairs of sets of labels to compare, and of a slope the number that each label is."""
    if cells1 is None:
        if cells2 is not None:
            raise ValueError("`cells2` needs `cells1`, the set that it is compared with.")
        if groupby is None:
            raise ValueError("`groupby` must name a column of adata.obs, or `cells1` some cells; both are missing.")
        if group1 is None and group2 is None and (found := _numbers(adata, groupby, sample_key)) is not None:
            labels, numbers = found
            return labels, [(labels.key, PER_UNIT, list(range(len(numbers))), [])], numbers
        labels = read_labels(adata, groupby, "groupby")
        return labels, _pairs(labels, group1, group2), None
    if any(argument is not None for argument in (groupby, group1, group2)):
        raise ValueError("`cells1` cannot be combined with `groupby`, `group1` or `group2`; give the one or the other.")
    names = read_cells(adata)
    codes = np.full(len(names), -1)
    codes[row_numbers("cells1", cells1, names)] = 0
    if cells2 is None:
        codes[codes < 0] = 1
        if (codes == 0).all():
            raise ValueError("`cells1` holds all cells, which leaves none to compare them with.")
    else:
        rows = row_numbers("cells2", cells2, names)
        shared = int((codes[rows] == 0).sum())
        if shared:
            raise ValueError(f"`cells1` and `cells2` must not overlap, but {shared} cells are in both.")
        codes[rows] = 1
    second = "rest" if cells2 is None else "cells2"
    return Labels("", ["cells1", second], codes), [("cells1", second, [0], [1])], None


def _numbers(adata: Any, groupby: Any, sample_key: Any) -> tuple[Labels, np.ndarray] | None:
    """A numeric column whose slope is asked for: its values as labels, and as numbers; None for categories.

    Whole numbers that vary within samples are names of clusters, whole numbers that do not (ages) are measurements.
    """
    values = read_values(adata, groupby, "groupby")
    if isinstance(values, Labels):
        return None
    numbers, codes = np.unique(values[np.isfinite(values)], return_inverse=True)
    whole = bool((numbers == np.rint(numbers)).all())
    if sample_key is None:
        if not whole:
            raise ValueError(
                f"`groupby`: {groupby!r} holds numbers; their slope needs `sample_key`, or make them categories."
            )
        return None
    of_cell = np.full(len(values), -1)
    of_cell[np.isfinite(values)] = codes
    sample = read_labels(adata, sample_key, "sample_key")
    pairs = np.unique(np.c_[sample.codes, of_cell][(sample.codes >= 0) & (of_cell >= 0)], axis=0)
    if whole and (len(numbers) < 3 or len(pairs) > len(np.unique(pairs[:, 0]))):
        return None
    if len(pairs) > _MOST_VALUES * len(np.unique(pairs[:, 0])):
        raise ValueError(
            f"`groupby`: {groupby!r} takes too many values within samples for a slope between samples; cut it into a "
            "few values."
        )
    return Labels(str(groupby), [f"{x:g}" for x in numbers], of_cell), numbers


def _pairs(labels: Labels, group1: Any, group2: Any) -> list[_Pair]:
    if len(labels.levels) < 2:
        only = labels.levels[0]
        raise ValueError(f"`groupby` must name a column with two levels, but {labels.key!r} has only {only!r}.")
    number = {level: i for i, level in enumerate(labels.levels)}

    def known(argument: str, value: Any) -> list[str]:
        names = checks.strings(argument, value)
        wrong = [name for name in names if name not in number]
        if wrong or not names:
            found = f"not {checks.shown(wrong)}" if wrong else "and none is named"
            levels = checks.shown(labels.levels, 20)
            raise ValueError(f"`{argument}` must name levels of {labels.key!r} ({levels}), {found}.")
        return names

    first = labels.levels if group1 is None else known("group1", group1)
    if group2 is None:
        return [(a, "rest", [number[a]], [i for i in number.values() if i != number[a]]) for a in first]
    if isinstance(group2, str) and group2 == "pairwise" and "pairwise" not in number:
        if len(first) < 2:
            raise ValueError("`group2` can be 'pairwise' only with at least two levels in `group1`.")
        return [(a, b, [number[a]], [number[b]]) for i, a in enumerate(first) for b in first[i + 1 :]]
    second = known("group2", group2)
    if len(second) > 1:
        raise ValueError(f"`group2` must be one level, 'pairwise' or None, not {len(second)} levels.")
    if group1 is not None and second[0] in first:
        raise ValueError(f"`group1` and `group2` must be different, and both name {second[0]!r}.")
    return [(a, second[0], [number[a]], [number[second[0]]]) for a in first if a != second[0]]
