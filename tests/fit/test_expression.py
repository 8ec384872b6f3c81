"""Posterior means of expression in closed form against many draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ldvae import get_expression
from ldvae.fit.cells import read_data
from ldvae.fit.expression import ExpectedExpression, is_log_normal
from ldvae.fit.posterior import rebuild
from ldvae.model.link import log_expression
from planted import fitted

ROWS, N_DRAWS = np.array([3, 77, 400]), 20_000


@pytest.fixture(scope="module", params=["all genes", "some genes"])
def model_and_cells(request, simulated, fit, few_genes):
    """A fit whose expression sums to one, and one whose does not; latent positions as sure as is usual."""
    chosen = fit if request.param == "all genes" else few_genes
    cells = read_data(chosen, simulated)
    return rebuild(chosen), replace(cells, variance=np.full_like(cells.variance, 0.15))


@pytest.mark.parametrize("average", [True, False])
def test_the_closed_form_is_the_mean_of_draws(model_and_cells, average):
    model, cells = model_and_cells
    assert is_log_normal(model)
    rho, squares, own = (a.double() for a in ExpectedExpression(model, cells, average)(ROWS, None))
    noise = np.random.default_rng(0).standard_normal((N_DRAWS, cells.mean.shape[1]))
    for i, row in enumerate(ROWS):
        z = torch.from_numpy(cells.mean[row] + np.sqrt(cells.variance[row]) * noise).float()
        design = torch.from_numpy(cells.design[[row]]).expand(N_DRAWS, -1)
        there = log_expression(model.decode(z, design), model.config.closed).exp().double()
        drawn = there  # the batch is the only covariate, and stays the cell's own
        # the normaliser at its expectation: right to the second order
        torch.testing.assert_close(rho[i], drawn.mean(0), rtol=0.03, atol=1e-7)
        torch.testing.assert_close(own[i], there.mean(0), rtol=0.03, atol=1e-7)
        torch.testing.assert_close(squares[i], drawn.square().mean(0), rtol=0.08, atol=1e-7)
        spread = drawn.square().mean(0) / drawn.mean(0).square()
        assert float(spread.detach().max()) > 1.05  # or there was nothing to get right


@pytest.mark.parametrize("decoder", ["linear", "nonlinear"])
def test_covariates_are_at_their_average_and_the_batch_is_the_cells_own(simulated, decoder):
    adata = simulated.copy()
    adata.obs["stress"] = np.random.default_rng(0).normal(size=adata.n_obs)
    fit = fitted(adata, batch_key="batch", covariate_keys=["stress"], decoder=decoder)
    model, cells = rebuild(fit), read_data(fit, adata)
    cells = replace(cells, variance=np.full_like(cells.variance, 1e-8))
    none = None if decoder == "linear" else np.zeros((len(ROWS), cells.mean.shape[1]), np.float32)
    rho, _, own = ExpectedExpression(model, cells, True)(ROWS, none)
    design = torch.from_numpy(cells.design[ROWS])
    for found, at in ((own, design), (rho, torch.cat([design[:, :-1], torch.zeros(len(ROWS), 1)], 1))):
        expected = log_expression(model.decode(torch.from_numpy(cells.mean[ROWS]), at), model.config.closed).exp()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)
    assert not torch.allclose(rho, own, rtol=1e-2)


def test_what_a_cell_expresses_does_not_depend_on_the_cells_beside_it(model_and_cells):
    model, cells = model_and_cells
    together = ExpectedExpression(model, cells, True)(ROWS, None)
    alone = [ExpectedExpression(model, cells, True)(ROWS[i : i + 1], None) for i in range(len(ROWS))]
    for whole, *parts in zip(together, *alone, strict=True):
        torch.testing.assert_close(whole, torch.cat(parts))


def test_draws_where_log_expression_is_not_normal(simulated, curved):
    model, cells = rebuild(curved), read_data(curved, simulated)
    assert not is_log_normal(model)
    none = np.zeros((len(ROWS), cells.mean.shape[1]), np.float32)
    rho, squares, _ = ExpectedExpression(model, cells, True)(ROWS, none)
    own = model.decode(torch.from_numpy(cells.mean[ROWS]), torch.from_numpy(cells.design[ROWS]))
    at_mean = log_expression(own, model.config.closed).exp()
    torch.testing.assert_close(rho, at_mean)
    torch.testing.assert_close(squares, at_mean.square())


def test_expression_is_the_average_of_the_decoder_at_the_average_batch(fit, simulated):
    found = get_expression(fit, simulated, genes=["G3", "G1"], n_samples=2000, library_size=100)
    assert found["gene"].tolist() == ["G3"] * 600 + ["G1"] * 600
    assert found["cell"].tolist() == fit.cells.tolist() * 2
    rng, w = np.random.default_rng(5), fit.weights
    wanted = np.zeros((600, 2))
    for _ in range(2000):
        z = fit.latent_mean + np.sqrt(fit.latent_variance) * rng.standard_normal(fit.latent_mean.shape)
        rho = np.exp(z @ w["loadings"].T + w["intercept"])
        wanted += 100 * (rho / rho.sum(1, keepdims=True))[:, [3, 1]] / 2000
    assert np.allclose(found["expression"], wanted.T.ravel(), rtol=0.05)


def test_expression_follows_the_counts(fit, simulated):
    total = np.asarray(simulated.X.sum(0)).ravel()
    genes = simulated.var_names[np.argsort(-total)[:20]].tolist()
    found = get_expression(fit, simulated, genes=genes).pivot(index="gene", columns="cell", values="expression")
    counts = pd.DataFrame(simulated.X.toarray(), simulated.obs_names, simulated.var_names)[genes]
    share = 1e4 * counts.sum() / simulated.X.sum()
    error = np.abs(found.mean(axis=1)[genes] / share - 1)
    assert error.median() < 0.1 and error.max() < 0.3  # after a few epochs only


def test_same_seed_same_expression(fit, simulated):
    one, two, other = (get_expression(fit, simulated, genes="G1", n_samples=1, seed=s)["expression"] for s in (0, 0, 1))
    assert one.equals(two) and not one.equals(other)
