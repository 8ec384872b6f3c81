"""Differential expression: a brute-force double loop, another implementation, planted truth, nulls, identities."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.special import expit
from scipy.stats import norm
from scipy.stats import t as t_distribution

from ldvae import differential_contributions, differential_expression, fit_ldvae
from ldvae.comparisons import moments as moments_module
from ldvae.comparisons.batches import BatchEffects
from ldvae.comparisons.contributions import path_jacobian
from ldvae.comparisons.differential import _posterior, contrast
from ldvae.comparisons.moments import Moments, moments, pool
from ldvae.comparisons.pairs import compare_pairs
from ldvae.comparisons.plan import plan_comparisons
from ldvae.fit.posterior import read_data, rebuild
from ldvae.stats.shrinkage import ash
from ldvae.stats.testing import normal_equivalent


def simulate(seed, groups, n_genes=400, library=700, batch=None, own=None):
    """NB counts of cells with `groups`; log expression = base + effect of the group + a program + batch + own shift.

    A third of the genes of every group but the first carry an effect, from a continuum around zero.
    """
    rng = np.random.default_rng(seed)
    n, n_groups = len(groups), int(groups.max()) + 1
    base = rng.normal(-0.5, 1.3, n_genes)
    effect = np.zeros((n_groups, n_genes))
    for g in range(1, n_groups):
        on = rng.random(n_genes) < 0.3
        effect[g, on] = 0.45 * np.clip(rng.standard_t(4, on.sum()), -4, 4)
    program = np.where(rng.random(n_genes) < 0.15, rng.normal(0, 0.5, n_genes), 0)
    score = rng.normal(size=(n, 1))
    eta = base + effect[groups] + score * program
    if batch is not None:
        eta = eta + rng.normal(0, 0.3, (int(batch.max()) + 1, n_genes))[batch]
    rho = np.exp(eta if own is None else eta + own)
    depth = library * np.exp(rng.normal(0, 0.35, n))
    mu = depth[:, None] * rho / rho.sum(1, keepdims=True)
    x = rng.poisson(mu * rng.gamma(3.3, 1 / 3.3, mu.shape)).astype(np.float32)
    mean = np.exp(base + effect[:, None] + rng.normal(size=(1, 2000, 1)) * program)
    mean = np.log2((mean / mean.sum(-1, keepdims=True)).mean(1))
    obs = pd.DataFrame({"group": pd.Categorical([f"P{g}" for g in groups])}, index=[f"c{i}" for i in range(n)])
    if batch is not None:
        obs["batch"] = pd.Categorical(batch.astype(str))
    return ad.AnnData(sp.csr_matrix(x), obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(n_genes)])), mean


def fitted(adata, **kwargs):
    return fit_ldvae(adata, max_epochs=20, n_latent=6, n_hidden=32, progress=False, device="cpu", **kwargs)


@pytest.fixture(scope="module")
def three():
    """Three groups of unequal size in two batches of which they have unequal shares."""
    rng = np.random.default_rng(1)
    groups = rng.choice(3, 1200, p=[0.5, 0.15, 0.35])
    batch = (rng.random(1200) < np.where(groups == 0, 0.85, 0.15)).astype(int)
    adata, truth = simulate(1, groups, batch=batch)
    adata.obs["half"] = pd.Categorical(rng.choice(["a", "b"], 1200))
    return fitted(adata, batch_key="batch"), adata, truth


@pytest.fixture(scope="module")
def one():
    """One population."""
    adata, _ = simulate(2, np.zeros(800, dtype=int))
    return fitted(adata), adata


def log_softmax(eta):
    eta = eta - eta.max(1, keepdims=True)
    return eta - np.log(np.exp(eta).sum(1, keepdims=True))


# --- the mean, against a double loop ---------------------------------------------------------------------------------


def test_mean_and_error_are_those_of_a_double_loop(three):
    """Draw loadings and latents from their posteriors, resample cells with their counts, average: again and again."""
    fit, adata, _ = three
    cells = read_data(fit, adata)
    plan = plan_comparisons(adata, groupby="group", group1="P2", group2="P0")
    found = moments(rebuild(fit), cells, plan.codes, len(plan.sample), True, 0)
    groups = [pool(found, units) for units in (plan.comparisons[0].units1, plan.comparisons[0].units2)]
    effect, std = contrast(*groups)
    w, rng, draws = fit.weights, np.random.default_rng(0), []
    counts = cells.counts.matrix.toarray()
    for _ in range(300):
        loadings = w["loadings"] + np.exp(0.5 * w["loadings_log_variance"]) * rng.normal(size=w["loadings"].shape)
        side = []
        for name in ("P2", "P0"):
            rows = rng.choice(np.flatnonzero(adata.obs["group"] == name), int((adata.obs["group"] == name).sum()))
            z = cells.mean[rows] + np.sqrt(cells.variance[rows]) * rng.normal(size=(len(rows), 6))
            eta = w["intercept"] + z @ loadings.T
            rho = np.exp(log_softmax(eta))
            mu = cells.counts.lib_size[rows, None] * np.exp(log_softmax(eta + cells.design[rows] @ w["design_effect"]))
            total = counts[rows].sum(0)
            side.append(np.log2(rho.mean(0) * (total + 0.5) / (mu.sum(0) + 0.5)))
        draws.append(side[0] - side[1])
    draws = np.array(draws)
    enough = np.minimum(groups[0].count, groups[1].count) > 50
    assert enough.sum() > 150
    error = (effect - draws.mean(0))[enough] / (draws.std(0)[enough])
    assert np.abs(error).max() < 0.6  # of a standard deviation: 300 draws, two of z, and the bootstrap's own bias
    assert np.sqrt((error**2).mean()) < 0.15
    ratio = (std / draws.std(0))[enough]
    assert abs(np.median(ratio) - 1) < 0.06
    assert np.quantile(ratio, 0.02) > 0.75 and np.quantile(ratio, 0.98) < 1.35


def test_the_correction_by_counts_makes_errors_of_the_loadings_cancel(three):
    fit, adata, _ = three
    cells = read_data(fit, adata)
    plan = plan_comparisons(adata, groupby="group", group1="P2", group2="P0")
    means = []
    for factor in (1.0, 0.5):  # a model whose loadings are half of what they should be
        model = rebuild(fit)
        model.loadings.data *= factor
        found = moments(model, cells, plan.codes, len(plan.sample), True, 0)
        means.append([pool(found, units) for units in (plan.comparisons[0].units1, plan.comparisons[0].units2)])
    effects = [contrast(*pair) for pair in means]
    enough = np.minimum(means[0][0].count, means[0][1].count) > 50
    change = (effects[1][0] - effects[0][0])[enough] / effects[0][1][enough]
    assert np.sqrt((change**2).mean()) < 0.2


def test_a_subset_of_the_cells_is_decoded_with_little_loss(three, monkeypatch):
    fit, adata, _ = three
    cells = read_data(fit, adata)
    codes = adata.obs["group"].cat.codes.to_numpy()
    whole = moments(rebuild(fit), cells, codes, 3, True, 0)
    monkeypatch.setattr(moments_module, "_CELLS_DECODED", 150)
    part = moments(rebuild(fit), cells, codes, 3, True, 0)
    a, b = (contrast(pool(m, np.array([0])), pool(m, np.array([2]))) for m in (whole, part))
    enough = np.minimum(whole.sums["count"][0], whole.sums["count"][2]) > 50
    assert not np.allclose(a[0], b[0])
    assert np.sqrt((((a[0] - b[0]) / a[1])[enough] ** 2).mean()) < 0.5
    assert abs(np.median((b[1] / a[1])[enough]) - 1) < 0.05


def test_batch_effects_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(0)
    group, batch = np.repeat([0, 1, 2], 2), np.tile([0, 1], 3)
    rho = np.exp(rng.normal(0, 0.2, (6, 50, 3)))
    mu = 4 * rho * np.exp(rng.normal(0, 0.3, (6, 50, 1)))
    x = rng.poisson(mu * np.exp(rng.normal(0, 0.3, (6, 1, 3)))).astype(float)
    products = {
        "rho_rho": rho * rho,
        "mu_mu": mu * mu,
        "x_x": x * x,
        "rho_mu": rho * mu,
        "rho_x": rho * x,
        "mu_x": mu * x,
    }
    arrays = {
        "rho": rho,
        "mu": mu,
        "x": x,
        "count": x,
        "share": x,
        "detected": x > 0,
        "rho_draws": rho * rho,
        **products,
    }
    sums = {name: values.sum(1).astype(float) for name, values in arrays.items()}
    sums |= {"left_open": np.zeros((6, 3)), "mu_mu_theta": sums["mu_mu"] / 5}
    found = Moments(np.full(6, 50.0), sums, x.max(1))
    effects = BatchEffects(found, group, batch)
    units = [pool(found, np.array([u])) for u in range(6)]
    for gene in range(3):
        w = np.sqrt([1 / unit.variance[gene] for unit in units])
        design = np.c_[np.eye(3)[group], np.eye(2)[batch]]
        y = np.log((sums["count"][:, gene] + 0.5) / (sums["mu"][:, gene] + 0.5))
        prior = np.c_[np.zeros((2, 3)), np.eye(2)]
        expected = np.linalg.lstsq(np.r_[design * w[:, None], prior], np.r_[y * w, 0, 0], rcond=None)[0][3:]
        np.testing.assert_allclose(effects.effect[:, gene], expected, atol=1e-10)
    offset, variance = effects.between(np.array([0, 1]), np.array([2, 3]))
    assert np.all(variance >= 0) and np.all(np.abs(offset) < 0.1)


def test_one_cell_that_holds_a_genes_counts_is_no_evidence_of_a_mean():
    rho, mu = np.full((8, 1), 0.01), np.full((8, 1), 2.0)
    spread, single = np.full((8, 1), 20.0), np.r_[[[160.0]], np.zeros((7, 1))]
    std = {}
    for name, x in (("spread", spread), ("single", single)):
        pairs = {"rho": rho, "mu": mu, "x": x, "count": x, "share": x, "detected": x > 0, "rho_draws": rho * rho}
        products = {"rho_rho": rho * rho, "mu_mu": mu * mu, "x_x": x * x, "rho_mu": rho * mu}
        pairs |= {**products, "rho_x": rho * x, "mu_x": mu * x}
        sums = {k: v.sum(0, keepdims=True).astype(float) for k, v in pairs.items()}
        sums |= {"left_open": np.zeros((1, 1)), "mu_mu_theta": sums["mu_mu"] / 5}
        group = pool(Moments(np.array([8.0]), sums, x.max(0, keepdims=True)), np.array([0]))
        std[name] = [float(np.sqrt(group.variance_if(np.array([lower]))[0])) for lower in (True, False)]
    assert max(std["spread"]) < 0.5
    assert std["single"][0] > np.log(100) and std["single"][1] < 2


def test_normal_equivalent_has_the_p_value_of_the_t_test():
    std, t, df = np.array([0.2, 0.5, 0.1, 0.3]), np.array([2.0, -3.0, 0.0, 1e-5]), np.array([3.0, 8.0, 4.0, 2.0])
    equal = normal_equivalent(std, t, df)
    np.testing.assert_allclose(norm.sf(np.abs(t * std / equal)), t_distribution.sf(np.abs(t), df), rtol=1e-6)
    assert np.all(equal > std)


def test_posterior_probabilities_and_quantiles_agree_with_draws():
    rng = np.random.default_rng(0)
    truth = np.where(rng.random(500) < 0.5, 0, rng.normal(0, 1, 500))
    shrunk = ash(truth + rng.normal(0, 0.4, 500), np.full(500, 0.4))
    sd, weight = shrunk.prior_std, shrunk.prior_weight
    for i in (0, 5, 17):  # importance sampling from the prior, component by component
        b = shrunk.estimate[i]
        component = rng.choice(len(sd), 400_000, p=weight / weight.sum())
        effect = sd[component] * rng.normal(size=len(component))
        w = norm.pdf(b, effect, 0.4)
        assert abs(shrunk.below(0.3)[i] - w[effect < 0.3].sum() / w.sum()) < 0.01
        assert abs(shrunk.below(0.0)[i] - w[effect < 0].sum() / w.sum()) < 0.01
        order = np.argsort(effect)
        cumulative = np.cumsum(w[order]) / w.sum()
        for q in (0.1, 0.5, 0.975):
            assert abs(shrunk.quantiles(q)[0, i] - effect[order][np.searchsorted(cumulative, q)]) < 0.03
    missing = ash(np.array([np.nan, 1.0, 2.0]), np.ones(3))
    assert np.isnan(missing.below(0.0)[0]) and np.isnan(missing.quantiles(0.5)[0, 0])


# --- cells, against another implementation ---------------------------------------------------------------------------


def test_pairs_of_cells_agree_with_plain_arrays(three):
    """The definition of scvi-tools' change mode in ten lines, fed the same cells and draws."""
    fit, adata, _ = three
    cells, w = read_data(fit, adata), fit.weights
    rows = [np.flatnonzero(adata.obs["group"] == name) for name in ("P0", "P1")]
    adjusted = compare_pairs(
        rebuild(fit), cells, *rows, delta=0.25, batch_correction=True, n_samples=600, rng=np.random.default_rng(3)
    )
    rng, share, rho, level = np.random.default_rng(3), np.array(fit.config.covariates[0]["share"]), [], []
    for chosen_from in rows:
        chosen = rng.choice(chosen_from, 600)
        z = cells.mean[chosen] + np.sqrt(cells.variance[chosen]) * rng.standard_normal((600, 6))
        eta = w["intercept"] + z @ w["loadings"].T + (np.eye(2)[np.arange(600) % 2] - share) @ w["design_effect"]
        rho.append(np.exp(log_softmax(eta)))
        rare = cells.counts.matrix[chosen_from].toarray().mean(0) < 0.01
        level.append(np.quantile(rho[-1][:, rare].max(0), 0.9) / 400 if rare.any() else 0)
    c = max(1e-10, *level)
    change = np.log2(rho[0] + c) - np.log2(rho[1] + c)
    expected = np.maximum((change >= 0.25).mean(0), (change < -0.25).mean(0))
    assert np.abs(adjusted["proba_de"] - expected).max() < 0.005  # single precision moves a pair across delta
    np.testing.assert_allclose(adjusted["lfc_mean"], change.mean(0), atol=1e-3)
    np.testing.assert_allclose(adjusted["lfc_std"], change.std(0), atol=1e-3)
    np.testing.assert_allclose(adjusted["mean1"], 1e4 * rho[0].mean(0), rtol=1e-3)


