"""What varies inside a population, shared programs included."""

from __future__ import annotations

import numpy as np

from ldvae import fit_ldvae, population_loadings, population_programs
from planted import SETTINGS, r_with, simulate_programs


def test_within_lists_shared_and_own(planted, planted_fit):
    arguments = dict(groupby="population", kind="within")
    programs = population_programs(planted_fit, planted, **arguments)
    names = programs[programs["called"]].groupby("population")["program"].apply(set).to_dict()
    assert names == {**{p: {"shared_1", "own_1"} for p in ("P0", "P1", "P2")}, "P3": {"shared_1"}}
    tested = programs.groupby("population")["program"].apply(set).to_dict()
    assert tested["P3"] == {"shared_1", "own_1"}  # the one that was looked for and not found has its p-value
    assert np.allclose(programs.groupby("population")["share"].sum(), 1)
    for _, rows in programs.groupby("population"):
        assert (np.diff(rows["share"]) <= 0).all()
        if rows["called"].sum() == 2:
            assert rows["share"].iloc[0] < 0.65  # both were planted with the same amplitude
    loadings = population_loadings(planted_fit, planted, **arguments)
    for p in ("P0", "P1", "P2", "P3"):
        assert r_with(loadings, planted.uns["truth"]["shared"][0], p, "shared_1") > 0.95


def test_differences_between_samples_are_no_program():
    adata = simulate_programs(null_populations=[0, 1, 2, 3], n_shared=0, n_samples=4, sample_std=0.6, seed=3)
    fit = fit_ldvae(adata, **SETTINGS)
    arguments = dict(groupby="population", kind="within")
    assert population_programs(fit, adata, **arguments)["called"].sum() >= 4
    assert not population_programs(fit, adata, sample_key="sample", **arguments)["called"].any()
