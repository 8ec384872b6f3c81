"""Genes that answer a shared program differently, and what is not that."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import fit_ldvae, population_loadings, population_programs
from ldvae.programs.deviation import _amplitude, _expected, deviation_programs
from ldvae.programs.specific import specific_programs
from planted import SETTINGS, loading, population, r_with, setting, simulate_programs


def test_a_rewired_population_deviates_with_its_genes():
    adata = simulate_programs(rewired_populations=[2], seed=2)
    fit = fit_ldvae(adata, **SETTINGS)
    programs = population_programs(fit, adata, groupby="population", kind="deviation")
    assert programs.loc[programs["called"], "population"].tolist() == ["P2"]
    assert set(programs["population"]) == {"P0", "P1", "P2", "P3"}
    loadings = population_loadings(fit, adata, groupby="population", kind="deviation")
    truth = adata.uns["truth"]
    assert r_with(loadings, truth["rewired"][2], "P2", "shared_1") > 0.9
    # it still is the shared program, with the genes that it has here, and nobody's own
    within = population_loadings(fit, adata, groupby="population", kind="within")
    assert r_with(within, truth["shared"][0] + truth["rewired"][2], "P2", "shared_1") > 0.9
    assert r_with(within, truth["programs"][2], "P2", "own_1") > 0.8
    specific = population_programs(fit, adata, groupby="population", kind="specific").query("called")
    assert specific["population"].tolist() == ["P0", "P1", "P2", "P3"]


def test_amplitude_is_not_deviation():
    common = loading(4, positive=True)
    amplitudes = (1.0, 0.5, 1.3, 0.7)
    populations = [population(i, f"P{i}", a * common[:, None], n=300) for i, a in enumerate(amplitudes)]
    programs = deviation_programs(setting(populations, common), [], None)
    assert len(programs) == 4
    assert sum(p.n_genes for p in programs) == 0
    assert min(p.pvalue for p in programs) > 0.01


def test_an_own_program_is_not_deviation():
    """It has genes in common with the shared one, so its activity enters the score of that one."""
    common, n_false = loading(4, positive=True), []
    populations = []
    for i in range(3):
        own = loading(10 + i)
        own[np.flatnonzero(common)[:5]] = 0.8
        populations.append(population(i, f"P{i}", np.stack([common, own], 1), n=400))
    found = setting(populations, common)
    for own in ([], specific_programs(found, 1)):
        n_false.append(sum(p.n_genes for p in deviation_programs(found, own, None)))
    assert n_false[0] > 3
    assert n_false[1] <= 1


def test_reference_of_a_deviation():
    rng = np.random.default_rng(0)
    slopes, weights = rng.normal(size=(5, 30)), rng.uniform(50, 100, size=(5, 30))
    expected, _ = _expected(slopes[0], np.vstack([slopes[1], slopes[1], slopes[1], slopes[4] + 9]), weights[:4])
    np.testing.assert_allclose(expected, slopes[1])  # one that differs is outvoted
    expected, precision = _expected(slopes[0], slopes[1:3], weights[1:3])
    nearer = np.abs(slopes[0] - slopes[1:3]).argmin(0)
    np.testing.assert_allclose(expected, slopes[1:3][nearer, range(30)])
    np.testing.assert_allclose(precision, weights[1:3][nearer, range(30)])
    expected, precision = _expected(slopes[0], slopes[1:2], weights[1:2])
    np.testing.assert_allclose((expected, precision), (slopes[1], weights[1]))
    # equal normals: the spread promised is at least the true one
    draws = rng.normal(size=(6, 20_000))
    expected, precision = _expected(np.zeros(20_000), draws, np.ones_like(draws))
    assert expected.var() <= 1 / precision[0] <= 2.5 * expected.var()


def test_amplitude_ignores_genes_that_changed():
    rng = np.random.default_rng(1)
    common = np.where(np.arange(200) < 30, rng.uniform(0.5, 1.0, 200), 0.0)
    slope = 0.6 * common + 0.03 * rng.normal(size=200)
    slope[:8] = 0.0
    assert _amplitude(slope, np.full(200, 900.0), common, np.full(200, 1e4)) == pytest.approx(0.6, abs=0.05)
    assert _amplitude(slope, np.full(200, 900.0), 0 * common, np.full(200, 1e4)) == 1.0
