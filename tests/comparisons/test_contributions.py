"""What factors contribute to a difference, against the decoder itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ldvae import differential_contributions, differential_expression
from ldvae.comparisons.contributions import path_jacobian
from ldvae.fit.cells import read_data
from ldvae.fit.posterior import rebuild
from planted import fitted, log_softmax


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
    by_factor = decoder_loadings(fit) * (difference[0] - difference[1])
    parts = table.groupby("factor", sort=False)["contribution"].apply(np.array)
    assert parts.index.tolist() == ["Z_1", "Z_2", "inactive", "remainder"] and fit.factors["active"].sum() == 2
    for k, factor in enumerate(["Z_1", "Z_2"]):
        np.testing.assert_allclose(parts[factor], by_factor[:, k], atol=1e-5)
    np.testing.assert_allclose(parts["inactive"], by_factor[:, 2:].sum(1), atol=1e-5)


def decoder_loadings(fit):
    """Of the canonical factors as the decoder has them (genes × factors, log2), not shrunk."""
    w = fit.weights["loadings"]
    return (w - w.mean(0)) @ np.linalg.pinv(fit.factors["rotation"]).T / np.log(2)


def of_samples(fit, adata, first, second):
    """Contribution of the second factor if every sample has the same weight, and the change of mean log expression."""
    cells, w, rng = read_data(fit, adata), fit.weights, np.random.default_rng(9)
    z = cells.mean + np.sqrt(cells.variance) * rng.normal(size=(60, *cells.mean.shape))
    log_rho = np.mean([log_softmax(w["intercept"] + draw @ w["loadings"].T) for draw in z], axis=0) / np.log(2)
    score = ((cells.mean - fit.factors["center"]) @ fit.factors["rotation"])[:, 1]
    means = [
        [(score[rows].mean(), log_rho[rows].mean(0)) for rows in side] for side in (first, second)
    ]  # per side and sample
    (score1, log1), (score2, log2) = ([np.mean([m[i] for m in side], axis=0) for i in (0, 1)] for side in means)
    return decoder_loadings(fit)[:, 1] * (score1 - score2), log1 - log2


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
        second, total = of_samples(fit, cells, *rows)
        np.testing.assert_allclose(table.loc[table["factor"] == "Z_2", "contribution"], second, atol=1e-5)
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
    model, share = rebuild(fit), fit.config.batch.share
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
    assert np.abs(change).max() > 0.3
    np.testing.assert_allclose(factors, change - change.mean(), atol=0.03 * np.abs(change).max())
    jacobian = path_jacobian(model, ends[1], ends[0], steps=200)
    np.testing.assert_allclose(jacobian @ (ends[0] - ends[1]), at_end[0] - at_end[1], atol=1e-2 * np.abs(change).max())
