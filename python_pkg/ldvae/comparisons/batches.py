"""All that knows of batches and groups together: what batches add to a difference, and when nobody can tell."""

from __future__ import annotations

import numpy as np

from ..checks import shown, warn
from ..counts.labels import Labels
from .moments import HALF_COUNT, Moments, pool
from .plan import Plan

__all__ = ["BatchEffects", "split_units", "warn_alone", "warn_confounded"]


class BatchEffects:
    """What the model's batch effects miss in each gene, and how well it is known.

    The residual log ratios log(sum x / sum mu) of every unit (group in one batch) are fitted by weighted least squares
    with an effect per group and one per batch, the latter with prior N(0, 1). Groups with other shares of the batches
    are then compared as if they had the same.

    Parameters
    ----------
    found
        Moments of units that lie in one batch and one group each.
    group, batch
        Group and batch of each unit, numbers.
    """

    def __init__(self, found: Moments, group: np.ndarray, batch: np.ndarray) -> None:
        n_genes = found.sums["count"].shape[1]
        self.group, self.batch, self.n_levels = group, batch, int(batch.max()) + 1
        units = [pool(found, np.array([u])) for u in range(len(found.n))]
        self.precision = np.stack([(unit.count > 0) / np.maximum(unit.variance, 1e-12) for unit in units])
        residual = np.log((found.sums["count"] + HALF_COUNT) / (found.sums["mu"] + HALF_COUNT))
        information = np.tile(np.eye(self.n_levels), (n_genes, 1, 1))
        score = np.zeros((n_genes, self.n_levels))
        for g in np.unique(group):
            own = np.flatnonzero(group == g)
            w, level = self.precision[own], batch[own]
            total = np.maximum(w.sum(0), 1e-12)
            score[:, level] += (w * (residual[own] - (w * residual[own]).sum(0) / total)).T
            information[:, level, level] += w.T
            information[:, level[:, None], level] -= np.einsum("bg,cg->gbc", w, w / total)
        self.covariance = np.linalg.inv(information)
        self.effect = np.einsum("gbc,gc->bg", self.covariance, score)

    def between(self, units1: np.ndarray, units2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What to take off the log ratio of two groups of units, and the variance of that (genes, natural log)."""
        difference = np.zeros_like(self.effect)
        for units, sign in ((units1, 1.0), (units2, -1.0)):
            w = self.precision[units] + 1e-12
            np.add.at(difference, self.batch[units], sign * w / w.sum(0))
        return (difference * self.effect).sum(0), np.einsum("bg,gbc,cg->g", difference, self.covariance, difference)


def warn_confounded(plan: Plan, batch: Labels | None) -> None:
    """Warn where two groups have no batch in common, so that no model can tell group from batch."""
    seen = _batches_of(plan.codes, len(plan.sample), batch)
    found = [c.title for c in plan.comparisons if not (seen[c.units1].any(0) & seen[c.units2].any(0)).any()]
    if batch is not None and found:
        which = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        warn(f"The groups share no level of {batch.key!r}, so their difference may be that of the batches: {which}.")


def warn_alone(labels: Labels, names: list[str], reference: list[str] | None, batch: Labels | None) -> None:
    """The same for populations (`names`) and those that each is compared with (all, or `reference`)."""
    seen = _batches_of(labels.codes, len(labels.levels), batch)
    number = {name: labels.levels.index(name) for name in names}
    others = [labels.levels.index(name) for name in reference or names]
    alone = [name for name, i in number.items() if not (seen[i] & seen[[j for j in others if j != i]].any(0)).any()]
    if batch is not None and alone:
        said = f"Populations share no level of {batch.key!r} with those they are compared with, so their difference may"
        warn(f"{said} be that of the batches: {shown(alone)}.")


def _batches_of(codes: np.ndarray, n_units: int, batch: Labels | None) -> np.ndarray:
    """Whether each unit has cells of each batch (units × batches)."""
    taken = codes >= 0
    seen = np.zeros((n_units, 0 if batch is None else len(batch.levels)), dtype=bool)
    if batch is not None:
        seen[codes[taken], batch.codes[taken]] = True
    return seen


def split_units(codes: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units by batch: the new unit of each cell (-1: none), and the old unit and batch of each new one."""
    n_levels = int(batch.max()) + 1
    used, inverse = np.unique(codes[codes >= 0] * n_levels + batch[codes >= 0], return_inverse=True)
    new = np.full(len(codes), -1)
    new[codes >= 0] = inverse
    return new, used // n_levels, used % n_levels