def test_blocks_of_genes_change_nothing(three, monkeypatch):
    fit, adata, _ = three
    arguments = dict(groupby="group", group1="P0", group2="P1", estimand="cell", n_samples=200)
    whole = differential_expression(fit, adata, **arguments)
    monkeypatch.setattr("ldvae.comparisons.pairs._BLOCK", 200 * 37)
    blocks = differential_expression(fit, adata, **arguments)
    for table in (whole, blocks):  # log odds move by unequal steps, as probabilities by equal ones
        table["bayes_factor"] = expit(table["bayes_factor"])
    # probabilities are shares of 200 draws, of which one may fall on the other side of a bound by rounding
    pd.testing.assert_frame_equal(whole, blocks, atol=1 / 200 + 1e-6, rtol=1e-4)


# --- planted truth and nulls -----------------------------------------------------------------------------------------


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
    adata, _ = simulate(3, np.zeros(900, dtype=int))
    rng = np.random.default_rng(0)
    thin = adata.X.toarray()
    thin[groups == 0] = rng.binomial(thin[groups == 0].astype(int), 1 / 3)  # a third of the depth
    adata.X = sp.csr_matrix(thin.astype(np.float32))
    adata.obs["depth"] = np.where(groups == 0, "shallow", "deep")
    table = differential_expression(fitted(adata), adata, groupby="depth", group1="deep")
    assert table["proba_de"].notna().sum() > 300
    assert table["is_de"].sum() == 0 and (table["lfsr"] < 0.05).sum() <= 1


