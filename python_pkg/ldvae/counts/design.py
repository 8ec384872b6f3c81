"""Batches and covariates of cells, and the design matrix that they make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..checks import brief
from .labels import Labels, check_levels, read_categories, read_labels, read_values

__all__ = ["Category", "Covariate", "Number", "covariate_of", "design_matrix", "read_covariates"]


@dataclass(frozen=True)
class Category:
    """A batch or another categorical covariate: its levels, and the share of the training cells that each has."""

    key: str
    levels: list[str]
    share: list[float]

    @property
    def width(self) -> int:
        """Columns in the design matrix."""
        return len(self.levels)

    def columns(self, adata: Any) -> np.ndarray:
        """Cells × levels, centred over the training cells; what the fit has not seen is average, with a message."""
        labels = read_labels(adata, self.key, self.key)
        missing = int((labels.codes < 0).sum())
        if missing:
            raise ValueError(f"{missing} cells have no value of {brief(self.key)}; fill it in or remove them.")
        unknown = sorted(set(labels.levels) - set(self.levels))
        if unknown:
            checks.warn(
                f"{self.key!r} has levels that the fit has not seen ({checks.shown(unknown)}): these cells are placed "
                "as if in an average one."
            )
        number = pd.Index(self.levels).get_indexer(pd.Index(labels.levels))[labels.codes]
        hot = number[:, None] == np.arange(self.width)
        return np.where((number >= 0)[:, None], hot - np.asarray(self.share), 0.0)


@dataclass(frozen=True)
class Number:
    """A numeric covariate, with its mean and standard deviation over the training cells."""

    key: str
    mean: float
    std: float

    @property
    def width(self) -> int:
        """Columns in the design matrix."""
        return 1

    def columns(self, adata: Any) -> np.ndarray:
        """Cells × 1, in standard deviations from the mean."""
        values = read_values(adata, self.key, self.key)
        if isinstance(values, Labels) or not np.isfinite(values).all():
            raise ValueError(f"the column {brief(self.key)} must hold finite numbers, as it did in the fit.")
        return ((values - self.mean) / self.std)[:, None]


Covariate = Category | Number


def read_covariates(adata: Any, batch_key: str | None, covariate_keys: Any) -> list[Covariate]:
    """The covariates of a fit, the batch first: plain data, from which new cells get the same design."""
    keys = checks.strings("covariate_keys", covariate_keys)
    if batch_key is not None and batch_key in keys:
        raise ValueError(f"`covariate_keys` must not repeat the `batch_key` {brief(batch_key)}.")
    named = [("batch_key", batch_key)] * (batch_key is not None) + [("covariate_keys", key) for key in keys]
    return [_read(adata, argument, key) for argument, key in named]


def _read(adata: Any, argument: str, key: Any) -> Covariate:
    values = read_values(adata, key, argument)
    if argument == "batch_key" and isinstance(values, np.ndarray):
        known = values[np.isfinite(values)]
        if not np.array_equal(known, np.rint(known)):
            raise ValueError(f"`batch_key`: {key!r} holds numbers with fractions; name it in `covariate_keys`.")
        values = read_labels(adata, key, argument)
    elif isinstance(values, np.ndarray):
        values = read_categories(adata, key, argument, values)
    if isinstance(values, Labels):
        check_levels(values, argument)
    missing = int((values.codes < 0).sum() if isinstance(values, Labels) else (~np.isfinite(values)).sum())
    if missing:
        raise ValueError(f"`{argument}`: {missing} cells have no value of {brief(key)}; fill it in or remove them.")
    if isinstance(values, Labels):
        share = np.bincount(values.codes, minlength=len(values.levels)) / len(values.codes)
        return Category(key, values.levels, share.tolist())
    return Number(key, float(values.mean()), float(values.std()) or 1.0)


def design_matrix(adata: Any, covariates: list[Covariate]) -> np.ndarray:
    """Cells × design columns, float32, centred so that zero is the average of the training cells."""
    parts = []
    for covariate in covariates:
        if covariate.key not in adata.obs:
            raise ValueError(
                f"`adata` must have the column {brief(covariate.key)} in adata.obs, which the fit takes into account."
            )
        parts.append(covariate.columns(adata))
    return np.concatenate(parts, axis=1).astype(np.float32) if parts else np.zeros((adata.n_obs, 0), np.float32)


def covariate_of(plain: Any) -> Covariate:
    """A covariate from what `dataclasses.asdict` made of it, which a file may have changed.

    Raises
    ------
    ValueError
        If it is none.
    """
    kind = Number if isinstance(plain, dict) and "mean" in plain else Category
    try:
        covariate: Covariate = kind(**plain)
    except TypeError:
        raise ValueError("a covariate has other parts than it must have") from None
    if not isinstance(covariate.key, str) or not (_is_number if kind is Number else _is_category)(covariate):
        raise ValueError(f"the covariate {brief(covariate.key)} is none")
    return covariate


def _is_number(c: Any) -> bool:
    return _finite([c.mean, c.std]) and c.std > 0


def _is_category(c: Any) -> bool:
    lists = isinstance(c.levels, list) and isinstance(c.share, list) and len(c.levels) == len(c.share) > 0
    return lists and all(isinstance(level, str) for level in c.levels) and _finite(c.share)


def _finite(values: list[Any]) -> bool:
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)
