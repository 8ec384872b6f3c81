"""One population: its cells, its genes, its local model."""

from __future__ import annotations

import numpy as np

from ldvae.programs.local import Local
from ldvae.programs.population import Population


def test_slopes_and_variances_lie_at_the_genes_of_the_population():
    x = np.random.default_rng(0).poisson(3.0, (50, 2)).astype(np.float32)
    p = Population("P", np.arange(50), np.array([3, 1]), Local.build(x, np.zeros_like(x), np.full(2, 5.0), None))
    slope, variance = p.slopes(np.array([7.0, -1.0]), np.array([2.0, 0.5]), 5)
    np.testing.assert_array_equal(slope, [np.nan, -1.0, np.nan, 7.0, np.nan])
    np.testing.assert_array_equal(variance, [np.nan, 0.25, np.nan, 4.0, np.nan])
