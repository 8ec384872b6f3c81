"""Mean expression of groups with its error, against a double loop."""

from __future__ import annotations

import numpy as np

from ldvae.comparisons.differential import contrast
from ldvae.comparisons.moments import Moments, moments, pool
from ldvae.comparisons.plan import plan_comparisons
from ldvae.fit.cells import read_data
from ldvae.fit.posterior import rebuild
from planted import log_softmax


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
            rho = np.exp(log_softmax(w["intercept"] + z @ loadings.T + cells.design[rows] @ w["design_effect"]))
            mu = cells.counts.lib_size[rows, None] * rho
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
    monkeypatch.setattr("ldvae.comparisons.moments.CELLS_DECODED", 150)
    part = moments(rebuild(fit), cells, codes, 3, True, 0)
    a, b = (contrast(pool(m, np.array([0])), pool(m, np.array([2]))) for m in (whole, part))
    enough = np.minimum(whole.sums["count"][0], whole.sums["count"][2]) > 50
    assert not np.allclose(a[0], b[0])
    assert np.sqrt((((a[0] - b[0]) / a[1])[enough] ** 2).mean()) < 0.5
    assert abs(np.median((b[1] / a[1])[enough]) - 1) < 0.05


def test_one_cell_that_holds_a_genes_counts_is_no_evidence_of_a_mean():
    rho, mu = np.full((8, 1), 0.01), np.full((8, 1), 2.0)
    spread, single = np.full((8, 1), 20.0), np.r_[[[160.0]], np.zeros((7, 1))]
    std, library = {}, np.array([[8 * 200.0, 8 * 200.0**2]])
    for name, x in (("spread", spread), ("single", single)):
        pairs = {
            "rho": rho,
            "mu": mu,
            "x": x,
            "count": x,
            "share": x,
            "detected": x > 0,
            "rho_draws": rho * rho,
            "square": x * x,
        }
        products = {"rho_rho": rho * rho, "mu_mu": mu * mu, "x_x": x * x, "rho_mu": rho * mu}
        pairs |= {**products, "rho_x": rho * x, "mu_x": mu * x, "by_library": 200 * x, "square": x * x}
        sums = {k: v.sum(0, keepdims=True).astype(float) for k, v in pairs.items()}
        sums |= {"left_open": np.zeros((1, 1)), "mu_mu_theta": sums["mu_mu"] / 5}
        group = pool(Moments(np.array([8.0]), sums, x.max(0, keepdims=True), library), np.array([0]))
        std[name] = [float(np.sqrt(group.variance_if(np.array([lower]))[0])) for lower in (True, False)]
    assert max(std["spread"]) < 0.5
    assert std["single"][0] > np.log(100) and std["single"][1] < 2
