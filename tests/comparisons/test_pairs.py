"""Pairs of cells, against another implementation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy.special import expit

from ldvae import differential_expression
from ldvae.comparisons.pairs import compare_pairs
from ldvae.fit.cells import read_data
from ldvae.fit.posterior import rebuild
from planted import log_softmax


def test_pairs_of_cells_agree_with_plain_arrays(three):
    """The definition of scvi-tools' change mode in ten lines, fed the same cells and draws."""
    fit, adata, _ = three
    cells, w = read_data(fit, adata), fit.weights
    rows = [np.flatnonzero(adata.obs["group"] == name) for name in ("P0", "P1")]
    adjusted = compare_pairs(
        rebuild(fit), cells, *rows, delta=0.25, batch_correction=True, n_samples=600, rng=np.random.default_rng(3)
    )
    rng, share, rho, level = np.random.default_rng(3), np.array(fit.config.batch.share), [], []
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
    monkeypatch.setattr("ldvae.comparisons.pairs.AT_A_TIME", 200 * 37)
    blocks = differential_expression(fit, adata, **arguments)
    for table in (whole, blocks):  # log odds move by unequal steps, as probabilities by equal ones
        table["bayes_factor"] = expit(table["bayes_factor"])
    # probabilities are shares of 200 draws, of which one may fall on the other side of a bound by rounding
    pd.testing.assert_frame_equal(whole, blocks, atol=1 / 200 + 1e-6, rtol=1e-4)


def test_the_seed_decides_and_nothing_else(three):
    fit, adata, _ = three
    arguments = dict(groupby="group", group1="P0", group2="P1", estimand="cell", n_samples=100)
    np.random.seed(1)  # noqa: NPY002
    first = differential_expression(fit, adata, **arguments)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(3)
    pd.testing.assert_frame_equal(first, differential_expression(fit, adata, **arguments))
    assert not first.equals(differential_expression(fit, adata, seed=1, **arguments))
