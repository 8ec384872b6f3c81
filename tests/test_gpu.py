"""On a GPU: the same minibatches, likelihoods and fits as on a CPU, within stated tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

import ldvae
from ldvae.counts.minibatches import SparseCounts
from ldvae.model.checkpoint import State
from ldvae.model.config import LIKELIHOODS
from ldvae.model.objective import _gamma_ratios, log_likelihood

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


def test_padded_minibatches_are_the_same_counts(counts):
    """What a graph of CUDA needs; by the same code on the CPU."""
    there = counts("cpu")
    there._start = torch.from_numpy(there._matrix.indptr.astype(np.int64))
    there._column, there._value = (torch.from_numpy(a) for a in (there._matrix.indices, there._matrix.data))
    there._matrix.data[::7] = 40.0  # beyond the table
    most = there.most_entries(torch.arange(N), 5)
    assert most == np.sort(np.diff(there._matrix.indptr))[-5:].sum()
    for rows in (torch.tensor([5, 0, 199, 5]), torch.arange(3)):
        plain, padded = there.minibatch(rows), there.padded(rows, most)
        assert len(padded.values) == len(padded.columns) == padded.row_start[-1] == most > len(plain.values)
        dense = torch.zeros(len(rows), G)
        dense.index_put_((padded.cells, padded.columns.long()), padded.values, accumulate=True)
        same(dense, plain.dense)
        for name in ("log_library", "log_factorial", "design"):
            same(getattr(padded, name), getattr(plain, name))
        theta = torch.rand(G) + 0.1
        for one, two in zip(_gamma_ratios(plain, theta), _gamma_ratios(padded, theta), strict=True):
            same(one, two)


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
    for name, weight in gpu.weights.items():
        np.testing.assert_array_equal(weight, again.weights[name], err_msg=name)
    de = ldvae.differential_expression(gpu, simulated, groupby="population")
    assert de["is_de"].any()


@needs_gpu
@pytest.mark.parametrize("change", [{}, {"gene_likelihood": "zinb"}, {"decoder": "nonlinear", "dropout_rate": 0.1}])
def test_a_recorded_step_is_the_step(simulated, settings, change, monkeypatch):
    """The graph takes the steps that are taken without it, by the same random numbers."""
    found = []
    for recordable in (True, False):
        monkeypatch.setattr(SparseCounts, "recordable", property(lambda self, r=recordable: r and self._resident))
        found.append(ldvae.fit_ldvae(simulated, batch_key="batch", **settings | change | {"device": "cuda"}))
    for name in ("reconstruction", "kl"):
        np.testing.assert_allclose(*(fit.history[name] for fit in found), rtol=1e-3, err_msg=name)


@needs_gpu
def test_training_continues_from_a_checkpoint(simulated, settings, tmp_path, monkeypatch):
    """Of a recorded step: exactly."""
    settings = settings | {"device": "cuda"}
    whole = ldvae.fit_ldvae(simulated, **settings)
    monkeypatch.setattr("ldvae.model.training._SAVE_EVERY", -1.0)
    original, path = State.record, tmp_path / "state"

    def stop(self, *args):
        original(self, *args)
        if self.epoch == 6:
            raise RuntimeError("enough")

    monkeypatch.setattr(State, "record", stop)
    with pytest.raises(RuntimeError, match="enough"):
        ldvae.fit_ldvae(simulated, checkpoint=path, **settings)
    monkeypatch.setattr(State, "record", original)
    again = ldvae.fit_ldvae(simulated, checkpoint=path, **settings)
    for name, weight in whole.weights.items():
        np.testing.assert_array_equal(weight, again.weights[name], err_msg=name)
