"""Populations with their local models."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ..checks import note, shown
from ..counts.labels import Labels
from ..fit.cells import Cells
from ..fit.posterior import inverse_dispersion, latent_moments, rebuild
from ..fit.record import Fit
from .local import Local
from .population import Population, offset_of

__all__ = ["MIN_CELLS", "MOST_CELLS", "Setting", "prepare"]

MIN_CELLS = 30  # of a population: below, halves of it teach nothing
_GENE_CELLS = 10  # cells in which a gene must be seen to be tested in a population
MOST_CELLS = 3000  # of a population that its local model looks at; a seeded sample of more


@dataclass(frozen=True)
class Setting:
    """Populations with their local models; `small` are those with too few cells or counts for one: how many cells."""

    populations: list[Population]
    n_genes: int
    seed: int
    small: dict[str, int]


def prepare(fit: Fit, cells: Cells, labels: Labels, samples: Labels | None, seed: int) -> Setting:
    """Local models of all populations with enough cells.

    Parameters
    ----------
    labels
        Population of each cell; cells without a label take no part.
    samples
        Sample (donor) of each cell. Every gene has an intercept per sample and registered batch in every local model:
        what a batch adds there may differ from what it adds elsewhere.
    """
    model = rebuild(fit)
    z, _ = latent_moments(model, cells.mean, cells.variance)
    members = [labels.where(i) for i in range(len(labels.levels))]
    if samples is not None:
        members = [rows[samples.codes[rows] >= 0] for rows in members]
    small = {name: len(rows) for name, rows in zip(labels.levels, members, strict=True) if len(rows) < MIN_CELLS}
    if len(small) == len(members):
        raise ValueError(f"`groupby` must have populations of at least {MIN_CELLS} cells, and {labels.key!r} has none.")
    if small:
        note(f"Populations with fewer than {MIN_CELLS} cells are left out: {shown(list(small))}.")
    theta = inverse_dispersion(model).numpy()
    keys = [labels for labels in (samples, cells.batch) if labels is not None]
    populations: list[Population] = []
    silent: dict[str, int] = {}
    named = zip(labels.levels, members, strict=True)
    for name, rows in tqdm(named, "local models", len(members), leave=False, disable=None if sys.stderr else True):
        if name in small:
            continue
        n_cells, rows = len(rows), np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_CELLS])
        matrix = cells.counts.matrix[rows]
        seen = np.bincount(matrix.indices[matrix.data > 0], minlength=matrix.shape[1])
        genes = np.random.default_rng(seed).permutation(np.flatnonzero(seen >= _GENE_CELLS))
        if not len(genes):
            silent[name] = n_cells
            continue
        offset = offset_of(model, cells, rows, z[rows].mean(0), genes)
        blocks = None if not keys else np.unique([key.codes[rows] for key in keys], axis=1, return_inverse=True)[1]
        local = Local.build(matrix[:, genes].toarray(), offset, theta[genes], blocks)
        populations.append(Population(name, rows, genes, local, None if samples is None else samples.codes[rows]))
    if silent:
        note(f"Populations in which no gene of the fit is in {_GENE_CELLS} cells are left out: {shown(silent)}.")
    if not populations:
        raise ValueError(f"`fit` has no gene that is in {_GENE_CELLS} cells of a population: there is nothing to test.")
    return Setting(populations, cells.counts.matrix.shape[1], seed, small | silent)
