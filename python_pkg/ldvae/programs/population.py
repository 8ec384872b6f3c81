"""One population: its cells, the genes seen in it, and its local model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..fit.cells import Cells
from ..fit.posterior import design_offset
from ..model.network import LDVAE
from .local import Local

__all__ = ["Population", "offset_of"]


def offset_of(model: LDVAE, cells: Cells, rows: np.ndarray, position: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Log library size and what covariates add at the mean latent position of a population (rows × genes)."""
    beyond = design_offset(model, position, cells.design[rows])[:, genes]
    return np.asarray(np.log(cells.counts.lib_size[rows])[:, None] + beyond)


@dataclass(frozen=True)
class Population:
    """One population: its rows in the data, the genes seen often enough in it, and its local model on those genes.

    `samples` are those of its rows, or None.
    """

    name: str
    rows: np.ndarray
    genes: np.ndarray
    local: Local
    samples: np.ndarray | None = None

    def spread(self, values: np.ndarray, n_genes: int, missing: float) -> np.ndarray:
        """Values of its own genes among those of all."""
        out = np.full(n_genes, missing)
        out[self.genes] = values
        return out

    def slopes(self, slope: np.ndarray, std: np.ndarray, n_genes: int) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of its own genes and their variances among those of all; NaN elsewhere."""
        return self.spread(slope, n_genes, np.nan), self.spread(std**2, n_genes, np.nan)
