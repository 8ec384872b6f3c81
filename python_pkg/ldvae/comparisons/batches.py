"""All that knows of batches and groups together: what batches add to each gene, and when nobody can tell.

A batch effect is what differs between the batches *within* groups. Where no chain of groups links the batches of two
groups, batch and group cannot be told apart: nothing is taken out between them, and a sentence says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..checks import shown, warn
from ..counts.labels import Labels
from ..machine.memory import IN_CACHE, need_memory
from ..stats.centre import centre

__all__ = ["BatchEffects", "apart", "linked", "split_units", "warn_apart", "warn_populations_apart"]

_SPREADS = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6])  # standard deviations of batch effects: a mixture prior
_ROUNDS = 3  # of effects, and of what moves all genes of a unit alike
_EM_STEPS = 50
_MIN_GENES = 100  # of fewer, most may have changed: then nothing is taken to move all of them alike
_APART = 0.05  # share of a group's cells in batches that no group links to the other's, from which it is said


class BatchEffects:
    """What batches add to the log expression of each gene, estimated within groups.

    Log means of units (group in one batch), as observed, are fitted by weighted least squares: an effect per group, one
    per batch, and a shift per unit that moves all genes alike (expression is a share of the library). Effects of
    batches are draws from a mixture of normals whose weights the genes share: most genes differ little between
    batches, some do a lot. They are centred in each set of batches that groups link, so nothing else is taken out.

    Parameters
    ----------
    y, precision
        Log means (units × genes) and the inverse of their sampling variances; 0 where nothing was counted.
    group, batch
        Numbers of group and batch of each unit.
    share
        Share of the cells that each batch has on average.
    """

    def __init__(
        self, y: np.ndarray, precision: np.ndarray, group: np.ndarray, batch: np.ndarray, share: np.ndarray
    ) -> None:
        n_levels, n_genes = len(share), y.shape[1]
        need_memory(f"effects of {n_levels:,} batches", 16.0 * n_genes * n_levels**2, "ask about fewer cells")
        self._centring = _centring(linked(group, batch, n_levels), share)
        information = _information(precision, group, batch, n_levels)
        shift = np.zeros(len(y))
        for _ in range(_ROUNDS):
            score = np.zeros((n_genes, n_levels))
            for own in _units(group):
                w, r = precision[own], y[own] - shift[own, None]
                mean = (w * r).sum(0) / np.maximum(w.sum(0), 1e-12)
                np.add.at(score.T, batch[own], w * (r - mean))
            effect, covariance = _posterior(information, score)
            shift = _shifts(y - effect.T[batch], precision, group)
        self.effect = (effect @ self._centring.T).T  # batches × genes
        self.covariance = np.einsum("ab,gbc,dc->gad", self._centring, covariance, self._centring)
        self.shift = shift

    def variance(self, difference: np.ndarray) -> np.ndarray:
        """Variance of `difference` (batches × genes, what a comparison has more of each batch) times the effects."""
        return np.maximum(np.einsum("bg,gbc,cg->g", difference, self.covariance, difference), 0.0)


def _units(group: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(group == g) for g in np.unique(group)]


def _information(precision: np.ndarray, group: np.ndarray, batch: np.ndarray, n_levels: int) -> np.ndarray:
    """Information on the batch effects of each gene (genes × batches × batches), the groups' effects taken out."""
    out = np.zeros((precision.shape[1], n_levels, n_levels))
    for own in _units(group):
        w, level = np.zeros((n_levels, precision.shape[1])), batch[own]
        np.add.at(w, level, precision[own])
        out[:, np.arange(n_levels), np.arange(n_levels)] += w.T
        out -= np.einsum("bg,cg->gbc", w, w / np.maximum(w.sum(0), 1e-12))
    return out


