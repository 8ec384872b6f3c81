"""Which cells are compared with which: groups, samples and strata become units, and comparisons are sets of units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import checks
from ..counts.labels import Labels, read_labels, warn_unnamed
from ..machine.memory import need_memory
from .batches import apart, linked
from .groups import read_groups
from .people import say_samples

__all__ = ["Comparison", "Plan", "leave_out", "plan_comparisons"]

_MIN_CELLS = 3  # fewer cells say nothing about how cells vary
_CELLS_PER_SAMPLE = 5  # the mean of fewer is mostly counting noise (validity: nulls)
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
        every: dict[str, list[np.ndarray]] = {c.within: [] for c in self.comparisons}
        for c in self.comparisons:
            every[c.within] += [c.units1, c.units2]
        return [np.unique(np.concatenate(units)) for units in every.values()]

    def samples_of(self, units: np.ndarray, n: np.ndarray) -> dict[int, np.ndarray]:
        """Of some units, those of each sample that has enough cells there; `n` is the number of cells of every unit."""
        own = {int(sample): units[self.sample[units] == sample] for sample in np.unique(self.sample[units])}
        return {s: rows for s, rows in own.items() if n[rows].sum() >= _CELLS_PER_SAMPLE}


def _title(group1: str, group2: str, within: str) -> str:
    return f"{group1} against {group2}" + ("" if within == "all" else f" in {within}")


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
    groups, pairs, numbers = read_groups(adata, groupby, group1, group2, cells1, cells2, sample_key)
    sample = None if sample_key is None else read_labels(adata, sample_key, "sample_key")
    stratum = None if within is None else read_labels(adata, within, "within")
    for argument, labels in (("sample_key", sample), ("within", stratum)):
        if labels is not None and groupby is not None and labels.key == groups.key:
            raise ValueError(f"`{argument}` and `groupby` must be different columns, and both are {groups.key!r}.")
    if sample is not None and numbers is None:
        say_samples(adata, sample, groups)
    if groupby is not None and numbers is None and any(len(pair[3]) > 1 or group1 is None for pair in pairs):
        warn_unnamed(groups)
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
            one, two = sides
            least = n_cells[one].sum() if numbers is not None else min(n_cells[one].sum(), n_cells[two].sum())
            if least >= _MIN_CELLS:
                comparisons.append(Comparison(name, name1, name2, one, two, numbers is not None))
            else:
                left_out.append(_title(name1, name2, name))
    if left_out:
        reason = f"with fewer than {_MIN_CELLS} cells on one side: {checks.shown(left_out)}."
        if not comparisons:
            raise ValueError(f"There is nothing to compare, only groups {reason}")
        checks.note(f"Left out were {len(left_out)} comparisons {reason}")
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
