"""Mean expression of groups at the average batch, whatever share of each batch they have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.cluster.vq import kmeans2

from ..counts.design import Category
from ..counts.labels import Labels
from ..counts.reader import Counts
from ..fit.cells import Cells
from ..fit.posterior import rebuild
from ..fit.record import Fit
from .batches import BatchEffects, apart, linked, split_units
from .moments import Group, Moments, moments, pool, with_genes

__all__ = ["Means"]

_ALIKE, _CELLS_ALIKE = 10, 100  # most sets of alike cells in a group of unknown mixture, and cells in each on average


class Means:
    """Means of sets of units from one pass over the cells, what batches add taken out where it can be told.

    Parameters
    ----------
    fit, cells
        The fit, counts and posterior.
    codes, n_units
        Unit of each cell (-1: none) and their number.
    correct
        Take out what batches add.
    seed
        Of the subset of cells that is decoded.
    parts
        Sets of units in which batch effects are estimated; all units where None.
    beyond
        Genes that the fit does not model; they come after its own.
    mixed
        Units may be of many populations: batches are then compared in sets of cells with like latent positions.
    """

    def __init__(
        self,
        fit: Fit,
        cells: Cells,
        codes: np.ndarray,
        n_units: int,
        *,
        correct: bool,
        seed: int,
        parts: Sequence[np.ndarray] | None = None,
        mixed: bool = False,
        beyond: Counts | None = None,
    ) -> None:
        self.correct = correct and cells.batch is not None
        self.closed = fit.config.closed
        batch = cells.batch.codes if cells.batch is not None else np.zeros(len(codes), dtype=np.int64)
        n_batches = len(cells.batch.levels) if cells.batch is not None else 1
        group_codes, group_parent = codes, np.arange(n_units)
        if mixed and self.correct:
            group_codes, group_parent, _ = split_units(codes, _alike(cells.mean, codes, seed))
        split, group, self.batch = split_units(group_codes, batch)
        self.parent = group_parent[group]
        self.found: Moments = moments(rebuild(fit), cells, split, len(group), correct, seed)
        if beyond is not None:
            self.found = with_genes(self.found, beyond, split)
        self.n_modelled = len(fit.genes)
        self._known: dict[tuple[str, bytes], Any] = {}  # groups that serve in several comparisons
        self.n = np.bincount(self.parent, self.found.n, n_units)
        self.n_of_batch = np.zeros((n_units, n_batches))
        np.add.at(self.n_of_batch, (self.parent, self.batch), self.found.n)
        self.part_of = np.full(n_units, -1)
        self.sets, self.effects = [], []
        for i, units in enumerate([np.arange(n_units)] if parts is None else parts):
            self.part_of[units] = i
            own = np.isin(self.parent, units)
            self.sets.append(linked(group[own], self.batch[own], n_batches))
            if cells.batch is not None and fit.config.batch is not None and correct:
                share = _shares(fit.config.batch, cells.batch)
                self.effects.append(self._effects(np.flatnonzero(own), group, share))

    def _effects(self, own: np.ndarray, group: np.ndarray, share: np.ndarray) -> BatchEffects:
        each = [pool(self.found, np.array([u])) for u in own]
        precision = np.stack([(g.count > 0) / np.maximum(g.variance, 1e-12) for g in each])
        return BatchEffects(np.stack([g.log_mean for g in each]), precision, group[own], self.batch[own], share)

    def pooled(self, units: np.ndarray) -> Group:
        """The cells of some units together, as counted."""
        found: Group = self._once("pooled", units, lambda own: pool(self.found, own))
        return found

    def _once(self, what: str, units: np.ndarray, make: Callable[[np.ndarray], Any]) -> Any:
        key = (what, np.asarray(units).tobytes())
        if key not in self._known:
            self._known[key] = make(np.flatnonzero(np.isin(self.parent, units)))
        return self._known[key]

    def at_average_batch(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log mean of some units (of one part) as if in the average batch, and each batch's share of it."""
        found: tuple[np.ndarray, np.ndarray] = self._once(
            "average", units, lambda own: self._averaged(own, self.part_of[units[0]])
        )
        return found

    def _averaged(self, own: np.ndarray, part: int) -> tuple[np.ndarray, np.ndarray]:
        mean = np.stack([pool(self.found, np.array([u])).log_mean for u in own])
        effects = self.effects[part] if self.correct else None
        if effects is not None:
            mean = mean - effects.effect[self.batch[own]]
        weight = self.found.n[own, None] * np.exp(mean)
        total = weight.sum(0)
        share = np.zeros((self.n_of_batch.shape[1], mean.shape[1]))
        np.add.at(share, self.batch[own], weight / total)
        log_mean = np.log(total / self.found.n[own].sum())
        return (log_mean - np.log(np.exp(log_mean[: self.n_modelled]).sum()) if self.closed else log_mean), share

    def group(self, units: np.ndarray) -> Group:
        """The cells of some units together, at the average batch."""
        found = self.pooled(units)
        return replace(found, log_mean=self.at_average_batch(units)[0]) if self.correct else found

    def extra(self, sides: Sequence[tuple[np.ndarray, float]]) -> np.ndarray | float:
        """Variance that a weighted sum of group means (units, weight) has because batch effects are estimates."""
        if not self.correct:
            return 0.0
        difference = sum(weight * self.at_average_batch(units)[1] for units, weight in sides)
        return self.effects[self.part_of[sides[0][0][0]]].variance(np.asarray(difference))

    def apart(self, units1: np.ndarray, units2: np.ndarray) -> bool:
        """Whether batches that nothing links tell two groups apart."""
        n1, n2 = (self.n_of_batch[units].sum(0) for units in (units1, units2))
        return apart(n1, n2, self.sets[self.part_of[units1[0]]])


def _shares(known: Category, batch: Labels) -> np.ndarray:
    """The share of each batch in an average: of the training cells or, where the fit has not seen all, of these."""
    share = dict(zip(known.levels, known.share, strict=True))
    if all(level in share for level in batch.levels):
        return np.array([share[level] for level in batch.levels])
    return np.bincount(batch.codes, minlength=len(batch.levels)) / len(batch.codes)


def _alike(positions: np.ndarray, codes: np.ndarray, seed: int) -> np.ndarray:
    """Sets of cells with like latent positions: the set of each cell."""
    taken = codes >= 0
    k = int(np.clip(taken.sum() // _CELLS_ALIKE, 1, _ALIKE))
    out = np.zeros(len(codes), dtype=np.int64)
    if k > 1:
        out[taken] = kmeans2(positions[taken].astype(np.float64), k, minit="++", seed=seed)[1]
    return out
