"""Groups of cells of which it is known what differs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from planted import fitted, simulate_groups


@pytest.fixture(scope="session")
def three():
    """Three groups of unequal size in two batches of which they have unequal shares."""
    rng = np.random.default_rng(1)
    groups = rng.choice(3, 1200, p=[0.5, 0.15, 0.35])
    batch = (rng.random(1200) < np.where(groups == 0, 0.85, 0.15)).astype(int)
    adata, truth = simulate_groups(1, groups, batch=batch)
    adata.obs["half"] = pd.Categorical(rng.choice(["a", "b"], 1200))
    return fitted(adata, batch_key="batch"), adata, truth


@pytest.fixture(scope="session")
def one():
    """One population."""
    adata, _ = simulate_groups(2, np.zeros(800, dtype=int))
    return fitted(adata), adata
