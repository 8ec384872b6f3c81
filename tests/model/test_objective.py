"""Likelihoods against scipy.stats, their closed-form gradients against autograd in double precision, KL terms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy import optimize, stats
from torch.distributions import Normal, kl_divergence

from ldvae.counts.minibatches import SparseCounts
from ldvae.model.config import LIKELIHOODS
from ldvae.model.objective import kl_normal, kl_shrinkage, log_likelihood

N_CELLS, N_GENES = 23, 17


def problem(closed, largest=30, seed=0):
    """A minibatch with zeros, ones and counts on both sides of the tables, and parameters in double precision."""
    rng = np.random.default_rng(seed)
    x = rng.poisson(rng.gamma(0.5, 3, (N_CELLS, N_GENES))).astype(float)
    x[0], x[:, 5] = 0, 0  # a cell and a gene without counts
    x[rng.random(x.shape) < 0.05] = largest
    x[1, :6] = [1, 31, 32, 33, 255, 256]
    library = np.exp(rng.normal(4, 0.5, N_CELLS))
    logits = rng.normal(0 if closed else -3, 1, (N_CELLS, N_GENES))
    log_theta = rng.normal(0.5, 1.5, N_GENES)
    zero_logit = rng.normal(-1, 1.5, N_GENES)
    data = SparseCounts(
        sp.csr_matrix(x.astype(np.float32)), library, np.zeros((N_CELLS, 0), np.float32), torch.device("cpu")
    )
    batch = data.minibatch(torch.arange(N_CELLS))
    return x, library, logits, log_theta, zero_logit, batch


def single(*arrays):
    return [torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in arrays]


def of_logits(logits, *others):
    return log_likelihood(logits, torch.eye(N_GENES), torch.zeros(N_GENES), *others)


def scipy_log_likelihood(x, library, logits, log_theta, zero_logit, likelihood, closed):
    rho = np.exp(logits)
    if closed:
        rho = rho / rho.sum(1, keepdims=True)
    mu, theta = library[:, None] * rho, np.exp(log_theta)
    if likelihood == "poisson":
        return stats.poisson.logpmf(x, mu).sum()
    own = stats.nbinom.logpmf(x, theta, theta / (theta + mu))
    if likelihood == "nb":
        return own.sum()
    excess = 1 / (1 + np.exp(-zero_logit))
    return np.log((1 - excess) * np.exp(own) + excess * (x == 0)).sum()


def naive_log_likelihood(x, library, logits, log_theta, zero_logit, likelihood, closed):
    """The textbook formula in double precision, for autograd."""
    x, library = torch.from_numpy(x), torch.from_numpy(library)[:, None]
    log_rho = torch.log_softmax(logits, -1) if closed else logits
    log_mu = log_rho + library.log()
    if likelihood == "poisson":
        return (x * log_mu - log_mu.exp() - torch.lgamma(x + 1)).sum()
    theta = log_theta.exp()
    log_sum = torch.logaddexp(log_mu, log_theta.expand_as(log_mu))
    own = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    own = own + theta * (log_theta - log_sum) + x * (log_mu - log_sum)
    if likelihood == "nb":
        return own.sum()
    own = own + torch.log1p(-torch.sigmoid(zero_logit))
    return torch.where(x == 0, torch.logaddexp(own, torch.log(torch.sigmoid(zero_logit))), own).sum()


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_values_are_scipys(likelihood, closed, each_path):
    x, library, logits, log_theta, zero_logit, batch = problem(closed)
    found = of_logits(*single(logits, log_theta, zero_logit), batch, likelihood, closed).item()
    wanted = scipy_log_likelihood(x, library, logits, log_theta, zero_logit, likelihood, closed)
    assert found == pytest.approx(wanted, rel=2e-6)


@pytest.mark.parametrize("largest", [30, 1_000_000])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_gradients_are_those_of_the_naive_formula(likelihood, closed, largest, each_path, monkeypatch):
    x, library, logits, *others, batch = problem(closed, largest)
    if largest > 30 and not closed:
        logits = np.minimum(logits + 3, 4.5)
    rng = np.random.default_rng(1)
    weights, intercept = rng.normal(0, 0.3, (5, N_GENES)), logits.mean(0)
    features = np.linalg.lstsq(weights.T, (logits - intercept).T, rcond=None)[0].T
    parameters = [features, weights, intercept, *others]
    monkeypatch.setattr("ldvae.model.objective._BLOCK", 5 * N_GENES)  # gradients add up over blocks
    own = single(*parameters)
    value = log_likelihood(*own, batch, likelihood, closed)
    (2.5 * value).backward()
    naive = [torch.tensor(p, requires_grad=True) for p in parameters]
    wanted = naive_log_likelihood(x, library, naive[0] @ naive[1] + naive[2], *naive[3:], likelihood, closed)
    (2.5 * wanted).backward()
    # the logs of the factorials of large counts are sums of ten million, in single precision
    assert value.item() == pytest.approx(wanted.item(), rel=2e-6 if largest == 30 else 2e-5)
    used = {"nb": 4, "zinb": 5, "poisson": 3}[likelihood]
    for i, (a, b) in enumerate(zip(own, naive, strict=True)):
        if i >= used:
            assert a.grad is None or not a.grad.any()
            continue
        scale = b.grad.abs().max().item()
        assert torch.allclose(a.grad.double(), b.grad, rtol=2e-4, atol=2e-6 * scale), i


def test_the_naive_gradient_is_that_of_scipy_by_finite_differences():
    x, library, logits, log_theta, zero_logit, _ = problem(True)
    parameters = [torch.tensor(p, requires_grad=True) for p in (logits, log_theta, zero_logit)]
    naive_log_likelihood(x, library, *parameters, "zinb", True).backward()
    for which, tensor in enumerate(parameters):
        values = tensor.detach().numpy().ravel()
        for position in (0, 4, 5, 11):

            def moved(step, which=which, values=values, position=position):
                arrays = [logits, log_theta, zero_logit]
                shifted = values.copy()
                shifted[position] += step
                arrays[which] = shifted.reshape(arrays[which].shape)
                return scipy_log_likelihood(x, library, *arrays, "zinb", True)

            slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
            assert tensor.grad.numpy().ravel()[position] == pytest.approx(slope, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_blocks_of_cells_add_up(likelihood, closed, monkeypatch):
    *_, logits, log_theta, zero_logit, batch = problem(closed)
    results = []
    for block in (10**6, 5 * N_GENES, 1):
        monkeypatch.setattr("ldvae.model.objective._BLOCK", block)
        own = single(logits, log_theta, zero_logit)
        value = of_logits(*own, batch, likelihood, closed)
        value.backward()
        results.append((value.item(), [p.grad for p in own if p.grad is not None]))
    for value, gradients in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-6)
        for a, b in zip(gradients, results[0][1], strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("shift", [-200.0, 200.0])
def test_a_softmax_of_extreme_logits(likelihood, shift, each_path):
    *_, logits, log_theta, zero_logit, batch = problem(True)
    found = []
    for by in (0.0, shift):
        own = single(logits, log_theta, zero_logit)
        value = of_logits(own[0] + by, *own[1:], batch, likelihood, True)
        value.backward()
        found.append((value.item(), own[0].grad))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_only_zeros(likelihood, each_path):
    data = SparseCounts(
        sp.csr_matrix((4, N_GENES), dtype=np.float32),
        np.full(4, 50.0),
        np.zeros((4, 0), np.float32),
        torch.device("cpu"),
    )
    rng = np.random.default_rng(0)
    parameters = rng.normal(size=(4, N_GENES)), rng.normal(size=N_GENES), rng.normal(size=N_GENES)
    found = of_logits(*single(*parameters), data.minibatch(torch.arange(4)), likelihood, True).item()
    x = np.zeros((4, N_GENES))
    assert found == pytest.approx(scipy_log_likelihood(x, np.full(4, 50.0), *parameters, likelihood, True), rel=1e-5)


def test_the_gradient_through_the_softmax_sums_to_zero_in_each_cell():
    *_, logits, log_theta, zero_logit, batch = problem(True)
    own = single(logits, log_theta, zero_logit)
    of_logits(*own, batch, "nb", True).backward()
    assert own[0].grad.sum(1).abs().max() < 1e-4 * own[0].grad.abs().max()


def test_kl_normal_is_torchs():
    rng = np.random.default_rng(0)
    mean, log_variance = (torch.tensor(rng.normal(0, 2, (5, 3)), requires_grad=True) for _ in range(2))
    wanted = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros_like(mean), 1.0)).sum()
    found = kl_normal(mean, log_variance)
    assert torch.allclose(found, wanted)
    gradients = [torch.autograd.grad(2.5 * value, (mean, log_variance)) for value in (found, wanted)]
    assert all(torch.allclose(one, two) for one, two in zip(*gradients, strict=True))
    assert kl_normal(torch.zeros(1), torch.zeros(1)).item() == 0


def test_kl_shrinkage_is_the_smallest_kl_over_the_width_of_the_prior():
    rng = np.random.default_rng(0)
    mean, log_variance = (torch.from_numpy(rng.normal(0, 1, (40, 3)) * [0.1, 1, 3]) for _ in range(2))
    total = 0.0
    for k in range(3):
        posterior = Normal(mean[:, k], (0.5 * log_variance[:, k]).exp())

        def cost(log_tau, posterior=posterior):
            return kl_divergence(posterior, Normal(0.0, torch.tensor(np.exp(log_tau)))).sum().item()

        best = optimize.minimize_scalar(cost, bounds=(-8, 8), method="bounded", options={"xatol": 1e-10})
        assert best.success
        total += best.fun
    assert kl_shrinkage(mean, log_variance).item() == pytest.approx(total, rel=1e-9)