def _posterior(information: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (genes × batches) and covariance of batch effects under the mixture prior."""
    n_genes, n = score.shape
    step = max(1, IN_CACHE // n**2)
    blocks = [slice(start, start + step) for start in range(0, n_genes, step)]
    fit = np.zeros((len(_SPREADS), n_genes))
    for k, spread in enumerate(_SPREADS):
        for rows in blocks:
            precision = information[rows] + np.eye(n) / spread**2
            solved = np.linalg.solve(precision, score[rows][..., None])[..., 0]
            fit[k, rows] = 0.5 * (score[rows] * solved).sum(1)
            fit[k, rows] -= 0.5 * (np.linalg.slogdet(precision)[1] + 2 * n * np.log(spread))
    likelihood = np.exp(fit - fit.max(0))
    weight = np.full(len(_SPREADS), 1 / len(_SPREADS))
    for _ in range(_EM_STEPS):
        joint = weight[:, None] * likelihood
        weight = (joint / joint.sum(0)).mean(1)
    joint = weight[:, None] * likelihood
    responsibility = joint / joint.sum(0)
    mean, square = np.zeros((n_genes, n)), np.zeros((n_genes, n, n))
    for r, spread in zip(responsibility, _SPREADS, strict=True):
        for rows in blocks:
            covariance = np.linalg.inv(information[rows] + np.eye(n) / spread**2)
            each = (covariance @ score[rows][..., None])[..., 0]
            mean[rows] += r[rows, None] * each
            square[rows] += r[rows, None, None] * (covariance + each[:, :, None] * each[:, None])
    return mean, square - mean[:, :, None] * mean[:, None]


def _shifts(y: np.ndarray, precision: np.ndarray, group: np.ndarray) -> np.ndarray:
    """What moves all genes of a unit alike against the other units of its group."""
    out = np.zeros(len(y))
    if y.shape[1] < _MIN_GENES:
        return out
    for own in _units(group):
        w = precision[own]
        mean = (w * y[own]).sum(0) / np.maximum(w.sum(0), 1e-12)
        for u, residual, known in zip(own, y[own] - mean, w, strict=True):
            if len(own) > 1:
                out[u] = centre(np.where(known > 0, residual, np.nan), 1 / np.sqrt(np.maximum(known, 1e-12)))
    return out


def linked(group: np.ndarray, batch: np.ndarray, n_levels: int) -> np.ndarray:
    """For each batch the number of the set of batches that groups link it to: batches of one group are linked."""
    n_groups = int(group.max(initial=-1)) + 1
    edges = coo_matrix((np.ones(len(group)), (group, n_groups + batch)), shape=(n_groups + n_levels,) * 2)
    return np.asarray(connected_components(edges, directed=False)[1][n_groups:])


def _centring(sets: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The matrix that takes the mean of their set (by share) off the effects of batches."""
    same = (sets[:, None] == sets) * np.maximum(share, 1e-12)
    return np.asarray(np.eye(len(sets)) - same / same.sum(1, keepdims=True))


def apart(n1: np.ndarray, n2: np.ndarray, sets: np.ndarray) -> bool:
    """Whether two groups (cells in each batch) have cells in batches that no group links."""
    share = [np.bincount(sets, n, sets.max() + 1) / max(n.sum(), 1) for n in (n1, n2)]
    return bool(np.abs(share[0] - share[1]).max() > _APART)


def warn_apart(titles: Sequence[str], batch: Labels) -> None:
    """Say which comparisons are made as observed."""
    if titles:
        which = ", ".join(titles[:3]) + (f" and {len(titles) - 3} more" if len(titles) > 3 else "")
        warn(
            f"Batches ({batch.key!r}: {shown(batch.levels)}) cannot be told from the groups, so nothing is taken out "
            f"between them, and the difference is as observed: {which}. `sample_key` makes samples the replicates; "
            "`batch_correction=False`, or a fit without `batch_key`, compares as observed throughout."
        )


def warn_populations_apart(
    labels: Labels, names: Sequence[str], reference: list[str] | None, batch: Labels | None
) -> None:
    """The same for populations (`names`) and those that each is compared with (all, or `reference`)."""
    if batch is None:
        return
    taken = labels.codes >= 0
    n = np.zeros((len(labels.levels), len(batch.levels)))
    np.add.at(n, (labels.codes[taken], batch.codes[taken]), 1)
    group, level = np.nonzero(n)
    sets = linked(group, level, len(batch.levels))
    number = {name: labels.levels.index(name) for name in names}
    others = {name: [labels.levels.index(o) for o in reference or names if o != name] for name in names}
    warn_apart(
        [f"{name} against the others" for name, i in number.items() if apart(n[i], n[others[name]].sum(0), sets)], batch
    )


def split_units(codes: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units by part (a batch): the new unit of each cell (-1: none), and the old unit and part of each new one."""
    n_parts = int(part.max(initial=0)) + 1
    used, inverse = np.unique(codes[codes >= 0] * n_parts + part[codes >= 0], return_inverse=True)
    new = np.full(len(codes), -1)
    new[codes >= 0] = inverse
    return new, used // n_parts, used % n_parts
