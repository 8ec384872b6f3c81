"""Where "no change" lies: the centre of many effects, most of which are none."""

from __future__ import annotations

import numpy as np

__all__ = ["centre", "weighted_median"]

_FLOOR = 0.02  # standard error below which no effect counts more: a few deeply counted genes do not set the centre


def centre(effects: np.ndarray, std: np.ndarray) -> float:
    """The precision-weighted median of effects (genes) with these standard errors: what most genes do."""
    return float(weighted_median(effects, 1 / (std**2 + _FLOOR**2)))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The value with half of the weight on either side, along the last axis.

    With weights 1/std² it is the centre of most effects and ignores the few large ones; in compositional data (shares
    of a library) it is where "no change" lies.

    Parameters
    ----------
    values
        Values, shape (..., n); those that are not finite are left out.
    weights
        Weights, broadcast to the shape of `values`; zero, negative or non-finite ones leave their value out.

    Returns
    -------
    np.ndarray
        Medians, shape (...); the mean of the two middle values where the weight splits evenly (so that the median of
        -x is minus the median of x), NaN where nothing is left.
    """
    values, weights = (np.asarray(a, dtype=np.float64) for a in np.broadcast_arrays(values, weights))
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    used = np.isfinite(values) & np.isfinite(weights) & (weights > 0)
    order = np.argsort(np.where(used, values, np.inf), axis=-1, kind="stable")
    values = np.take_along_axis(np.where(used, values, np.inf), order, axis=-1)
    total = np.cumsum(np.take_along_axis(np.where(used, weights, 0.0), order, axis=-1), axis=-1)
    half = 0.5 * total[..., -1:]
    slack = 1e-12 * total[..., -1:]  # an even split must be seen as one in spite of rounding
    lower = np.argmax(total >= half - slack, axis=-1)[..., None]
    upper = np.argmax(total > half + slack, axis=-1)[..., None]
    middle = 0.5 * (np.take_along_axis(values, lower, axis=-1) + np.take_along_axis(values, upper, axis=-1))
    return np.where(half > 0, middle, np.nan)[..., 0]
