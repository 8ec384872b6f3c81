"""Positions for neighbours and clusters: the maximum that they claim to be, cell by cell, of fits of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import nbinom

from ldvae import fit_ldvae, get_factors, get_latent, get_loadings
from ldvae.fit.cells import read_data
from ldvae.fit.embedding import _baseline
from ldvae.fit.posterior import design_offset, rebuild
from ldvae.tables import LN2


def values(fit, cells):
    return get_latent(fit, cells, embedding=True).set_index("cell")


@pytest.mark.parametrize("which", ["fit", "few_genes"])
def test_positions_are_the_most_probable_ones(which, simulated, request):
    fit = request.getfixturevalue(which)
    cells, rng = read_data(fit, simulated), np.random.default_rng(0)
    active, model = np.flatnonzero(fit.factors["active"]), rebuild(fit)
    loadings, theta = fit.factors["loadings"][:, active] * LN2, model.log_theta.detach().exp()
    as_float = torch.from_numpy(loadings.astype(np.float32))
    baseline = _baseline(fit, model, active, as_float, theta).numpy().astype(np.float64)
    of_batch = np.broadcast_to(design_offset(model, fit.factors["center"], cells.design), cells.counts.matrix.shape)
    scores = values(fit, simulated).to_numpy() / np.sqrt(np.linalg.norm(loadings / LN2, axis=0))

    def log_posterior(i, s):
        logs = baseline + of_batch[i] + loadings @ s
        mu, r = cells.counts.lib_size[i] * np.exp(logs), theta.numpy().astype(np.float64)
        x = cells.counts.matrix[[i]].toarray()[0]
        return nbinom.logpmf(x, r, r / (r + mu)).sum() - (s**2).sum() / 2

    for i in rng.permutation(len(scores))[:20]:
        best = log_posterior(i, scores[i])
        for step in rng.standard_normal((20, len(active))) * rng.choice([0.02, 0.2, 1], (20, 1)):
            assert log_posterior(i, scores[i] + step) < best + 1e-3


def test_no_cell_depends_on_another(fit, simulated):
    whole = values(fit, simulated)
    part = values(fit, simulated[100:103].copy())
    np.testing.assert_allclose(part, whole.iloc[100:103], atol=0.02)
    renamed = simulated[100:103].copy()
    renamed.obs_names = ["x", "y", "z"]
    np.testing.assert_allclose(values(fit, renamed), part, atol=0.02)


def test_positions_are_on_the_factors_and_as_wide_as_these_are_strong(fit, simulated):
    found, scores = values(fit, simulated), get_latent(fit).set_index("cell")
    assert list(found) == list(scores) == get_factors(fit).query("active")["factor"].tolist()
    alike = [np.corrcoef(found[name], scores[name])[0, 1] for name in found]
    assert min(alike[:2]) > 0.9 and min(alike) > 0.4  # the encoder of so short a training takes two of them for one
    length = np.linalg.norm(get_loadings(fit).set_index("gene")[list(found)], axis=0)
    assert np.all((found.std() > 0.7 * np.sqrt(length)) & (found.std() < 1.5 * np.sqrt(length)))


def test_batches_are_taken_out(simulated, settings):
    with_batch, without = fit_ldvae(simulated, batch_key="batch", **settings), fit_ldvae(simulated, **settings)

    def apart(fit):
        means = values(fit, simulated).groupby(simulated.obs["batch"].to_numpy()).mean()
        return float(np.abs(means.diff().iloc[1]).max())

    assert apart(with_batch) < 0.5 * apart(without) or apart(with_batch) < 0.3


@pytest.mark.parametrize("change", [
    {"gene_likelihood": "poisson"}, {"gene_likelihood": "zinb"}, {"latent_distribution": "ln"},
    {"decoder": "nonlinear"}, {"measure_factors": False},
])  # fmt: skip
def test_every_kind_of_fit_has_positions(change, simulated, settings):
    fit = fit_ldvae(simulated, batch_key="batch", **settings, **change)
    found = values(fit, simulated)
    assert len(found) == len(simulated) and np.isfinite(found).all(axis=None)
    assert found.shape[1] == int(get_factors(fit)["active"].sum())


def test_what_embedding_needs_is_said(fit, simulated):
    for arguments in ({}, {"adata": simulated, "inactive": True}):
        with pytest.raises(ValueError) as caught:
            get_latent(fit, **arguments, embedding=True)
        assert str(caught.value) == (
            "`embedding` must be False for inactive factors, and without the counts of cells (`adata`)."
        )
