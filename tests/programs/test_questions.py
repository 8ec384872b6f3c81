"""Programs of populations: which are called where, with which genes, and what is not called that should not be."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import fit_ldvae, population_loadings, population_programs
from planted import r_with, simulate_programs

SETTINGS = dict(n_latent=15, max_epochs=12, progress=False, device="cpu")


def test_own_programs_are_called_where_they_are(planted, planted_fit):
    programs = population_programs(planted_fit, planted, groupby="population")
    called = programs[programs["called"]]
    assert called["population"].tolist() == ["P0", "P1", "P2"]
    assert set(programs["population"]) == {"P0", "P1", "P2", "P3"}  # a null one has its p-value
    assert (called["ratio_to_reference"] > 5).all()
    loadings = population_loadings(planted_fit, planted, groupby="population")
    truth = planted.uns["truth"]
    for i, name in enumerate(["P0", "P1", "P2"]):
        assert r_with(loadings, truth["programs"][i], name, "own_1") > 0.95
        rows = loadings[(loadings["population"] == name) & (loadings["lfsr"] < 0.05)]
        genes = np.array([int(g[1:]) for g in rows["gene"]])
        own = truth["programs"][i][genes]
        assert len(genes) >= 15
        assert (own != 0).mean() > 0.9
        right = np.sign(rows["loading"]) == np.sign(own)
        assert max(right.mean(), 1 - right.mean()) > 0.9  # the sign of a program is free, those of its genes agree


def test_loadings_are_log2_per_standard_deviation(planted, planted_fit):
    loadings = population_loadings(planted_fit, planted, groupby="population")
    activity = planted.obsm["activity"][:, 0]
    for i, name in enumerate(["P0", "P1", "P2"]):
        rows = loadings[loadings["population"] == name]
        truth = planted.uns["truth"]["programs"][i][[int(g[1:]) for g in rows["gene"]]] / np.log(2)
        truth = truth * activity[(planted.obs["population"] == name).to_numpy()].std()
        slope = np.abs((rows["loading"] * truth).sum() / (truth**2).sum())
        assert slope == pytest.approx(1.0, abs=0.12)
        sign = np.sign((rows["loading"] * truth).sum())
        assert np.mean(np.abs(sign * rows["loading"] - truth) < 1.96 * rows["std"] + 1e-9) > 0.85


def test_null_populations_have_no_program():
    adata = simulate_programs(null_populations=[0, 1, 2, 3], n_shared=0, n_cells=800, seed=5)
    fit = fit_ldvae(adata, **SETTINGS)
    for kind in ("specific", "within"):
        assert not population_programs(fit, adata, groupby="population", kind=kind)["called"].any()
    assert len(population_programs(fit, adata, groupby="population", kind="deviation")) == 0
    assert len(population_loadings(fit, adata, groupby="population")) == 0