def test_batches_are_taken_out_where_groups_have_unequal_shares_of_them():
    rng = np.random.default_rng(5)
    side = rng.choice(["x", "y"], 900)
    batch = (rng.random(900) < np.where(side == "x", 0.8, 0.2)).astype(int)
    adata, _ = simulate(5, np.zeros(900, dtype=int), batch=batch)
    adata.obs["side"] = side
    fit = fitted(adata, batch_key="batch")
    table = differential_expression(fit, adata, groupby="side", group1="x")
    assert table["is_de"].sum() == 0 and (table["lfsr"] < 0.05).sum() <= 2
    assert differential_expression(fit, adata, groupby="side", group1="x", batch_correction=False)["is_de"].sum() > 10


def test_a_group_with_one_cell_in_a_batch_is_compared_like_without_it(fit, simulated):
    rows = np.flatnonzero(~((simulated.obs["population"] == "P0") & (simulated.obs["batch"] == "B1")))
    one = np.flatnonzero((simulated.obs["population"] == "P0") & (simulated.obs["batch"] == "B1"))[:1]
    groups = dict(groupby="population", group1="P0", group2="P1")
    without = differential_expression(fit, simulated[rows].copy(), **groups)
    found = differential_expression(fit, simulated[np.r_[rows, one]].copy(), **groups)
    tested = without["lfc_mean"].notna()
    assert found["lfc_mean"][tested].notna().all()
    assert (found["lfc_mean"] - without["lfc_mean"])[tested].abs().max() < 0.3


