"""Latent positions with what the registered batches add where batches cannot be told from the groups.

A fit with batches explains by the batch what all cells of a batch have in common. Where each group has batches of its
own, that takes the difference of the groups with it, and factors are silent about it. Positions as observed put back as
much of the batches' effects as the loadings can hold, between sets of batches that no group links.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..counts.design import Category
from ..counts.labels import Labels
from ..fit.cells import Cells
from ..fit.expression import batch_levels
from ..fit.posterior import design_offset, linear_map
from ..model.network import LDVAE
from .batches import linked

__all__ = ["batch_sets", "moved", "observed_positions", "registered", "set_weights"]

_RIDGE = 1e-3  # times the information of one cell: only what the loadings cannot tell stays where it is


def batch_sets(known: Category, batch: Labels, group: np.ndarray) -> np.ndarray:
    """Of each registered batch, the number of the set that groups (numbers of cells, -1: none) link it to."""
    number = registered(known, batch)
    taken = (group >= 0) & (number >= 0)
    return linked(group[taken], number[taken], len(known.levels))


def registered(known: Category, batch: Labels) -> np.ndarray:
    """Number of each cell's batch among those of the fit, -1 for one that it has not seen."""
    return np.asarray(pd.Index(known.levels).get_indexer(pd.Index(batch.levels))[batch.codes])


def observed_positions(model: LDVAE, cells: Cells, values: np.ndarray | Labels) -> tuple[np.ndarray, bool]:
    """Latent means of cells with what batches took out of the groups (or numbers), and whether they took anything.

    Numbers that differ within a batch can be told from batches; those that do not are each batch's own.
    """
    known_batches = model.config.batch
    if cells.batch is None or known_batches is None:
        return cells.mean, False
    if isinstance(values, Labels):
        group = values.codes
    else:
        known = np.isfinite(values)
        one = pd.Series(values[known]).groupby(cells.batch.codes[known]).nunique().max() == 1
        group = np.where(known, cells.batch.codes if one else 0, -1)
    sets, of_cell = batch_sets(known_batches, cells.batch, group), registered(known_batches, cells.batch)
    if len(np.unique(sets[of_cell[(group >= 0) & (of_cell >= 0)]])) < 2:
        return cells.mean, False
    shift = moved(model, cells, sets)[np.unique(sets, return_inverse=True)[1]]
    shift = np.where((of_cell >= 0)[:, None], shift[of_cell], 0.0)  # nothing was taken out of a batch never seen
    return (cells.mean + shift).astype(np.float32), True


def set_weights(model: LDVAE, sets: np.ndarray) -> np.ndarray:
    """Weights (sets × batches) that make the average batch of each set."""
    weights = (sets == np.unique(sets)[:, None]) * batch_levels(model)[1]
    return np.asarray(weights / np.maximum(weights.sum(1, keepdims=True), 1e-300))


def moved(model: LDVAE, cells: Cells, sets: np.ndarray) -> np.ndarray:
    """Change of latent position (sets × K) that the average batch of a set adds, as far as loadings can hold it."""
    weights = set_weights(model, sets)
    if len(weights) == 1 or model.config.latent_distribution != "normal":
        return np.zeros((len(weights), cells.mean.shape[1]))
    designs, _ = batch_levels(model)
    added = design_offset(model, cells.mean.mean(0), designs.numpy())
    added = weights @ added - batch_levels(model)[1] @ added
    loadings = np.column_stack([linear_map(model, cells.mean, cells.variance), np.ones(added.shape[1])])
    seen = np.asarray(cells.counts.matrix.mean(axis=0), dtype=np.float64).ravel()
    theta = model.log_theta.detach().exp().double().numpy()
    weight = seen if model.config.gene_likelihood == "poisson" else seen / (1 + seen / theta)
    information = loadings.T @ (weight[:, None] * loadings)
    ridge = _RIDGE * np.trace(information) / len(information) * np.eye(len(information))
    return np.asarray(np.linalg.solve(information + ridge, loadings.T @ (weight[:, None] * added.T)).T[:, :-1])
