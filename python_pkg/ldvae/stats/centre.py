"""Where "no change" lies: the centre of many effects, most of which are none."""

from __future__ import annotations

import numpy as np

__all__ = ["centre", "weighted_median"]

_FLOOR = 0.02  # standard error below which no effect counts more: a few deeply counted genes do not set the centre
_REACH = 3.0  # standard errors beyond which an effect is a change and has no say
_STARTS = 19  # quantiles from which the mode is looked for
_STEPS = 12


def centre(effects: np.ndarray, std: np.ndarray) -> float:
    """Where "no change" lies: the value that most effects (genes) share within their standard errors.

    The redescending (biweight) centre with the most support. A median is drawn along by a program that moves two fifths
    of the genes one way; a mode is not, as long as the unchanged are the largest group (validity, programs).

    References
    ----------
    Beaton & Tukey (1974), The fitting of power series. Technometrics 16(2), for the biweight.
    """
    known = np.isfinite(effects) & np.isfinite(std) & (std > 0)
    b, width = effects[known], _REACH * np.hypot(std[known], _FLOOR)
    if not b.size:
        return 0.0

    def support(at: np.ndarray) -> np.ndarray:
        return np.asarray((np.maximum(1 - ((b - at[:, None]) / width) ** 2, 0) ** 3).sum(1))

    starts = np.quantile(b, np.linspace(0, 1, _STARTS + 2)[1:-1])
    found = float(starts[support(starts).argmax()])
    for _ in range(_STEPS):
        weight = np.maximum(1 - ((b - found) / width) ** 2, 0) ** 2 / width**2
        total = weight.sum()
        if total <= 0:
            break
        found = float((weight * b).sum() / total)
    return found


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
