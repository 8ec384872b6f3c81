"""Names and annotations of cells out of an AnnData: what every question needs, counts or no counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from .. import checks
from ..checks import brief

__all__ = [
    "Labels",
    "check_anndata",
    "check_levels",
    "read_categories",
    "read_cells",
    "read_labels",
    "read_positions",
    "read_values",
    "unique_names",
    "warn_unnamed",
]


@dataclass(frozen=True)
class Labels:
    """A categorical annotation of cells: `codes` index `levels`; -1 marks a cell without a label."""

    key: str
    levels: list[str]
    codes: np.ndarray

    def where(self, level: int) -> np.ndarray:
        """Row numbers of the cells of one level."""
        return np.flatnonzero(self.codes == level)

    def take(self, rows: np.ndarray) -> Labels:
        """The labels of some cells only; the levels stay."""
        return Labels(self.key, self.levels, self.codes[rows])


def unique_names(index: pd.Index, what: str, remedy: str) -> np.ndarray:
    """The names of an index as strings, refused if any is there twice."""
    names = np.array([str(name) for name in index], dtype=object)
    if not (found := pd.Index(names)).is_unique:
        twice = found[found.duplicated()].unique()
        raise ValueError(
            f"`adata` has repeated {what} names ({checks.shown(twice)}); make them unique, e.g. by {remedy}."
        )
    return names


def check_anndata(adata: Any) -> AnnData:
    """The argument `adata`, if it is an AnnData with cells and genes."""
    if type(adata).__name__ == "MuData":
        raise TypeError("`adata` must be an AnnData, not a MuData: give the modality with the counts, `mdata['rna']`.")
    if not isinstance(adata, AnnData):
        raise TypeError(f"`adata` must be an AnnData, not a {type(adata).__module__}.{type(adata).__name__}.")
    if not isinstance(adata.obs, pd.DataFrame):
        raise TypeError("`adata` must be in memory or backed, not read lazily: load it with `adata.to_memory()`.")
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise ValueError(f"`adata` must have cells and genes, but has {adata.n_obs} and {adata.n_vars}.")
    return adata


def read_cells(adata: Any) -> np.ndarray:
    """Names of the cells."""
    return unique_names(check_anndata(adata).obs_names, "cell", "adata.obs_names_make_unique()")


def _column(adata: Any, key: Any, argument: str) -> pd.Series:
    obs = check_anndata(adata).obs
    if not isinstance(key, str):
        raise TypeError(f"`{argument}` must be the name of a column of adata.obs, not {brief(key)}.")
    if key not in obs:
        there = checks.shown(obs.columns, 8) or "it has none"
        raise ValueError(f"`{argument}` must name a column of adata.obs ({there}), not {brief(key)}.")
    if list(obs.columns).count(key) > 1:
        raise ValueError(f"`{argument}` must name one column of adata.obs, and several are called {brief(key)}.")
    return obs[key]


def read_labels(adata: Any, key: Any, argument: str) -> Labels:
    """A column of `obs` as categories; unused levels are dropped, missing values get code -1."""
    column = _column(adata, key, argument)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
    else:
        try:
            column = column.astype("category")
        except TypeError:  # lists, for example
            raise TypeError(f"`{argument}`: the column {brief(key)} must hold words, numbers or categories.") from None
    levels = [str(level) for level in column.cat.categories]
    if not levels:
        raise ValueError(f"`{argument}`: the column {brief(key)} has no labels.")
    alike = pd.Index(levels).duplicated()
    if alike.any():
        twice = checks.shown(np.array(levels)[alike])
        raise ValueError(f"`{argument}`: the column {brief(key)} has different labels that read alike: {twice}.")
    return Labels(str(key), levels, column.cat.codes.to_numpy().astype(np.int64))


_MANY_LEVELS, _FEW_CELLS = 10, 5  # so many levels with so few cells each, on average, are no batches or samples


def check_levels(labels: Labels, argument: str) -> None:
    """Refuse batches or samples that are nearly one per cell."""
    n_cells, n = int((labels.codes >= 0).sum()), len(labels.levels)
    if n > _MANY_LEVELS and n_cells < _FEW_CELLS * n:
        raise ValueError(
            f"`{argument}`: the column {brief(labels.key)} has {n:,} levels for {n_cells:,} cells, nearly one for each "
            "cell; name one whose levels have many cells."
        )


_NO_NAMES = ("na", "n/a", "nan", "none", "null", "unassigned", "undefined", "unknown", "unlabeled", "unlabelled")


def warn_unnamed(labels: Labels) -> None:
    """Say that labels which mean "no label" are taken as a population."""
    found = [level for level in labels.levels if not level.strip() or level.strip().lower() in _NO_NAMES]
    if found:
        checks.warn(
            f"{checks.shown(found)} of {labels.key!r} count as populations and serve as reference for the others; set "
            "the labels of cells without a population to missing to leave these out."
        )


def read_values(adata: Any, key: Any, argument: str) -> np.ndarray | Labels:
    """A column of `obs`: numbers as a float64 array (missing: NaN), anything else as `Labels`."""
    column = _column(adata, key, argument)
    if pd.api.types.is_complex_dtype(column.dtype):
        raise TypeError(f"`{argument}`: the column {brief(key)} must hold real numbers, not complex ones.")
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return read_labels(adata, key, argument)


_FEW_LEVELS = 12  # whole numbers of as many levels at most may be names (plates, donors)


def read_categories(
    adata: Any, key: Any, argument: str, values: np.ndarray | Labels, most: int = _FEW_LEVELS
) -> np.ndarray | Labels:
    """What `read_values` read; at most `most` whole numbers are taken for names and become labels, and it is said."""
    if isinstance(values, Labels) or not pd.api.types.is_integer_dtype(_column(adata, key, argument).dtype):
        return values
    n = len(np.unique(values[np.isfinite(values)]))
    if not 2 < n <= most:
        return values
    checks.note(
        f"`{argument}`: the {n} whole numbers in {key!r} are taken as categories; divide them by 10 if they measure "
        "something."
    )
    return read_labels(adata, key, argument)


def read_positions(adata: Any, key: Any, argument: str) -> np.ndarray:
    """An embedding of `obsm` (cells × dimensions, float32)."""
    obsm = check_anndata(adata).obsm
    if not isinstance(key, str) or key not in obsm:
        there = checks.shown(obsm.keys(), 8) or "it has none"
        raise ValueError(f"`{argument}` must name an embedding of adata.obsm ({there}), not {brief(key)}.")
    values = np.asarray(obsm[key])
    if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ValueError(f"`{argument}`: adata.obsm[{key!r}] must hold finite numbers, cells × dimensions.")
    return np.ascontiguousarray(values, dtype=np.float32)
