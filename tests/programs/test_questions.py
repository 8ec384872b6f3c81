"""Programs of populations: which are called where, with which genes, and what is not called that should not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ldvae import fit_ldvae, get_program_scores, population_loadings, population_programs, simulate_counts
from ldvae.programs.activities import as_tensor
from ldvae.programs.deviation import _amplitude, _center, deviation_programs
from ldvae.programs.local import Local
from ldvae.programs.population import Population
from ldvae.programs.program import Program, call_programs
from ldvae.programs.setting import Setting
from ldvae.programs.shared import Shared
from ldvae.programs.specific import own_programs
from ldvae.programs.within import within_programs

SETTINGS = dict(n_latent=15, max_epochs=12, progress=False, device="cpu")


def simulate(**arguments):
    common = dict(n_cells=1200, n_genes=300, n_populations=4, program_size=25, smallest_share=0.18, n_batches=1)
    return simulate_counts(**{**common, **arguments})


@pytest.fixture(scope="module")
def planted():
    """Four populations with one shared program and one of their own, but P3."""
    return simulate(null_populations=[3], seed=1)


@pytest.fixture(scope="module")
def planted_fit(planted):
    return fit_ldvae(planted, **SETTINGS)


def r_with(table, planted, population, program):
    rows = table[(table["population"] == population) & (table["program"] == program)]
    genes = [int(g[1:]) for g in rows["gene"]]
    return abs(np.corrcoef(rows["loading"], planted[genes])[0, 1])


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


def test_scores_follow_the_true_activity(planted, planted_fit):
    scores = get_program_scores(planted_fit, planted, groupby="population", kind="within")
    population = planted.obs["population"].to_numpy()
    for name in ("P0", "P1", "P2"):
        rows = population == name
        for column, program in enumerate(["own_1", "shared_1"]):
            score = scores[f"{name}_{program}"].to_numpy()
            r = np.corrcoef(score[rows], planted.obsm["activity"][rows, column])[0, 1]
            assert abs(r) > 0.8
            assert score[rows].std() == pytest.approx(1.0, abs=0.2)


def test_null_populations_have_no_program():
    adata = simulate(null_populations=[0, 1, 2, 3], n_shared=0, n_cells=800, seed=5)
    fit = fit_ldvae(adata, **SETTINGS)
    for kind in ("specific", "within"):
        assert not population_programs(fit, adata, groupby="population", kind=kind)["called"].any()
    assert len(population_programs(fit, adata, groupby="population", kind="deviation")) == 0
    assert len(population_loadings(fit, adata, groupby="population")) == 0


def test_differences_between_samples_are_no_program():
    adata = simulate(null_populations=[0, 1, 2, 3], n_shared=0, n_samples=4, sample_std=0.6, seed=3)
    fit = fit_ldvae(adata, **SETTINGS)
    arguments = dict(groupby="population", kind="within")
    assert population_programs(fit, adata, **arguments)["called"].sum() >= 4
    assert not population_programs(fit, adata, sample_key="sample", **arguments)["called"].any()


def test_a_rewired_population_deviates_with_its_genes():
    adata = simulate(rewired_populations=[2], seed=2)
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


# What follows is made without a fit: populations from planted loadings, the shared ones known


def population(seed, name, loadings, n=250, library=800.0):
    rng = np.random.default_rng(seed)
    activity = rng.normal(size=(n, loadings.shape[1]))
    expression = np.exp(np.random.default_rng(0).normal(0, 0.8, len(loadings)) + activity @ loadings.T)
    expression *= library * np.exp(rng.normal(0, 0.3, (n, 1))) / expression.sum(1, keepdims=True)
    x = rng.poisson(rng.gamma(4.0, expression / 4.0)).astype(np.float32)
    offset = np.broadcast_to(np.log(x.sum(1, keepdims=True)), x.shape)
    local = Local.build(x, offset, np.full(len(loadings), 4.0), None)
    return Population(name, np.arange(n), np.arange(len(loadings)), local)


def loading(seed, n_genes=200, size=20, positive=False):
    rng = np.random.default_rng(seed)
    out = np.zeros(n_genes)
    signs = np.ones(size) if positive else rng.choice([-1, 1], size)
    out[rng.choice(n_genes, size, replace=False)] = 0.8 * rng.uniform(0.5, 1.5, size) * signs
    return out


def setting(populations, common):
    n = len(populations)
    columns = np.zeros((200, 0)) if common is None else common[:, None]
    q = columns.shape[1]
    shared = Shared(columns, np.full((200, q), 0.02) * (columns != 0), np.ones((q, n), bool), [columns] * n)
    return Setting(populations, shared, 0)


@pytest.mark.parametrize(("amplitude", "own"), [(0.0, True), (0.5, True), (0.85, False), (1.0, False)])
def test_a_program_with_half_of_its_variance_elsewhere_is_not_specific(amplitude, own):
    program = loading(1)
    populations = [
        population(1, "A", program[:, None]),
        population(2, "B", amplitude * program[:, None]),
        population(3, "C", 0 * program[:, None]),
    ]
    found = setting(populations, None)
    first = own_programs(found, 1)[0]
    assert first.varies < 1e-6
    assert call_programs([first])[1].tolist() == [own]
    if amplitude >= 0.5:
        assert first.ratio == pytest.approx(amplitude**-2, rel=0.35)
    with_c = own_programs(found, 1, ["C"])[0]  # whatever B does, C has none of it
    assert call_programs([with_c])[1].tolist() == [True]


def test_shared_loadings_are_no_own_programs():
    common = loading(4, positive=True)
    populations = [population(i, f"P{i}", common[:, None]) for i in range(3)]
    own = own_programs(setting(populations, common), 2)
    assert [p.name for p in own] == ["own_1"] * 3
    assert not call_programs(own)[1].any()
    within = within_programs(setting(populations, common), own)
    assert [p.name for p in within if p.pvalue < 0.01] == ["shared_1"] * 3
    # not knowing it, each population finds it for itself, and it is no one's own
    own = own_programs(setting(populations, None), 1)
    assert all(p.varies < 1e-6 for p in own)
    assert not call_programs(own)[1].any()


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
    for own in ([], own_programs(found, 1)):
        n_false.append(sum(p.n_genes for p in deviation_programs(found, own, None)))
    assert n_false[0] > 3
    assert n_false[1] <= 1


def test_reference_of_a_deviation():
    rng = np.random.default_rng(0)
    slopes, weights = rng.normal(size=(5, 30)), rng.uniform(50, 100, size=(5, 30))
    center, _ = _center(slopes[0], np.vstack([slopes[1], slopes[1], slopes[1], slopes[4] + 9]), weights[:4])
    np.testing.assert_allclose(center, slopes[1])  # one that differs is outvoted
    center, precision = _center(slopes[0], slopes[1:3], weights[1:3])
    nearer = np.abs(slopes[0] - slopes[1:3]).argmin(0)
    np.testing.assert_allclose(center, slopes[1:3][nearer, range(30)])
    np.testing.assert_allclose(precision, weights[1:3][nearer, range(30)])
    center, precision = _center(slopes[0], slopes[1:2], weights[1:2])
    np.testing.assert_allclose((center, precision), (slopes[1], weights[1]))
    # equal normals: the spread promised is at least the true one
    draws = rng.normal(size=(6, 20_000))
    center, precision = _center(np.zeros(20_000), draws, np.ones_like(draws))
    assert center.var() <= 1 / precision[0] <= 2.5 * center.var()


def test_amplitude_ignores_genes_that_changed():
    rng = np.random.default_rng(1)
    common = np.where(np.arange(200) < 30, rng.uniform(0.5, 1.0, 200), 0.0)
    slope = 0.6 * common + 0.03 * rng.normal(size=200)
    slope[:8] = 0.0
    assert _amplitude(slope, np.full(200, 900.0), common, np.full(200, 1e4)) == pytest.approx(0.6, abs=0.05)
    assert _amplitude(slope, np.full(200, 900.0), 0 * common, np.full(200, 1e4)) == 1.0


def test_calls_need_genes_and_effect():
    lfsr = np.r_[np.full(5, 0.01), np.ones(5)]
    program = Program("P", "specific", "own_1", np.ones(10), np.ones(10), lfsr, np.ones(10, bool), 1e-4, 9.0, 100)
    variants = [
        program,
        replace(program, lfsr=np.r_[np.full(4, 0.01), np.ones(6)]),
        replace(program, enough=False),
        replace(program, pvalue=0.04),
    ]
    adjusted, called = call_programs(variants)
    assert called.tolist() == [True, False, False, True]
    np.testing.assert_allclose(adjusted, [4e-4 / 3, 4e-4 / 3, 4e-4 / 3, 0.04])
    deviation = replace(program, kind="deviation", lfsr=np.r_[0.01, np.ones(9)])
    assert call_programs([deviation])[1].tolist() == [True]


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


def test_a_score_has_the_units_of_its_loading():
    """Twice the loading, half the activity: what they predict together is the same."""
    program = loading(1)
    local = population(1, "A", program[:, None]).local
    single, double = (local.score(as_tensor(f * program[:, None]), local.intercept) for f in (1.0, 2.0))
    r = np.corrcoef(single.full[:, 0], double.full[:, 0])[0, 1]
    assert r > 0.999
    assert float(single.scale[0] / double.scale[0]) == pytest.approx(2.0, rel=0.05)


def test_every_program_is_measured_on_the_halves_that_did_not_teach_it(planted, planted_fit, monkeypatch):
    from ldvae.programs import populations

    seeds = []
    halves = populations._halves
    monkeypatch.setattr(populations, "_halves", lambda local, seed: seeds.append(seed) or halves(local, seed))
    # a second program must be sought, so that a split of its own would show
    programs = population_programs(planted_fit, planted, groupby="population", kind="specific", n_programs=2, seed=7)
    assert (programs["program"] == "own_2").any()
    assert set(seeds) == {7}
