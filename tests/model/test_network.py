"""Every combination of settings gives a finite bound with gradients, and each part is what it says it is."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from ldvae.counts.design import Category, Number
from ldvae.counts.minibatches import SparseCounts
from ldvae.model.config import Config
from ldvae.model.network import LDVAE
from ldvae.model.objective import kl_normal, kl_shrinkage, log_likelihood

COVARIATES = [Category("batch", ["a", "b"], [0.5, 0.5]), Number("age", 0.0, 1.0)]
BASE = Config(n_genes=20, n_latent=4, n_hidden=8, covariates=COVARIATES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    x = sp.csr_matrix(rng.poisson(1.0, (12, 20)).astype(np.float32))
    design = rng.normal(size=(12, 3)).astype(np.float32)
    return SparseCounts(x, np.full(12, 20.0), design, torch.device("cpu")).minibatch(torch.arange(12))


@pytest.mark.parametrize(
    ("likelihood", "latent", "decoder", "prior", "n_layers", "closed"),
    list(
        itertools.product(
            ("nb", "zinb", "poisson"), ("normal", "ln"), ("linear", "nonlinear"), ("ard", "none"), (1, 3), (True, False)
        )
    ),
)
def test_the_bound_is_finite_and_teaches_every_parameter(batch, likelihood, latent, decoder, prior, n_layers, closed):
    config = replace(
        BASE, gene_likelihood=likelihood, latent_distribution=latent, decoder=decoder, loadings_prior=prior,
        n_layers=n_layers, closed=closed,
    )  # fmt: skip
    model = LDVAE(config, generator())
    with torch.no_grad():
        model.intercept.fill_(-3.0)
        model.design_effect.fill_(0.1)
    reconstruction, kl = model.elbo(batch, generator(1))
    loss = kl - reconstruction + model.penalty()
    assert loss.shape == () and torch.isfinite(loss)
    assert kl > 0 and reconstruction < 0
    loss.backward()
    unused = {"nb": {"zero_logit"}, "poisson": {"zero_logit", "log_dispersion"}, "zinb": set()}[likelihood]
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # a bias before a batch norm, which takes it out again
            assert name == "input_bias" or (name.endswith(".0.bias") and not parameter.any()), name
        elif parameter.grad is None or not parameter.grad.any():
            assert name in unused, name
        else:
            assert torch.isfinite(parameter.grad).all(), name
    assert hasattr(model, "loadings_log_variance") == (decoder == "linear" and prior == "ard")


def test_the_bound_is_likelihood_and_kl_at_the_sampled_latent(batch):
    model = LDVAE(replace(BASE, dropout_rate=0.0), generator()).eval()
    reconstruction, kl = model.elbo(batch, generator(1))
    mean, log_variance = model.encode(batch)
    z = mean + torch.randn(mean.shape, generator=generator(1)) * (0.5 * log_variance).exp()
    logits = z @ model.loadings.T + model.intercept + batch.design @ model.design_effect
    wanted = log_likelihood(
        logits, torch.eye(20), torch.zeros(20), model.log_theta, model.zero_logit, batch, "nb", True
    )
    assert reconstruction.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert kl.item() == pytest.approx(kl_normal(mean, log_variance).item(), rel=1e-6)


def test_the_penalty_is_the_kl_of_loadings_and_the_prior_of_covariates():
    model = LDVAE(BASE, generator())
    with torch.no_grad():
        model.design_effect.copy_(torch.randn(3, 20, generator=generator(1)))
    wanted = kl_shrinkage(model.loadings, model.loadings_log_variance) + 0.5 * (model.design_effect**2).sum()
    assert model.penalty().item() == pytest.approx(wanted.item(), rel=1e-6)
    points = LDVAE(replace(BASE, loadings_prior="none"), generator())
    assert points.penalty().item() == 0


def test_the_linear_decoder_is_linear():
    model = LDVAE(BASE, generator()).eval()
    with torch.no_grad():
        model.design_effect.copy_(torch.randn(3, 20, generator=generator(1)))
        model.intercept.copy_(torch.randn(20, generator=generator(2)))
    z1, z2 = torch.randn(2, 6, 4, generator=generator(3))
    s1, s2 = torch.randn(2, 6, 3, generator=generator(4))
    zero = model.decode(torch.zeros(6, 4), torch.zeros(6, 3))
    both = model.decode(2 * z1 - 3 * z2, 2 * s1 - 3 * s2) - zero
    parts = 2 * (model.decode(z1, s1) - zero) - 3 * (model.decode(z2, s2) - zero)
    assert torch.allclose(both, parts, atol=1e-5)
    assert torch.allclose(zero, model.intercept.expand(6, -1))
    curved = LDVAE(replace(BASE, decoder="nonlinear"), generator()).eval()
    zero = curved.decode(torch.zeros(6, 4), torch.zeros(6, 3))
    bent = curved.decode(z1, torch.zeros(6, 3)) + curved.decode(-z1, torch.zeros(6, 3)) - 2 * zero
    assert bent.abs().max() > 1e-3


def test_the_logistic_normal_sums_to_one(batch):
    model = LDVAE(replace(BASE, latent_distribution="ln"), generator())
    z = model.latent(torch.randn(6, 4, generator=generator()))
    assert (z > 0).all() and torch.allclose(z.sum(1), torch.ones(6))
    gaussian = torch.randn(6, 4, generator=generator())
    assert LDVAE(BASE, generator()).latent(gaussian) is gaussian


def test_loadings_are_drawn_around_their_mean_with_their_variance():
    model = LDVAE(BASE, generator())
    noise = generator(1)
    with torch.no_grad():
        draws = torch.stack([model.sample_loadings(noise) for _ in range(4000)])
    std = np.exp(-3)
    assert (draws.mean(0) - model.loadings).abs().max() < 5 * std / 4000**0.5
    assert (draws.std(0) / std - 1).abs().max() < 0.06
    points = LDVAE(replace(BASE, loadings_prior="none"), generator())
    assert points.sample_loadings(noise) is points.loadings


def test_dropout_and_sampled_loadings_are_for_training_only(batch):
    model = LDVAE(replace(BASE, dropout_rate=0.5), generator()).eval()
    assert torch.equal(model.encode(batch, generator(1))[0], model.encode(batch, generator(2))[0])
    model.train()
    assert not torch.equal(model.encode(batch, generator(1))[0], model.encode(batch, generator(2))[0])


def test_same_generator_same_model():
    first, second, other = (LDVAE(BASE, generator(seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(first["loadings"], other["loadings"])


def test_dispersions_stay_within_their_bounds():
    model = LDVAE(BASE, generator())
    with torch.no_grad():
        model.log_dispersion.copy_(torch.linspace(-50, 50, 20))
    assert model.log_theta.min().item() == -5 and model.log_theta.max().item() == 7