def test_groups_without_a_common_batch_are_warned_about():
    batch = np.repeat([0, 1], 60)
    adata, _ = simulate(6, np.zeros(120, dtype=int), n_genes=120, batch=batch)
    fit = fitted(adata, batch_key="batch")
    adata.obs["side"] = np.where(batch == 0, "x", "y")
    with pytest.warns(UserWarning, match="share no level of 'batch'.*: x against rest"):
        differential_expression(fit, adata, groupby="side", group1="x")


def test_donors_are_the_replicates_where_samples_are_named():
    rng = np.random.default_rng(7)
    donor = np.repeat(np.arange(6), 150)
    own = rng.normal(0, 0.35, (6, 400))[donor] * (rng.random(400) < 0.5)
    adata, _ = simulate(7, np.zeros(900, dtype=int), own=own)
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


# --- identities ------------------------------------------------------------------------------------------------------


def test_turning_the_comparison_round_turns_the_signs(three):
    fit, adata, _ = three
    there = differential_expression(fit, adata, groupby="group", group1="P0", group2="P2")
    back = differential_expression(fit, adata, groupby="group", group1="P2", group2="P0")
    for name, other in [("lfc_mean", "lfc_mean"), ("lfc_median", "lfc_median"), ("lfc_lower", "lfc_upper")]:
        np.testing.assert_allclose(there[name], -back[other], atol=1e-6)
    np.testing.assert_allclose(there["lfsr"], back["lfsr"], atol=1e-6)
    np.testing.assert_array_equal(there["is_de"], back["is_de"])
    np.testing.assert_allclose(there["mean1"], back["mean2"])


