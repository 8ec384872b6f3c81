"""Uncertainty of loadings against generalised linear models, sign rates and factors against planted truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import statsmodels.api as sm
import torch

from ldvae import fit_ldvae, get_factors, simulate_counts
from ldvae.counts.minibatches import SparseCounts
from ldvae.fit import factors
from ldvae.fit.canonical import canonical_basis
from ldvae.fit.factors import describe_factors
from ldvae.fit.posterior import linear_map
from ldvae.model.config import Config
from ldvae.model.network import LDVAE
from ldvae.stats.centre import centre
from ldvae.stats.shrinkage import ash

N_CELLS, N_GENES, K = 1500, 80, 2


def planted(likelihood="nb", prior="none", closed=False):
    """A model with known parameters, counts drawn from it, and scores that are known almost exactly."""
    rng = np.random.default_rng(0)
    config = Config(
        n_genes=N_GENES, n_latent=K, n_hidden=4, gene_likelihood=likelihood, loadings_prior=prior, closed=closed
    )
    model = LDVAE(config, torch.Generator().manual_seed(0)).eval()
    loadings = np.zeros((N_GENES, K))
    loadings[:25, 0] = rng.normal(0, 0.5, 25)
    loadings[20:45, 1] = rng.normal(0, 0.4, 25)
    intercept = np.log(rng.dirichlet(np.full(N_GENES, 3.0)))
    log_theta = rng.normal(1, 0.5, N_GENES)
    z = rng.normal(size=(N_CELLS, K))
    library = np.exp(rng.normal(5, 0.4, N_CELLS))
    log_rho = intercept + z @ loadings.T
    if closed:
        log_rho -= np.log(np.exp(log_rho).sum(1, keepdims=True))
    mu, theta = library[:, None] * np.exp(log_rho), np.exp(log_theta)
    x = rng.poisson(mu if likelihood == "poisson" else rng.gamma(theta, mu / theta))
    with torch.no_grad():
        for parameter, value in (
            (model.loadings, loadings), (model.intercept, intercept), (model.log_dispersion, log_theta),
        ):  # fmt: skip
            parameter.copy_(torch.from_numpy(value))
    design = np.zeros((N_CELLS, 0), np.float32)
    counts = SparseCounts(sp.csr_matrix(x.astype(np.float32)), library, design, torch.device("cpu"))
    return model, counts, z.astype(np.float32), np.full((N_CELLS, K), 1e-6, np.float32), x, library, theta


def glm_standard_errors(basis, z, x, library, theta, likelihood):
    scores = (z - basis.center) @ basis.rotation
    estimates, errors = np.empty((2, N_GENES, K))
    for g in range(N_GENES):
        family = sm.families.Poisson() if likelihood == "poisson" else sm.families.NegativeBinomial(alpha=1 / theta[g])
        result = sm.GLM(x[:, g], sm.add_constant(scores), family=family, offset=np.log(library)).fit()
        estimates[g], errors[g] = result.params[1:], result.bse[1:]
    return estimates, errors


def before_shrinkage(model, counts, z, variance):
    """The canonical basis, and estimates and standard errors of its loadings (genes × factors, natural log)."""
    linear = linear_map(model, z, variance)
    basis = canonical_basis(linear, z, variance)
    estimate, error = factors._estimates(model, counts, basis, linear, z, variance)
    return basis, estimate.T, error.T


@pytest.mark.parametrize("likelihood", ["nb", "poisson"])
def test_standard_errors_are_those_of_a_generalised_linear_model_per_gene(likelihood):
    model, counts, z, variance, x, library, theta = planted(likelihood)
    basis, loadings, error = before_shrinkage(model, counts, z, variance)
    assert basis.active.all()
    estimates, errors = glm_standard_errors(basis, z, x, library, theta, likelihood)
    ratio = error / errors
    assert np.abs(np.median(ratio) - 1) < 0.01 and ratio.min() > 0.85 and ratio.max() < 1.15
    # and they are the errors that estimates make: the model's loadings are centred over genes, the estimates are not
    shift = np.median(estimates - loadings, axis=0)
    assert np.abs(((estimates - loadings - shift) / error).std() - 1) < 0.15


def test_information_from_some_cells_is_scaled_to_all(monkeypatch):
    arguments = planted()[:4]
    whole = before_shrinkage(*arguments)[2]
    monkeypatch.setattr(factors, "_INFORMATION_CELLS", 500)
    part = before_shrinkage(*arguments)[2]
    assert not np.array_equal(whole, part)
    assert np.abs(np.median(part / whole) - 1) < 0.05


def test_open_positions_of_cells_count_as_spread_of_the_scores():
    """With half of the variance in the posterior, a score of unit variance carries the same information."""
    model, counts, z, variance, *_ = planted()
    sure = before_shrinkage(model, counts, z, variance)[2]
    half = before_shrinkage(model, counts, z * np.float32(0.5**0.5), np.full_like(variance, 0.5))[2]
    assert np.abs(np.median(half / sure) - 1) < 0.1


def test_the_prior_of_training_is_taken_out_before_shrinkage():
    model, counts, z, variance, *_ = planted(prior="ard")
    with torch.no_grad():
        model.loadings_log_variance.fill_(-20.0)
    basis, estimate, error = before_shrinkage(model, counts, z, variance)
    without, loadings, flat = before_shrinkage(*planted(prior="none")[:4])
    assert np.allclose(basis.loadings, without.loadings, atol=1e-5)
    assert np.allclose(loadings - loadings.mean(0), without.loadings, atol=1e-5)  # which are centred
    assert np.allclose(error, flat, rtol=0.03)
    # the canonical basis is nearly the model's own here, so the prior of a loading is close to the column's mean square
    assert np.allclose(estimate, loadings * (1 + flat**2 / (loadings**2).mean(0)), rtol=0.1, atol=1e-3)


def test_genes_without_counts_have_no_loadings(two_factors):
    adata, _ = two_factors
    x = adata.X.toarray()
    x[:, :4], x[:, 4] = 0, 0
    x[5, 4] = 1
    few = adata.copy()
    few.X = sp.csr_matrix(x)
    fit = fit_ldvae(few, n_latent=10, n_hidden=64, max_epochs=20, progress=False, device="cpu")
    loadings = fit.factors["loadings"][:, fit.factors["active"]]
    assert loadings.shape[1] > 0
    assert np.abs(loadings[:5]).max() < 0.3 * np.abs(loadings).max()
    assert (fit.factors["loadings_lfsr"][:5] > 0.2).all()


def test_loadings_are_posterior_means_under_an_adaptive_prior():
    arguments = planted()[:4]
    found, (_, estimate, error) = describe_factors(*arguments), before_shrinkage(*arguments)
    for j in range(K):
        shrunk = ash(estimate[:, j] - centre(estimate[:, j], error[:, j]), error[:, j])
        assert np.allclose(found["loadings"][:, j] * np.log(2), shrunk.mean)
        assert np.allclose(found["loadings_std"][:, j] * np.log(2), shrunk.std)
        assert np.allclose(found["loadings_lfsr"][:, j], shrunk.lfsr)


def test_false_sign_rates_and_intervals_keep_their_promise():
    """Loadings are estimates now: truth with an error of the standard deviation that is reported."""
    model, counts, z, variance, *_ = planted()
    truth = model.loadings.detach().numpy().astype(float)
    basis, _, error = before_shrinkage(model, counts, z, variance)
    noise = np.random.default_rng(1).normal(size=truth.shape) * error
    with torch.no_grad():
        model.loadings.copy_(torch.from_numpy(truth + noise @ np.linalg.inv(basis.rotation)))
    found = describe_factors(model, counts, z, variance)
    wanted = (truth - np.median(truth, axis=0)) @ np.linalg.pinv(found["rotation"]).T / np.log(2)
    called = found["loadings_lfsr"] < 0.05
    wrong = np.sign(found["loadings"]) * wanted <= 0
    assert called.sum() > 20
    assert (wrong & called).sum() <= 0.1 * called.sum()
    inside = np.abs(wanted - found["loadings"]) <= 1.96 * found["loadings_std"]
    clear = np.abs(wanted) > 6 * error / np.log(2)
    # what lies between nothing and clear can be taken for nothing, and is then outside
    assert inside[np.abs(wanted) < 0.02].mean() > 0.9 and inside[clear].mean() > 0.9
    assert clear.sum() > 15 and called[clear].mean() > 0.9


def test_inactive_factors_have_no_uncertainty():
    model, counts, z, variance, *_ = planted()
    z[:, 1], variance[:, 1] = 0.0, 1.0
    with torch.no_grad():
        model.loadings[:, 1] = 0.001 * torch.randn(N_GENES, generator=torch.Generator().manual_seed(0))
    found = describe_factors(model, counts, z, variance)
    assert found["active"].tolist() == [True, False]
    assert np.isnan(found["loadings_std"][:, 1]).all() and (found["loadings_lfsr"][:, 1] == 1).all()
    assert found["loadings"][:, 1].any()
    assert np.isfinite(found["loadings_std"][:, 0]).all()


@pytest.fixture(scope="module")
def two_factors():
    """Two populations and one program that both share: two directions in which cells differ."""
    adata = simulate_counts(
        n_cells=1000, n_genes=200, n_populations=2, null_populations=[0, 1], n_shared=1, program_size=40, n_batches=1,
        seed=3,
    )  # fmt: skip
    return adata, fit_ldvae(adata, n_latent=10, n_hidden=64, max_epochs=40, progress=False, device="cpu")


def test_about_as_many_factors_are_active_as_were_planted(two_factors):
    table = get_factors(two_factors[1])
    assert table["active"].sum() in (2, 3)
    assert table["variance_explained"][:2].sum() > 0.9


def test_the_planted_program_and_its_genes_are_found(two_factors):
    adata, fit = two_factors
    truth = adata.uns["truth"]["shared"][0]
    loadings = fit.factors["loadings"]
    correlation = [abs(np.corrcoef(truth, column)[0, 1]) for column in loadings[:, fit.factors["active"]].T]
    best = int(np.argmax(correlation))
    assert correlation[best] > 0.9
    lfsr = fit.factors["loadings_lfsr"][:, best]
    called, planted_genes = lfsr < 0.05, np.abs(truth) > 0
    assert (called & planted_genes).sum() > 0.6 * planted_genes.sum()
