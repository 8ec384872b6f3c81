"""Genes that answer a shared program differently, and what is not that."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import fit_ldvae, population_loadings, population_programs
from ldvae.programs.catalogue import catalogue
from ldvae.programs.deviation import _amplitude, _expected, deviation_programs
from ldvae.programs.program import call_programs, plausible
from ldvae.programs.within import within_programs
from planted import SETTINGS, loading, population, r_with, setting, simulate_programs


def named(populations, most=2):
    return setting(populations), within_programs(catalogue(populations, most, 200, 0), 0)


def test_a_rewired_population_deviates_with_its_genes():
    adata = simulate_programs(rewired_populations=[2], seed=4)
    fit = fit_ldvae(adata, **SETTINGS)
    programs = population_programs(fit, adata, groupby="population", kind="deviation")
    assert programs.loc[programs["called"], "population"].tolist() == ["P2"]
    assert set(programs["population"]) == {"P0", "P1", "P2", "P3"} and set(programs["program"]) == {"program_1"}
    assert set(programs.loc[~programs["called"], "reason"]) == {"no gene differs for sure"}
    loadings = population_loadings(fit, adata, groupby="population", kind="deviation")
    truth = adata.uns["truth"]
    assert r_with(loadings, truth["rewired"][2], "P2", "program_1") > 0.9
    # it has the genes that it has here, whatever its name, and each population what is its own
    within = population_programs(fit, adata, groupby="population", kind="within").query("called")
    assert within.groupby("population").size().to_dict() == dict.fromkeys(["P0", "P1", "P2", "P3"], 2)
    loadings = population_loadings(fit, adata, groupby="population", kind="within")
    here = truth["shared"][0] + truth["rewired"][2]
    for planted in (here, truth["programs"][2]):
        names = within.loc[within["population"] == "P2", "program"]
        assert max(r_with(loadings, planted, "P2", name) for name in names) > 0.9


def test_genes_that_answer_otherwise_are_named():
    common = loading(4, positive=True)
    rewired, on = common.copy(), np.flatnonzero(common)
    rewired[on[:6]], rewired[np.flatnonzero(common == 0)[:6]] = 0.0, 0.8
    populations = [population(i, f"P{i}", (rewired if i == 3 else common)[:, None], n=300) for i in range(4)]
    found, within = named(populations)
    changed = rewired != common
    for reference in (None, ["P0"]):
        programs = deviation_programs(found, within, reference)
        assert [p.population for p in programs] == [f"P{i}" for i in range(4) if reference is None or i]
        assert call_programs(programs)[1].tolist() == [p.population == "P3" for p in programs]
        last = programs[-1]
        assert np.corrcoef(last.loading, rewired - common)[0, 1] ** 2 > 0.9
        assert (last.lfsr[changed] < 0.05).mean() > 0.8 and (last.lfsr[~changed] < 0.05).sum() <= 1
        assert call_programs(programs)[2][0] == "no gene differs for sure"


def test_amplitude_is_not_deviation():
    common = loading(4, positive=True)
    amplitudes = (1.0, 0.5, 1.3, 0.7)
    populations = [population(i, f"P{i}", a * common[:, None], n=300) for i, a in enumerate(amplitudes)]
    programs = deviation_programs(*named(populations), None)
    assert [(p.population, p.name) for p in programs] == [(f"P{i}", "program_1") for i in range(4)]
    assert sum(p.n_genes for p in programs) == 0
    assert min(p.pvalue for p in programs) > 0.01
    ratios = np.array([p.ratio for p in programs])  # against the others, of which it is
    assert ratios.argsort().tolist() == np.argsort(amplitudes).tolist()
    assert ratios[1] < 0.5 and ratios[2] > 1.5


def test_an_own_program_is_not_deviation():
    """It has genes in common with the shared one, so its activity enters the score of that one."""
    common = loading(4, positive=True)
    populations = []
    for i in range(3):
        own = loading(10 + i)
        own[np.flatnonzero(common)[:5]] = 0.8
        populations.append(population(i, f"P{i}", np.stack([common, own], 1), n=400))
    found, within = named(populations, 3)
    n_false = []
    for known in ([p for p in within if p.name == "program_1"], within):
        n_false.append(sum(p.n_genes for p in deviation_programs(found, known, None)))
    assert n_false[0] > 3
    assert n_false[1] <= 1


def test_only_programs_of_several_populations_are_asked():
    found, within = named([population(i, f"P{i}", loading(10 + i)[:, None]) for i in range(3)])
    assert sum(plausible(p) for p in within) == 3
    assert deviation_programs(found, within, None) == []
    # a population that has nothing like the program does not answer it
    common = loading(4, positive=True)
    populations = [population(i, f"P{i}", (common if i < 2 else 0 * common)[:, None]) for i in range(3)]
    programs = deviation_programs(*named(populations), None)
    assert [p.population for p in programs] == ["P0", "P1"]


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
