"""New cells are treated as training cells were; expression, offsets and the linear map are what the decoder says."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from ldvae import fit_ldvae, get_latent
from ldvae.fit import posterior
from ldvae.fit.cells import read_data
from ldvae.fit.posterior import design_offset, latent_moments, linear_map, log_rho, rebuild
from ldvae.model.config import Config
from ldvae.model.network import LDVAE


def renamed(adata, **kwargs):
    new = ad.AnnData(adata.X.copy(), obs=adata.obs.copy(), var=adata.var.copy(), **kwargs)
    new.obs_names = [f"new{i}" for i in range(new.n_obs)]
    return new


def test_training_cells_keep_their_posterior(fit, simulated):
    data = read_data(fit, simulated)
    assert data.mean is fit.latent_mean and data.variance is fit.latent_variance
    assert data.design.shape == (600, 2)


def test_new_cells_are_encoded_as_training_cells_were(fit, simulated):
    data = read_data(fit, renamed(simulated))
    assert data.mean is not fit.latent_mean
    assert np.allclose(data.mean, fit.latent_mean, atol=1e-4)
    assert np.allclose(data.variance, fit.latent_variance, rtol=1e-4)


def test_a_cell_is_encoded_alone_as_among_others(fit, simulated):
    data = read_data(fit, simulated[[17, 3, 599]].copy())
    assert np.allclose(data.mean, fit.latent_mean[[17, 3, 599]], atol=1e-4)
    assert np.allclose(data.counts.lib_size, fit.lib_size[[17, 3, 599]])


def test_blocks_of_cells_are_encoded_the_same(fit, simulated, monkeypatch):
    whole = read_data(fit, renamed(simulated)).mean
    data = read_data(fit, renamed(simulated))
    counts = posterior.SparseCounts(data.counts.matrix, data.counts.lib_size, data.design, torch.device("cpu"))
    parts, _ = posterior.encode(rebuild(fit), counts, block=7)
    assert np.allclose(parts, whole, atol=1e-5)


def test_training_cells_with_other_counts_are_encoded_anew(fit, simulated):
    thinned = simulated.copy()
    thinned.X = sp.csr_matrix(np.floor(thinned.X.toarray() / 2) + (np.arange(150) == 0))
    assert not np.allclose(read_data(fit, thinned).mean, fit.latent_mean, atol=1e-2)


def test_the_order_of_genes_and_further_genes_do_not_matter(fit, simulated):
    rng = np.random.default_rng(0)
    extra = ad.AnnData(
        sp.csr_matrix(np.c_[simulated.X.toarray(), rng.poisson(3.0, (600, 4))]), obs=renamed(simulated).obs
    )
    extra.var_names = [*simulated.var_names, *"wxyz"]
    shuffled = extra[:, rng.permutation(154)].copy()
    wanted = get_latent(fit)
    for adata in (extra, shuffled, extra[:, :150].copy()[:, ::-1].copy()):
        found = get_latent(fit, adata)
        assert found["cell"].tolist() == adata.obs_names.tolist()
        assert np.allclose(found.iloc[:, 1:], wanted.iloc[:, 1:], atol=2e-4)
        assert np.allclose(read_data(fit, adata).counts.lib_size, fit.lib_size)


def test_missing_genes_are_named(fit, simulated):
    few = renamed(simulated[:, [j for j in range(150) if j not in (1, 7)]])
    with pytest.warns(
        UserWarning, match=r"^2 of 150 genes of the fit are not in `adata` \('G1', 'G7'\); the others hold"
    ):
        cells = read_data(fit, few)
    assert cells.fit.genes.tolist() == few.var_names.tolist() == cells.counts.genes.tolist()
    whole = read_data(fit, renamed(simulated))
    assert whole.fit is fit and np.corrcoef(cells.mean.ravel(), whole.mean.ravel())[0, 1] > 0.99
    with pytest.warns(UserWarning, match="of 150 genes of the fit are not in `adata`"):
        half = read_data(fit, renamed(simulated[:, :75]))
    assert half.variance.mean() > 1.1 * whole.variance.mean()  # less is known


def test_unknown_batches_are_named(fit, simulated):
    other = renamed(simulated)
    other.obs["batch"] = other.obs["batch"].astype(str).replace("B1", "B9")
    with pytest.warns(UserWarning, match=r"^'batch' has levels that the fit has not seen \('B9'\)"):
        cells = read_data(fit, other)
    assert np.array_equal(cells.mean, read_data(fit, renamed(simulated)).mean)
    assert (cells.design[(other.obs["batch"] == "B9").to_numpy()] == 0).all()


def test_library_sizes_of_some_genes_come_from_all(simulated, few_genes):
    assert not few_genes.config.closed and np.array_equal(few_genes.lib_size, simulated.X.sum(1).A1)
    found = read_data(few_genes, renamed(simulated))
    assert np.array_equal(found.counts.lib_size, few_genes.lib_size)
    assert found.counts.genes.tolist() == few_genes.genes.tolist() == ["G7", "G5", *(f"G{j}" for j in range(20, 80))]
    assert np.allclose(found.mean, few_genes.latent_mean, atol=1e-4)


def test_the_model_is_rebuilt_from_its_arrays(fit):
    model = rebuild(fit)
    assert not model.training
    for name, value in model.state_dict().items():
        assert np.array_equal(value.numpy(), fit.weights[name]), name
    with torch.no_grad():
        model.loadings.fill_(0)  # a copy: the fit stays as it is
    assert fit.weights["loadings"].any()


def test_moments_of_the_logistic_normal(monkeypatch):
    config = Config(n_genes=5, n_latent=3, n_hidden=4, latent_distribution="ln")
    model = LDVAE(config, torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(0, 1, (6, 3)).astype(np.float32), rng.uniform(0.1, 1, (6, 3)).astype(np.float32)
    draws = mean + np.sqrt(variance) * rng.standard_normal((40_000, 6, 3))
    draws = np.exp(draws) / np.exp(draws).sum(-1, keepdims=True)
    rough = latent_moments(model, mean, variance)
    assert np.allclose(rough[0], draws.mean(0), atol=0.08) and np.allclose(rough[0].sum(1), 1, atol=1e-5)
    monkeypatch.setattr(posterior, "_DRAWS", 20_000)
    exact = latent_moments(model, mean, variance)
    assert np.allclose(exact[0], draws.mean(0), atol=0.005) and np.allclose(exact[1], draws.var(0), atol=0.002)


def test_moments_of_the_gaussian_are_its_own(fit):
    mean, variance = latent_moments(rebuild(fit), fit.latent_mean, fit.latent_variance)
    assert mean is fit.latent_mean and variance is fit.latent_variance


def decoded(model, z, design):
    parts = []
    log_rho(model, z, design, lambda rows, values: parts.append((rows, values.numpy())))
    assert [rows.start for rows, _ in parts] == list(range(0, len(z), posterior._BLOCK))
    return np.concatenate([values for _, values in parts])


def test_log_expression_of_the_linear_decoder_is_its_formula(fit, simulated, monkeypatch):
    monkeypatch.setattr(posterior, "_BLOCK", 100)
    data = read_data(fit, simulated)
    w = fit.weights
    logits = data.mean @ w["loadings"].T + w["intercept"] + data.design @ w["design_effect"]
    wanted = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert np.allclose(decoded(rebuild(fit), data.mean, data.design), wanted, atol=1e-4)


def test_the_offset_of_covariates_is_their_effect_up_to_a_constant_per_cell(fit, simulated):
    design = read_data(fit, simulated).design[:20]
    effect = design @ fit.weights["design_effect"]
    assert np.abs(effect).max() > 0.01
    offset = design_offset(rebuild(fit), fit.latent_mean.mean(0), design)
    assert np.ptp(offset - effect, axis=1).max() < 1e-4


def test_the_offset_of_covariates_with_some_genes_is_their_effect(few_genes):
    design = np.array([[0.5, -0.5], [-0.5, 0.5], [0, 0]], np.float32)
    offset = design_offset(rebuild(few_genes), few_genes.latent_mean[0], design)
    assert np.allclose(offset, design @ few_genes.weights["design_effect"], atol=1e-5)
    assert np.abs(offset[2]).max() < 1e-6  # products of one row and of three round differently


def test_no_covariates_no_offset(simulated, settings):
    fit = fit_ldvae(simulated, **settings | {"max_epochs": 1})
    assert design_offset(rebuild(fit), fit.latent_mean[0], np.zeros((9, 0), np.float32)).tolist() == [[0.0] * 150]


def test_the_linear_map_of_a_linear_decoder_is_its_loadings(fit):
    assert np.array_equal(linear_map(rebuild(fit), fit.latent_mean, fit.latent_variance), fit.weights["loadings"])


def test_the_linear_map_of_a_non_linear_decoder_is_its_average_slope(curved):
    model = rebuild(curved)
    rng = np.random.default_rng(1)
    z = rng.normal(size=(3000, 6)).astype(np.float32)  # the slope averages over a Gaussian, as Stein's lemma asks
    found = linear_map(model, z, np.full_like(z, 1e-8))
    zeros = np.zeros((3000, 2), np.float32)
    slopes = np.empty((150, 6))
    for k in range(6):
        step = np.zeros(6, np.float32)
        step[k] = 0.05
        change = decoded(model, z + step, zeros) - decoded(model, z - step, zeros)
        slopes[:, k] = (change - change.mean(1, keepdims=True)).mean(0) / 0.1
    assert slopes.std() > 0.02
    assert np.corrcoef(found.ravel(), slopes.ravel())[0, 1] > 0.95
    assert np.polyfit(slopes.ravel(), found.ravel(), 1)[0] == pytest.approx(1, abs=0.1)


def test_size_factors_of_some_cells_mean_what_they_meant_in_the_fit(simulated, settings):
    cells = simulated.copy()
    cells.obs["size"] = np.linspace(0.5, 2, cells.n_obs)
    fit = fit_ldvae(cells, size_factor_key="size", **(settings | {"max_epochs": 1}))
    data = read_data(fit, cells[:100].copy())
    assert np.allclose(data.counts.lib_size, fit.lib_size[:100])
