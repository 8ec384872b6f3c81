"""Differential expression: planted truth, nulls, identities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from ldvae import differential_expression
from ldvae.comparisons.differential import Settings, _posterior
from planted import fitted, simulate_groups


def test_planted_changes_are_found_and_false_calls_are_as_few_as_promised(three):
    fit, adata, truth = three
    table = differential_expression(fit, adata, groupby="group", group2="pairwise", fdr_target=0.1)
    calls = wrong = possible = inside = tested = sure = sure_wrong = 0
    for (a, b), part in table.groupby(["group1", "group2"]):
        difference = truth[int(a[1])] - truth[int(b[1])]
        known = part["proba_de"].notna().to_numpy()
        right = (np.abs(difference) > 0.25) & (np.sign(difference) == np.sign(part["lfc_mean"]))
        calls += part["is_de"].sum()
        wrong += (part["is_de"] & ~right).sum()
        possible += (np.abs(difference)[known] > 0.7).sum()
        # a change that is taken for none has the interval [0, 0]: it is off by little
        low, high = part["lfc_lower"] - 0.05, part["lfc_upper"] + 0.05
        inside += ((low <= difference) & (difference <= high))[known].sum()
        tested += known.sum()
        sure += (part["lfsr"] < 0.05).sum()
        sure_wrong += ((part["lfsr"] < 0.05) & (np.sign(part["lfc_mean"]) != np.sign(difference))).sum()
    assert calls > 0.7 * possible > 80
    assert wrong / calls < 0.1 + 3 * np.sqrt(0.1 * 0.9 / calls)  # the pairs share groups, and with them errors
    assert sure > 100 and sure_wrong / sure < 0.05
    assert inside / tested > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_halves_of_one_population_do_not_differ(one, seed):
    fit, adata = one
    half = np.random.default_rng(seed).random(800) < 0.4
    table = differential_expression(fit, adata, cells1=half)
    assert set(table["group1"]) == {"cells1"} and set(table["group2"]) == {"rest"}
    assert table["proba_de"].notna().sum() > 300
    assert table["is_de"].sum() == 0 and (table["lfsr"] < 0.05).sum() == 0
    if seed == 0:  # scvi-tools' definition says how different single cells are
        pairs = differential_expression(fit, adata, cells1=half, estimand="cell", n_samples=1000)
        assert pairs["is_de"].sum() == 0 and pairs["proba_de"].max() < 0.55


def test_depth_is_no_difference():
    groups = np.repeat([0, 0, 1], 300)
    adata, _ = simulate_groups(3, np.zeros(900, dtype=int))
    rng = np.random.default_rng(0)
    thin = adata.X.toarray()
    thin[groups == 0] = rng.binomial(thin[groups == 0].astype(int), 1 / 3)  # a third of the depth
    adata.X = sp.csr_matrix(thin.astype(np.float32))
    adata.obs["depth"] = np.where(groups == 0, "shallow", "deep")
    table = differential_expression(fitted(adata), adata, groupby="depth", group1="deep")
    assert table["proba_de"].notna().sum() > 300
    assert table["is_de"].sum() == 0 and (table["lfsr"] < 0.05).sum() <= 1


def test_donors_are_the_replicates_where_samples_are_named():
    rng = np.random.default_rng(7)
    donor = np.repeat(np.arange(6), 150)
    own = rng.normal(0, 0.35, (6, 400))[donor] * (rng.random(400) < 0.5)
    adata, _ = simulate_groups(7, np.zeros(900, dtype=int), own=own)
    adata.obs["donor"] = pd.Categorical([f"D{d}" for d in donor])
    adata.obs["treated"] = np.where(donor % 2 == 1, "yes", "no")
    fit = fitted(adata)
    arguments = dict(groupby="treated", group1="yes", group2="no")
    assert differential_expression(fit, adata, **arguments)["is_de"].sum() > 20
    assert differential_expression(fit, adata, sample_key="donor", **arguments)["is_de"].sum() == 0
    # and a treatment that does something, the same in every donor, is found
    boosted = adata.copy()
    counts = boosted.X.toarray()
    abundant = np.argsort(-counts.sum(0))[60:80]
    rows = np.flatnonzero(adata.obs["treated"] == "yes")
    counts[np.ix_(rows, abundant)] = counts[np.ix_(rows, abundant)] * 4
    boosted.X = sp.csr_matrix(counts)
    table = differential_expression(fit, boosted, sample_key="donor", **arguments)
    assert table["is_de"].to_numpy()[abundant].mean() > 0.5
    change = table["lfc_mean"].to_numpy()[abundant]
    assert (change > 1).mean() > 0.7 and (change > 0).all()
    assert table["is_de"].sum() < 30


def test_turning_the_comparison_round_turns_the_signs(three):
    fit, adata, _ = three
    there = differential_expression(fit, adata, groupby="group", group1="P0", group2="P2")
    back = differential_expression(fit, adata, groupby="group", group1="P2", group2="P0")
    for name, other in [("lfc_mean", "lfc_mean"), ("lfc_median", "lfc_median"), ("lfc_lower", "lfc_upper")]:
        np.testing.assert_allclose(there[name], -back[other], atol=1e-6)
    np.testing.assert_allclose(there["lfsr"], back["lfsr"], atol=1e-6)
    np.testing.assert_array_equal(there["is_de"], back["is_de"])
    np.testing.assert_allclose(there["mean1"], back["mean2"])


def test_raw_columns_are_those_of_the_counts(three):
    fit, adata, _ = three
    x = adata.X.toarray()
    for estimand in ("mean", "cell"):
        table = differential_expression(fit, adata, groupby="group", group1="P1", estimand=estimand, n_samples=50)
        mine = (adata.obs["group"] == "P1").to_numpy()
        shares = 1e4 * x / x.sum(1, keepdims=True)
        np.testing.assert_allclose(table["raw_mean1"], shares[mine].mean(0), rtol=1e-5)
        np.testing.assert_allclose(table["detected2"], (x[~mine] > 0).mean(0), rtol=1e-6)
        few = ~np.any([(x[m].sum(0) >= 10) & ((x[m] > 0).sum(0) >= 5) for m in (mine, ~mine)], axis=0)
        columns = ["proba_de", "lfsr", "bayes_factor", "lfc_mean", "lfc_median", "lfc_std", "lfc_lower", "lfc_upper"]
        np.testing.assert_array_equal(table[columns].isna().all(axis=1), few)
        np.testing.assert_array_equal(table[columns].isna().any(axis=1), few)
        assert not table["is_de"][few].any()


def test_delta_zero_does_not_call_the_change_that_most_genes_share():
    """In shares of a library most genes give way a little to those that go up; that is no change of theirs."""
    rng = np.random.default_rng(0)
    change = np.where(np.arange(500) < 25, 1.0, -0.05)
    found = _posterior(
        change + rng.normal(0, 0.02, 500), np.full(500, 0.02), Settings("mean", 0.0, True, 0.05, 5000, 0)
    )
    assert found["is_de"][:25].all() and found["is_de"][25:].sum() <= 3  # a share of the calls may be false
    np.testing.assert_allclose(found["proba_de"], 1 - found["lfsr"])


@pytest.mark.parametrize("n", [3, 5, 10, 15])
def test_a_few_cells_drawn_at_random_are_like_the_others(one, n):
    fit, adata = one
    calls = 0
    for seed in range(10):
        names = adata.obs_names[np.random.default_rng(100 * n + seed).permutation(adata.n_obs)[:n]].tolist()
        calls += bool(differential_expression(fit, adata, cells1=names)["is_de"].any())
    assert calls <= 1


def test_a_few_cells_of_another_group_are_told_from_the_others():
    rng = np.random.default_rng(9)
    change = np.where(rng.random(400) < 0.2, rng.choice([-2.0, 2.0], 400), 0.0)
    few = np.arange(600) < 8
    adata, _ = simulate_groups(9, np.zeros(600, dtype=int), library=1500, own=few[:, None] * change)
    found = differential_expression(fitted(adata), adata, cells1=few)
    assert found["is_de"].sum() > 15
    assert (np.sign(found["lfc_mean"]) == np.sign(change))[found["is_de"]].mean() > 0.95


def test_two_fifths_of_the_genes_may_go_one_way():
    rng = np.random.default_rng(8)
    change = np.where(rng.random(400) < 0.4, 1.0, 0.0)
    group = rng.choice(2, 900)
    adata, _ = simulate_groups(8, np.zeros(900, dtype=int), own=group[:, None] * change)
    adata.obs["side"] = np.where(group, "up", "as before")
    table = differential_expression(fitted(adata), adata, groupby="side", group1="up")
    false = table["is_de"] & (change == 0)
    assert table["is_de"][change > 0].mean() > 0.6
    assert false.sum() < 0.1 * table["is_de"].sum()
