"""One population: its cells, its genes, its local model."""

from __future__ import annotations

import numpy as np

from ldvae.programs.local import Local
from ldvae.programs.population import Population


def test_sample_of_a_population_is_seeded():
    x = np.random.default_rng(0).poisson(3.0, (50, 12)).astype(np.float32)
    p = Population("P", np.arange(50), np.arange(12), Local.build(x, np.zeros_like(x), np.full(12, 5.0), None))
    assert p.sample(60, 0) is p.local
    assert len(p.sample(20, 0).x) == 20
    assert np.array_equal(p.sample(20, 0).x, p.sample(20, 0).x)
    assert not np.array_equal(p.sample(20, 0).x, p.sample(20, 1).x)
