"""Simulated counts: the planted structure is there, and what was not asked for is not."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats
from scipy.special import logsumexp

from ldvae.counts.simulate import simulate_counts


def log_normalised(adata) -> np.ndarray:
    x = np.asarray(adata.X.todense(), dtype=np.float64)
    return np.log1p(1e3 * x / x.sum(1, keepdims=True))


def rows_of(adata, column: str, level: str) -> np.ndarray:
    return np.flatnonzero(adata.obs[column] == level)


def correlation(x: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """Correlation of each column of x with the activity."""
    x, a = x - x.mean(0), activity - activity.mean()
    return x.T @ a / (np.sqrt((x**2).sum(0) * (a**2).sum()) + 1e-12)


@pytest.fixture(scope="module")
def plain():
    return simulate_counts(n_cells=3000, n_genes=500, smallest_share=0.1, library_size=1500, seed=3)


def test_counts_are_counts_with_names(plain):
    assert isinstance(plain.X, sp.csr_matrix) and plain.X.dtype == np.float32
    assert plain.shape == (3000, 500)
    assert (plain.X.data >= 1).all() and (plain.X.data == np.round(plain.X.data)).all()
    assert plain.obs_names[0] == "C0" and plain.var_names[-1] == "G499"
    assert list(plain.obs.columns) == ["population", "batch"]
    assert list(plain.obs["population"].cat.categories) == ["P0", "P1", "P2", "P3"]
    assert plain.obsm["activity"].shape == (3000, 2)


def test_same_seed_same_counts():
    kwargs = {"n_cells": 100, "n_genes": 60, "program_size": 10, "n_samples": 3}
    one, two, other = (simulate_counts(**kwargs, seed=s) for s in (1, 1, 2))
    assert (one.X != two.X).nnz == 0 and one.obs.equals(two.obs)
    assert (one.X != other.X).nnz > 0
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    simulate_counts(**kwargs)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_totals_match_the_library_size(plain):
    totals = np.asarray(plain.X.sum(1)).ravel()
    assert np.median(totals) == pytest.approx(1500, rel=0.05)
    assert np.log(totals).std() == pytest.approx(0.35, abs=0.05)
    deep = simulate_counts(n_cells=2000, n_genes=100, smallest_share=0.2, depth={2: 4, "P1": 0.5})
    for population, median in {"P0": 800, "P1": 400, "P2": 3200}.items():
        total = np.asarray(deep.X[rows_of(deep, "population", population)].sum(1))
        assert np.median(total) == pytest.approx(median, rel=0.08)


def test_counts_have_the_promised_mean_and_variance():
    adata = simulate_counts(
        n_cells=20_000,
        n_genes=20,
        n_populations=1,
        program_size=1,
        amplitude=0,
        n_shared=0,
        n_batches=1,
        library_size=500,
    )
    truth = adata.uns["truth"]
    x = np.asarray(adata.X.todense(), dtype=np.float64)
    log_mean = truth["means"][0] + truth["batch_shift"][0]
    mean = 500 * np.exp(0.35**2 / 2) * np.exp(log_mean - logsumexp(log_mean))
    np.testing.assert_allclose(x.mean(0), mean, rtol=0.1)
    # Of the library size comes a factor E[s²]/E[s]² = exp(.35²), of the gene 1 + 1/θ.
    second = (x * (x - 1)).mean(0) / x.mean(0) ** 2
    expected = np.exp(0.35**2) * (1 + 1 / truth["inverse_dispersion"])
    well = mean > 2
    np.testing.assert_allclose(second[well], expected[well], rtol=0.1)
    assert np.median(truth["inverse_dispersion"]) == pytest.approx(3.3, rel=0.5)


def test_own_programs_vary_in_their_population_only(plain):
    x, truth, activity = log_normalised(plain), plain.uns["truth"], plain.obsm["activity"]
    expressed = np.asarray(plain.X.mean(0)).ravel() > 0.5
    for p in range(4):
        rows = rows_of(plain, "population", f"P{p}")
        strong = expressed & (np.abs(truth["programs"][p]) > 0.6)
        neutral = expressed & (truth["programs"][p] == 0)
        r = correlation(x[rows], activity[rows, 0])
        assert strong.sum() >= 8
        assert (r[strong] * np.sign(truth["programs"][p][strong])).mean() > 0.3
        assert np.abs(r[neutral]).mean() < 0.1
        assert activity[rows, 0].std() == pytest.approx(1.0, abs=0.12)
        elsewhere = rows_of(plain, "population", f"P{(p + 1) % 4}")
        off = strong & (truth["programs"][(p + 1) % 4] == 0)
        assert np.abs(correlation(x[elsewhere], activity[elsewhere, 0])[off]).mean() < 0.12


def test_loadings_are_the_slopes_of_log_expression():
    """Regressing log counts of a deep simulation on the activity gives the loadings back."""
    adata = simulate_counts(
        n_cells=1500, n_genes=300, n_populations=1, n_shared=0, library_size=3e5, inverse_dispersion=1e4, n_batches=1
    )
    truth = adata.uns["truth"]
    x = np.asarray(adata.X.todense(), dtype=np.float64)
    kept = x.mean(0) > 100
    log_x = np.log(x[:, kept] + 0.5)
    log_x -= np.median(log_x[:, truth["programs"][0, kept] == 0], axis=1, keepdims=True)
    activity = adata.obsm["activity"][:, 0]
    slope = (activity - activity.mean()) @ log_x / activity.var() / len(activity)
    np.testing.assert_allclose(slope, truth["programs"][0, kept], atol=0.05)


def test_programs_are_as_described(plain):
    truth = plain.uns["truth"]
    assert ((truth["programs"] != 0).sum(1) == 40).all()
    sizes = np.abs(truth["programs"][truth["programs"] != 0])
    assert sizes.min() >= 0.4 and sizes.max() <= 1.2 and sizes.mean() == pytest.approx(0.8, abs=0.05)
    assert (truth["programs"] < 0).any() and (truth["shared"][0] >= 0).all()
    np.testing.assert_allclose(np.exp(truth["means"]).sum(1), 1.0)
    better = np.argsort(truth["means"][1])[250:]
    assert np.isin(np.flatnonzero(truth["programs"][1]), better).all()
    assert ((truth["identity"] != 0).sum(1) == 60).all()


def test_shared_and_partial_programs_are_active_where_they_should_be():
    adata = simulate_counts(n_cells=1500, n_genes=400, n_shared=2, n_partial=3, n_populations=6, smallest_share=0.1)
    truth, activity = adata.uns["truth"], adata.obsm["activity"]
    assert truth["shared"].shape == (5, 400) and truth["active"].shape == (5, 6)
    assert truth["active"][:2].all() and (truth["active"][2:].sum(1) == 3).all()
    for p in range(6):
        rows = rows_of(adata, "population", f"P{p}")
        np.testing.assert_array_equal(activity[rows, 1:].std(0) > 0.5, truth["active"][:, p])
        np.testing.assert_array_equal((activity[rows, 1:] == 0).all(0), ~truth["active"][:, p])


def test_null_populations_have_no_program_and_leave_the_others_as_they_are():
    kwargs = {"n_cells": 300, "n_genes": 200, "seed": 4}
    plain, null = simulate_counts(**kwargs), simulate_counts(**kwargs, null_populations=("P1", 3))
    programs = null.uns["truth"]["programs"]
    assert (programs[[1, 3]] == 0).all()
    np.testing.assert_array_equal(programs[[0, 2]], plain.uns["truth"]["programs"][[0, 2]])
    assert (null.obsm["activity"][rows_of(null, "population", "P1"), 0] == 0).all()
    kept = rows_of(null, "population", "P0")
    np.testing.assert_array_equal(kept, rows_of(plain, "population", "P0"))
    np.testing.assert_array_equal(
        null.obsm["activity"], np.where(null.obsm["activity"] == 0, 0, plain.obsm["activity"])
    )


def test_rewired_populations_answer_with_other_genes():
    adata = simulate_counts(
        n_cells=3000,
        n_genes=500,
        rewired_populations=2,
        smallest_share=0.2,
        library_size=3000,
        null_populations=(0, 1, 2, 3),
    )
    truth, x = adata.uns["truth"], log_normalised(adata)
    assert (truth["rewired"][[0, 1, 3]] == 0).all()
    before, after = truth["shared"][0], truth["shared"][0] + truth["rewired"][2]
    assert ((before != 0) & (after != 0)).sum() == 20 and (after != 0).sum() == 40
    np.testing.assert_allclose(np.sort(after), np.sort(before))
    lost, gained = (before > 0.6) & (after == 0), (after > 0.6) & (before == 0)
    for population, here, there in (("P2", gained, lost), ("P0", lost, gained)):
        rows = rows_of(adata, "population", population)
        expressed = np.asarray(adata.X[rows].mean(0)).ravel() > 1
        r = correlation(x[rows], adata.obsm["activity"][rows, 1])
        r -= np.median(r[expressed & (before == 0) & (after == 0)])  # shares of a library sum to one
        assert (here & expressed).sum() >= 4 and (there & expressed).sum() >= 4
        assert r[here & expressed].mean() > 0.3
        assert abs(r[there & expressed].mean()) < 0.12


def test_batches_shift_expression(plain):
    truth = plain.uns["truth"]
    x = np.asarray(plain.X.todense(), dtype=np.float64)
    share = np.stack([x[plain.obs["batch"] == b].sum(0) for b in ("B0", "B1")])
    kept = share.min(0) > 1000
    observed = np.log(share[1] / share[0])[kept]
    expected = (truth["batch_shift"][1] - truth["batch_shift"][0])[kept]
    assert stats.pearsonr(observed, expected)[0] > 0.9
    assert truth["batch_shift"].std() == pytest.approx(0.15, abs=0.02)


def test_samples_and_treatment_shift_expression():
    adata = simulate_counts(
        n_cells=6000, n_genes=300, n_samples=6, treatment_effect=0.8, sample_std=0.5, n_sample_genes=80
    )
    truth, x = adata.uns["truth"], np.asarray(adata.X.todense(), dtype=np.float64)
    assert ((truth["sample_shift"] != 0).any(0)).sum() == 80 and (truth["treatment"] != 0).sum() == 40
    assert np.abs(truth["treatment"]).sum() / 40 == pytest.approx(0.8, abs=0.15)
    treated = adata.obs.groupby("sample", observed=True)["treatment"].unique()
    assert [list(t) for t in treated] == [["control"], ["treated"]] * 3
    share = np.stack([x[adata.obs["sample"] == f"S{s}"].sum(0) for s in range(6)])
    kept = share.min(0) > 300
    centred = np.log(share)[:, kept] - np.log(share)[:, kept].mean(0)
    expected = (truth["sample_shift"] + (np.arange(6) % 2)[:, None] * truth["treatment"])[:, kept]
    expected -= expected.mean(0)
    assert stats.pearsonr(centred.ravel(), expected.ravel())[0] > 0.9


def test_labels_of_a_treatment_without_effect_are_void():
    truth = simulate_counts(n_cells=50, n_genes=100, n_samples=4).uns["truth"]
    assert (truth["treatment"] == 0).all()


def test_no_population_is_left_out():
    kwargs = {"n_cells": 1, "n_genes": 100, "n_populations": 10}
    for smallest, floor in ((0.08, 0.04), (0.0, 0.0)):
        shares = [simulate_counts(**kwargs, smallest_share=smallest, seed=s).uns["truth"]["share"] for s in range(5)]
        assert np.sum(shares, axis=1) == pytest.approx(1.0)
        assert np.min(shares) > floor
        assert smallest or np.min(shares) < 0.03


@pytest.mark.parametrize("kwargs", [{}, {"n_shared": 0}, {"n_samples": 4, "treatment_effect": 1.0, "n_partial": 1}])
def test_the_truth_survives_h5ad(tmp_path, kwargs):
    adata = simulate_counts(n_cells=60, n_genes=90, program_size=8, **kwargs)
    adata.write_h5ad(tmp_path / "simulated.h5ad")
    back = anndata.read_h5ad(tmp_path / "simulated.h5ad")
    assert (back.X != adata.X).nnz == 0
    assert back.obs.equals(adata.obs)
    np.testing.assert_array_equal(back.obsm["activity"], adata.obsm["activity"])
    assert set(back.uns["truth"]) == set(adata.uns["truth"])
    for name, value in adata.uns["truth"].items():
        np.testing.assert_array_equal(back.uns["truth"][name], value)
        assert back.uns["truth"][name].dtype == value.dtype


def test_small_and_odd_sizes_work():
    adata = simulate_counts(
        n_cells=1,
        n_genes=2,
        n_populations=1,
        program_size=1,
        n_partial=1,
        rewired_populations=0,
        n_samples=1,
        n_batches=1,
    )
    assert adata.shape == (1, 2)
    as_r_sends_it = simulate_counts(n_cells=50.0, n_genes=100.0, null_populations=[1.0], depth={"P2": 3.0})
    assert (as_r_sends_it.uns["truth"]["programs"][1] == 0).all()
    assert simulate_counts(n_cells=20, n_genes=100, null_populations=None).n_obs == 20


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_cells": 0}, "`n_cells` must be a whole number of at least 1, not 0"),
        ({"program_size": 60}, "`program_size` must be a whole number of at least 1 and at most 50, not 60"),
        ({"amplitude": -1}, "`amplitude` must be a number at least 0 and at most 100, not -1"),
        ({"null_populations": 4}, "`null_populations` must be a whole number of at least 0 and at most 3, not 4"),
        ({"null_populations": "B"}, "`null_populations` must be one of 'P0', 'P1', 'P2', 'P3', not 'B'"),
        (
            {"rewired_populations": 1, "n_shared": 0},
            "`rewired_populations` need a program to rewire, but `n_shared` is 0",
        ),
        ({"treatment_effect": 1}, "`treatment_effect` needs `n_samples` of at least 2, not 0"),
        ({"smallest_share": 0.5}, "`smallest_share` must be a number at least 0 and at most 0.25, not 0.5"),
        ({"depth": {0: 0}}, "`depth` must be a number more than 0 and at most 1000, not 0"),
        ({"depth": [1]}, "`depth` must map populations to multipliers"),
        ({"library_size": "big"}, "`library_size` must be a number more than 0 and at most 1e+07, but 'big' is a str"),
        ({"inverse_dispersion": 0}, "`inverse_dispersion` must be a number at least 0.001 and at most 1e+09, not 0"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises((TypeError, ValueError)) as error:
        simulate_counts(**{"n_genes": 100, **kwargs})
    assert message in str(error.value)