def test_the_rest_is_the_union_of_the_others_and_all_pairs_are_each_pair(three):
    fit, adata, _ = three
    every = differential_expression(fit, adata, groupby="group")
    assert list(every["group1"].unique()) == ["P0", "P1", "P2"] and set(every["group2"]) == {"rest"}
    union = differential_expression(fit, adata, cells1=(adata.obs["group"] == "P1").to_numpy())
    part = every[every["group1"] == "P1"].reset_index(drop=True)
    numbers = ["mean1", "mean2", "raw_mean2", "detected2"]
    np.testing.assert_allclose(part[numbers], union[numbers], rtol=1e-4)
    pairs = differential_expression(fit, adata, groupby="group", group2="pairwise")
    assert pairs[["group1", "group2"]].drop_duplicates().to_numpy().tolist() == [
        ["P0", "P1"],
        ["P0", "P2"],
        ["P1", "P2"],
    ]
    some = pairs[(pairs["group1"] == "P0") & (pairs["group2"] == "P2")].reset_index(drop=True)
    single = differential_expression(fit, adata, groupby="group", group1="P0", group2="P2")
    np.testing.assert_allclose(some["mean1"], single["mean1"], rtol=1e-5)


def test_within_compares_inside_each_level(three):
    fit, adata, _ = three
    table = differential_expression(fit, adata, groupby="group", group1="P0", group2="P2", within="half")
    assert list(table["within"].unique()) == ["a", "b"]
    inside = (adata.obs["half"] == "a").to_numpy()
    sets = [inside & (adata.obs["group"] == name).to_numpy() for name in ("P0", "P2")]
    names = adata.obs_names[sets[1]].tolist()
    same = differential_expression(fit, adata, cells1=sets[0], cells2=names)
    part = table[table["within"] == "a"].reset_index(drop=True)
    numbers = ["mean1", "mean2", "raw_mean1", "raw_mean2", "detected1", "detected2"]
    np.testing.assert_allclose(part[numbers], same[numbers], rtol=1e-4)
    assert set(same["within"]) == {"all"} and set(same["group2"]) == {"cells2"}


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


