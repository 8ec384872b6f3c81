"""Which labels, sets of cells or numbers a user wants to compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.labels import Labels, read_cells, read_labels, read_values

__all__ = ["PER_UNIT", "read_groups", "row_numbers"]

_REST = ("rest", "others")
_MOST_VALUES = 20  # that a number whose slope is asked for takes in a sample, on average
PER_UNIT = "per unit"


def row_numbers(argument: str, cells: Any, names: np.ndarray, obs: pd.DataFrame | None = None) -> np.ndarray:
    """Row numbers of a set of cells given as a boolean mask, by names, or as a condition on columns of `obs`."""
    if isinstance(cells, pd.Series) and pd.api.types.is_bool_dtype(cells.dtype):
        cells = cells.to_numpy(dtype=bool, na_value=False)
    if isinstance(cells, str) and obs is not None and cells not in names:
        return _query(argument, cells, obs)
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


def _query(argument: str, condition: str, obs: pd.DataFrame) -> np.ndarray:
    """Cells for which a condition holds, as `DataFrame.query` reads it."""
    try:
        found = obs.reset_index(drop=True).query(condition, engine="python").index
    except Exception as error:  # whatever pandas makes of what somebody typed
        raise ValueError(
            f"`{argument}` must be cells (a mask or names) or a condition on columns of adata.obs such as "
            f"\"cell_type == 'B'\", and {checks.brief(condition)} is neither ({' '.join(str(error).split())})."
        ) from None
    if not len(found):
        raise ValueError(f"`{argument}`: no cell meets {checks.brief(condition)}.")
    return np.asarray(found)


Pair = tuple[str, str, list[int], list[int]]


def read_groups(
    adata: Any, groupby: Any, group1: Any, group2: Any, cells1: Any, cells2: Any, sample_key: Any
) -> tuple[Labels, list[Pair], np.ndarray | None]:
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
    codes[row_numbers("cells1", cells1, names, adata.obs)] = 0
    if cells2 is None:
        codes[codes < 0] = 1
        if (codes == 0).all():
            raise ValueError("`cells1` holds all cells, which leaves none to compare them with.")
    else:
        rows = row_numbers("cells2", cells2, names, adata.obs)
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


def as_levels(value: Any) -> Any:
    """Levels as users write them: also the numbers and truth values that a column holds."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [as_levels(v) for v in value]
    return str(value) if isinstance(value, bool | int | np.bool_ | np.integer) else value


def _pairs(labels: Labels, group1: Any, group2: Any) -> list[Pair]:
    if len(labels.levels) < 2:
        only = labels.levels[0]
        raise ValueError(f"`groupby` must name a column with two levels, but {labels.key!r} has only {only!r}.")
    number = {level: i for i, level in enumerate(labels.levels)}

    def known(argument: str, value: Any) -> list[str]:
        names = checks.strings(argument, as_levels(value))
        wrong = [name for name in names if name not in number]
        if wrong or not names:
            found = f"not {checks.shown(wrong)}" if wrong else "and none is named"
            levels = checks.shown(labels.levels, 20)
            raise ValueError(f"`{argument}` must name levels of {labels.key!r} ({levels}), {found}.")
        return names

    first = labels.levels if group1 is None else known("group1", group1)
    if group2 is None or (isinstance(group2, str) and group2 in _REST and group2 not in number):
        return [(a, "rest", [number[a]], [i for i in number.values() if i != number[a]]) for a in first]
    if isinstance(group2, str) and group2 == "pairwise" and "pairwise" not in number:
        if len(first) < 2:
            raise ValueError("`group2` can be 'pairwise' only with at least two levels in `group1`.")
        return [(a, b, [number[a]], [number[b]]) for i, a in enumerate(first) for b in first[i + 1 :]]
    second = known("group2", group2)
    if len(second) > 1:
        raise ValueError(
            f"`group2` must be one level, 'pairwise' or None, not {len(second)} levels; "
            "of several together, give the cells as `cells1` and `cells2`."
        )
    if group1 is not None and second[0] in first:
        raise ValueError(f"`group1` and `group2` must be different, and both name {second[0]!r}.")
    return [(a, second[0], [number[a]], [number[second[0]]]) for a in first if a != second[0]]
