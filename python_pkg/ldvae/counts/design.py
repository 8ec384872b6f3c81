"""Batches and covariates of cells as a design matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks import brief
from .labels import Labels, read_labels, read_values

__all__ = ["design_columns", "design_matrix"]


def design_columns(adata: Any, batch_key: str | None, covariate_keys: Any) -> list[dict[str, Any]]:
    """What each covariate contributes to the design: its levels, or its mean and standard deviation.

    The result is plain data, so that a `Fit` can rebuild the design for new cells.
    """
    keys = checks.strings("covariate_keys", covariate_keys)
    if batch_key is not None and batch_key in keys:
        raise ValueError(f"`covariate_keys` must not repeat the `batch_key` {brief(batch_key)}.")
    columns: list[dict[str, Any]] = []
    for argument, key in ([("batch_key", batch_key)] if batch_key is not None else []) + [
        ("covariate_keys", k) for k in keys
    ]:
        values = read_labels(adata, key, argument) if argument == "batch_key" else read_values(adata, key, argument)
        missing = int((values.codes < 0).sum() if isinstance(values, Labels) else (~np.isfinite(values)).sum())
        if missing:
            raise ValueError(f"`{argument}`: {missing} cells have no value of {brief(key)}; fill it in or remove them.")
        if isinstance(values, Labels):
            share = np.bincount(values.codes, minlength=len(values.levels)) / len(values.codes)
            columns.append({"key": key, "levels": values.levels, "share": share.tolist()})
        else:
            columns.append({"key": key, "mean": float(values.mean()), "std": float(values.std()) or 1.0})
    return columns


def design_matrix(adata: Any, columns: list[dict[str, Any]]) -> np.ndarray:
    """Cells × design columns, float32, centred so that zero is the average of the training cells."""
    parts = []
    for column in columns:
        key = column["key"]
        if key not in adata.obs:
            raise ValueError(
                f"`adata` must have the column {brief(key)} in adata.obs, which the fit takes into account."
            )
        if "levels" in column:
            labels = read_labels(adata, key, key)
            unknown = sorted(set(labels.levels) - set(column["levels"]))
            if unknown:
                raise ValueError(
                    f"the column {brief(key)} has levels that the fit has not seen ({checks.shown(unknown)}); "
                    f"known are {checks.shown(column['levels'])}."
                )
            if (labels.codes < 0).any():
                raise ValueError(
                    f"{int((labels.codes < 0).sum())} cells have no value of {brief(key)}; fill it in or remove them."
                )
            position = np.array([column["levels"].index(level) for level in labels.levels])
            one_hot = np.zeros((len(labels.codes), len(column["levels"])))
            one_hot[np.arange(len(labels.codes)), position[labels.codes]] = 1
            parts.append(one_hot - np.asarray(column["share"]))
        else:
            values = read_values(adata, key, key)
            if isinstance(values, Labels) or not np.isfinite(values).all():
                raise ValueError(f"the column {brief(key)} must hold finite numbers, as it did in the fit.")
            parts.append(((values - column["mean"]) / column["std"])[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32) if parts else np.zeros((adata.n_obs, 0), np.float32)