def test_cells_without_a_label_take_no_part(three):
    fit, adata, _ = three
    some = adata.copy()
    some.obs["group"] = some.obs["group"].cat.remove_categories("P2")
    explicit = differential_expression(fit, adata, groupby="group", group1="P0", group2="P1")
    np.testing.assert_allclose(
        differential_expression(fit, some, groupby="group", group1="P0")["mean2"], explicit["mean2"], rtol=1e-6
    )


def test_the_seed_decides_and_nothing_else(three):
    fit, adata, _ = three
    arguments = dict(groupby="group", group1="P0", group2="P1", estimand="cell", n_samples=100)
    np.random.seed(1)  # noqa: NPY002
    first = differential_expression(fit, adata, **arguments)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    pd.testing.assert_frame_equal(first, differential_expression(fit, adata, **arguments))
    assert not first.equals(differential_expression(fit, adata, seed=1, **arguments))


# --- contributions ---------------------------------------------------------------------------------------------------


def test_contributions_of_a_linear_decoder_sum_to_the_change_of_log_expression(three):
    fit, adata, _ = three
    table = differential_contributions(fit, adata, groupby="group", group1="P1", group2="P2")
    cells, w, rng = read_data(fit, adata), fit.weights, np.random.default_rng(9)
    means = []
    for name in ("P1", "P2"):
        rows = np.flatnonzero(adata.obs["group"] == name)
        log_rho, rho = 0.0, 0.0
        for _ in range(40):
            z = cells.mean[rows] + np.sqrt(cells.variance[rows]) * rng.normal(size=(len(rows), 6))
            draw = log_softmax(w["intercept"] + z @ w["loadings"].T) / np.log(2)
            log_rho, rho = log_rho + draw.mean(0) / 40, rho + np.exp2(draw).mean(0) / 40
        means.append((log_rho, np.log2(rho)))
    total = table.groupby("gene", sort=False)["contribution"].sum().to_numpy()
    np.testing.assert_allclose(total, means[0][0] - means[1][0], atol=0.03)
    gap = table[table["factor"] == "Z_1"]["jensen_gap"].to_numpy()
    np.testing.assert_allclose(gap, (means[0][1] - means[1][1]) - (means[0][0] - means[1][0]), atol=0.05)
    remainder = table[table["factor"] == "remainder"]["contribution"].to_numpy()
    assert np.ptp(remainder) < 1e-4  # the normaliser: one number for all genes
    scores = (cells.mean - fit.factors["center"]) @ fit.factors["rotation"]
    difference = [scores[adata.obs["group"] == name].mean(0) for name in ("P1", "P2")]
    third = table[table["factor"] == "Z_3"]["contribution"].to_numpy()
    np.testing.assert_allclose(third, fit.factors["loadings"][:, 2] * (difference[0] - difference[1])[2], atol=1e-5)


def of_samples(fit, adata, first, second):
    """Contribution of the third factor if every sample has the same weight, and the change of mean log expression."""
    cells, w, rng = read_data(fit, adata), fit.weights, np.random.default_rng(9)
    z = cells.mean + np.sqrt(cells.variance) * rng.normal(size=(60, *cells.mean.shape))
    log_rho = np.mean([log_softmax(w["intercept"] + draw @ w["loadings"].T) for draw in z], axis=0) / np.log(2)
    score = ((cells.mean - fit.factors["center"]) @ fit.factors["rotation"])[:, 2]
    means = [
        [(score[rows].mean(), log_rho[rows].mean(0)) for rows in side] for side in (first, second)
    ]  # per side and sample
    (score1, log1), (score2, log2) = ([np.mean([m[i] for m in side], axis=0) for i in (0, 1)] for side in means)
    return fit.factors["loadings"][:, 2] * (score1 - score2), log1 - log2


