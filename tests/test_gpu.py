"""On a GPU: the same minibatches, likelihoods and fits as on a CPU, within stated tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import ldvae
from ldvae.counts.minibatches import SparseCounts
from ldvae.model.config import LIKELIHOODS
from ldvae.model.objective import log_likelihood

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
N, G = 200, 90


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    x = sp.random(N, G, 0.2, "csr", np.float32, rng, lambda k: rng.poisson(3, k) + 1.0)
    design = rng.normal(size=(N, 2)).astype(np.float32)
    return lambda device: SparseCounts(x, np.asarray(x.sum(1)).ravel() + 1.0, design, torch.device(device))


def same(one, two, **tolerance):
    torch.testing.assert_close(one.cpu(), two.cpu(), check_dtype=False, **tolerance)


def test_counts_kept_on_a_device_give_the_same_minibatches(counts):
    """By the code for devices, run on the CPU."""
    there, here = counts("cpu"), counts("cpu")
    there._resident = True
    there._start = torch.from_numpy(there._matrix.indptr.astype(np.int64))
    there._column, there._value = (torch.from_numpy(a) for a in (there._matrix.indices, there._matrix.data))
    for rows in (torch.tensor([5, 0, 199, 5]), slice(20, 50), torch.arange(0)):
        one, two = there.minibatch(rows), here.minibatch(rows)
        for name in ("values", "columns", "row_start", "log_library", "log_factorial", "design"):
            same(getattr(one, name), getattr(two, name))


@needs_gpu
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("closed", [True, False])
def test_likelihood_and_gradients_agree(counts, likelihood, closed):
    found = []
    for device in ("cpu", "cuda"):
        generator = torch.Generator().manual_seed(0)
        shapes = (N, 5), (5, G), (G,), (G,), (G,)
        parameters = [torch.randn(*s, generator=generator).to(device).requires_grad_() for s in shapes]
        batch = counts(device).minibatch(slice(0, N))
        value = log_likelihood(*parameters, batch, likelihood, closed)
        value.backward()
        found.append((value.detach(), *(p.grad for p in parameters if p.grad is not None)))
        weight = torch.randn(G, 7, generator=generator).to(device)
        found[-1] += (batch.log1p_times(weight), batch.dense)
    for one, two in zip(*found, strict=True):
        same(one, two, rtol=1e-4, atol=1e-3)


@needs_gpu
def test_a_fit_is_as_good_as_on_a_cpu(simulated, settings):
    cpu, gpu = (
        ldvae.fit_ldvae(simulated, batch_key="batch", **settings | {"device": device}) for device in ("cpu", "cuda")
    )
    best = [np.nanmax(fit.history["elbo_validation"]) for fit in (cpu, gpu)]
    assert best[0] == pytest.approx(best[1], rel=0.01)  # other random numbers: as two seeds differ
    again = ldvae.fit_ldvae(simulated, batch_key="batch", **settings | {"device": "cuda"})
    np.testing.assert_allclose(again.weights["loadings"], gpu.weights["loadings"], rtol=1e-3, atol=1e-4)
    de = ldvae.differential_expression(gpu, simulated, groupby="population")
    assert de["is_de"].any()
