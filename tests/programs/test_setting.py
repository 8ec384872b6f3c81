"""Which populations have a local model."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import population_programs


def test_small_populations_are_left_out(planted, planted_fit):
    adata = planted.copy()
    labels = adata.obs["population"].astype(str).to_numpy()
    labels[np.flatnonzero(labels == "P3")[:20]] = "few"
    adata.obs["population"] = labels
    with pytest.warns(UserWarning, match="fewer than 30 cells are left out: 'few'"):
        programs = population_programs(planted_fit, adata, groupby="population", n_programs=1)
    assert "few" not in set(programs["population"])
    adata.obs["cell"] = [f"c{i // 20}" for i in range(len(adata))]
    with pytest.raises(ValueError, match="must have populations of at least 30 cells"):
        population_programs(planted_fit, adata, groupby="cell")