def test_contributions_give_every_sample_the_same_weight(three):
    fit, adata, _ = three
    rng = np.random.default_rng(4)
    cells = adata[:, :].copy()
    within = pd.Series(rng.choice(["a", "b", "c", "d"], cells.n_obs, p=[0.7, 0.15, 0.1, 0.05]))
    few = np.flatnonzero(cells.obs["group"] == "P1")
    within[few] = rng.choice(["a", "b", "c"], len(few), p=[0.2, 0.4, 0.4])  # no cells of d: it cannot be paired
    within[few[:4]] = "e"  # too few cells to be a sample
    cells.obs["donor"] = within.to_numpy()
    cells.obs["animal"] = (cells.obs["group"].astype(str) + cells.obs["donor"]).to_numpy()
    for key, samples in (
        ("donor", [list("abc")] * 2),
        ("animal", [["P1a", "P1b", "P1c"], ["P2a", "P2b", "P2c", "P2d"]]),
    ):
        given = dict(groupby="group", group1="P1", group2="P2", sample_key=key)
        table = differential_contributions(fit, cells, **given)
        rows = [
            [np.flatnonzero((cells.obs["group"] == group) & (cells.obs[key] == s)) for s in names]
            for group, names in zip(("P1", "P2"), samples, strict=True)
        ]
        third, total = of_samples(fit, cells, *rows)
        np.testing.assert_allclose(table.loc[table["factor"] == "Z_3", "contribution"], third, atol=1e-5)
        np.testing.assert_allclose(table.groupby("gene", sort=False)["contribution"].sum(), total, atol=0.04)
        assert np.ptp(table.loc[table["factor"] == "remainder", "contribution"]) < 1e-4
        # and with the gap to the change that differential expression is about
        change = (
            table.groupby("gene", sort=False)["contribution"].sum()
            + table.loc[: len(fit.genes) - 1, "jensen_gap"].to_numpy()
        )
        de = differential_expression(fit, cells, **given)
        counted = (de[["raw_mean1", "raw_mean2"]].min(axis=1) > 10).to_numpy()
        assert counted.sum() > 50
        assert np.corrcoef(change[counted], de.loc[counted, "lfc_mean"])[0, 1] > 0.9
    pooled = differential_contributions(fit, cells, groupby="group", group1="P1", group2="P2")
    assert np.abs(pooled["contribution"] - table["contribution"]).max() > 0.02


def test_contributions_of_too_few_samples_are_left_out(three):
    fit, adata, _ = three
    cells = adata.copy()
    cells.obs["donor"] = np.where(cells.obs["group"] == "P1", "a", cells.obs["half"])
    given = dict(groupby="group", group2="P0", sample_key="donor")
    with pytest.raises(
        ValueError, match=r"`sample_key`: group 'P1' has 1 sample; .* at least 2 .*least 5 cells each\)\."
    ):
        differential_contributions(fit, cells, group1="P1", **given)
    for function in (differential_contributions, differential_expression):
        with pytest.warns(UserWarning, match="Left out were 1 comparisons, the first because group 'P1'") as caught:
            table = function(fit, cells, group1=["P1", "P2"], **given)
        assert set(table["group1"]) == {"P2"} and caught[0].filename == __file__


