"""One population: its cells, the genes seen in it, and its local model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .local import Local

__all__ = ["Population"]


@dataclass(frozen=True)
class Population:
    """One population: its rows in the data, the genes seen often enough in it, and its local model on those genes."""

    name: str
    rows: np.ndarray
    genes: np.ndarray
    local: Local

    def sample(self, n: int, seed: int) -> Local:
        """The local model of at most `n` of its cells."""
        if len(self.rows) <= n:
            return self.local
        return self.local.cells(np.sort(np.random.default_rng(seed).permutation(len(self.rows))[:n]))

    def spread(self, values: np.ndarray, n_genes: int, missing: float) -> np.ndarray:
        """Values of its own genes among those of all."""
        out = np.full(n_genes, missing)
        out[self.genes] = values
        return out
