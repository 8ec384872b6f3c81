"""Which populations have a local model."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import get_program_scores, population_programs


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


def test_cells_without_a_label_take_no_part(simulated, fit):
    adata = simulated.copy()
    gone = np.zeros(len(adata), bool)
    gone[np.flatnonzero(adata.obs["population"] == "P2")] = True
    adata.obs["population"] = adata.obs["population"].where(~gone)
    programs = population_programs(fit, adata, groupby="population", kind="within", n_programs=1)
    assert set(programs["population"]) == {"P0", "P1"}
    scores = get_program_scores(fit, adata, groupby="population", kind="within", n_programs=1)
    columns = [c for c in scores if c != "cell"]
    assert scores.loc[gone, columns].isna().all().all()


@pytest.mark.parametrize("kind", ["specific", "deviation"])
def test_one_population_has_nothing_to_differ_from(simulated, fit, kind):
    adata = simulated.copy()
    adata.obs["all"] = "cells"
    with pytest.raises(ValueError, match=f"two populations of at least 30 cells for kind '{kind}', and 'all' has 1"):
        population_programs(fit, adata, groupby="all", kind=kind)
    assert len(population_programs(fit, adata, groupby="all", kind="within", n_programs=1)) >= 1