def test_contributions_of_a_nonlinear_decoder_follow_the_path(three):
    _, adata, _ = three
    fit = fitted(adata, decoder="nonlinear", batch_key="batch")
    table = differential_contributions(fit, adata, groupby="group", group1="P1", group2="P2")
    model, share = rebuild(fit), fit.config.covariates[0]["share"]
    ends = [fit.latent_mean[adata.obs["group"] == name].mean(0) for name in ("P1", "P2")]
    at_end = []
    for z in ends:
        logits = [
            model.decode(torch.from_numpy(z[None]).float(), torch.eye(2)[[b]] - torch.tensor([share])) for b in (0, 1)
        ]
        at_end.append(
            sum(s * torch.log_softmax(x.detach().double(), -1)[0].numpy() for s, x in zip(share, logits, strict=True))
        )
    change = (at_end[0] - at_end[1]) / np.log(2)
    factors = table[table["factor"] != "remainder"].groupby("gene", sort=False)["contribution"].sum().to_numpy()
    assert np.abs(change).max() > 0.5
    np.testing.assert_allclose(factors, change - change.mean(), atol=0.03 * np.abs(change).max())
    jacobian = path_jacobian(model, ends[1], ends[0], steps=200)
    np.testing.assert_allclose(jacobian @ (ends[0] - ends[1]), at_end[0] - at_end[1], atol=5e-3 * np.abs(change).max())


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`groupby` must name a column of adata.obs, or `cells1` some cells; both are missing."),
        ({"groupby": "nothing"}, "`groupby` must name a column of adata.obs"),
        ({"groupby": "group", "group1": "Q"}, "`group1` must name levels of 'group' .'P0', 'P1', 'P2'., not 'Q'."),
        ({"groupby": "group", "group1": "P0", "group2": "P0"}, "must be different, and both name 'P0'"),
        ({"groupby": "group", "group1": "P0", "group2": "pairwise"}, "only with at least two levels"),
        ({"groupby": "group", "group2": ["P0", "P1"]}, "`group2` must be one level, 'pairwise' or None"),
        ({"cells1": ["c1", "x1"]}, "`cells1` names 1 cells that are not in `adata`: 'x1'."),
        ({"cells1": np.zeros(1200, dtype=bool)}, "`cells1` must hold at least one cell"),
        ({"cells1": np.ones(7, dtype=bool)}, "a mask of 7 cells, but `adata` has 1200"),
        ({"cells1": ["c1", "c2", "c3"], "cells2": ["c3", "c4"]}, "must not overlap, but 1 cells are in both"),
        ({"cells2": ["c1"]}, "`cells2` needs `cells1`"),
        ({"cells1": ["c1"], "groupby": "group"}, "cannot be combined"),
        ({"cells1": ["c1", "c2"]}, "There is nothing to compare, only groups with fewer than 3 cells on one side"),
        ({"groupby": "group", "within": "group"}, "`within` and `groupby` must be different columns"),
        ({"groupby": "group", "estimand": "median"}, "`estimand` must be one of 'mean', 'cell'"),
        ({"groupby": "group", "estimand": "cell", "sample_key": "half"}, "pairs of cells have no samples"),
        ({"groupby": "group", "fdr_target": 2}, "`fdr_target` must be"),
        ({"groupby": "group", "group1": "P0", "sample_key": "single"}, "`sample_key`: group 'P0' has 1 sample"),
    ],
)
def test_mistakes_are_told_in_one_sentence(three, arguments, message):
    fit, adata, _ = three
    adata.obs["single"] = "same"
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        differential_expression(fit, adata, **arguments)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_levels_with_few_cells_are_left_out_with_a_warning(three):
    fit, adata, _ = three
    few = adata.copy()
    label = few.obs["group"].astype(str).to_numpy()
    label[:2] = "rare"
    few.obs["group"] = label
    with pytest.warns(UserWarning, match="Left out were 1 comparisons with fewer than 3 cells .*'rare against rest'"):
        assert "rare" not in set(differential_expression(fit, few, groupby="group")["group1"])


def test_tables_that_cannot_be_held_are_refused(monkeypatch):
    monkeypatch.setattr("ldvae.machine.memory.free_memory", lambda: 1e11)
    obs = pd.DataFrame({"group": [f"P{i}" for i in range(500)] * 4}, index=[f"c{i}" for i in range(2000)])
    adata = ad.AnnData(sp.csr_matrix(np.ones((2000, 2), np.float32)), obs=obs)
    with pytest.raises(
        ValueError, match=r"124,750 comparisons of 14,000 genes need about 3.49e\+11 bytes .* `group1`\."
    ):
        plan_comparisons(adata, groupby="group", group2="pairwise", n_genes=14_000)


def test_delta_zero_does_not_call_the_change_that_most_genes_share():
    """In shares of a library most genes give way a little to those that go up; that is no change of theirs."""
    rng = np.random.default_rng(0)
    change = np.where(np.arange(500) < 25, 1.0, -0.05)
    found = _posterior(change + rng.normal(0, 0.02, 500), np.full(500, 0.02), delta=0.0, fdr_target=0.05)
    assert found["is_de"][:25].all() and found["is_de"][25:].sum() <= 3  # a share of the calls may be false
    np.testing.assert_allclose(found["proba_de"], 1 - found["lfsr"])
