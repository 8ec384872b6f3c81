"""Speed is guarded by counted work: operations, sweeps over cells × genes, and what is allocated; never by seconds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ldvae
from ldvae.counts.minibatches import SparseCounts
from ldvae.fit.expression import ExpectedExpression
from ldvae.model import training as train
from ldvae.model.config import Config
from ldvae.model.network import LDVAE
from ldvae.model.objective import log_likelihood

N_CELLS, N_GENES, K = 64, 700, 10


class Work(TorchDispatchMode):
    """Counts operations, those that touch an array of cells × genes, and new arrays of that size."""

    def __init__(self):
        super().__init__()
        self.operations = self.sweeps = self.allocated = self.waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if any(alias in str(func) for alias in ("view", "detach", "slice", "select", "aten.t.", "transpose", "expand")):
            return out
        size = N_CELLS * N_GENES
        tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
        made = [o for o in tree_leaves(out) if isinstance(o, torch.Tensor) and all(o is not t for t in tensors)]
        self.operations += 1
        self.waits += any(name in str(func) for name in ("_local_scalar_dense", "nonzero", "bincount", "unique"))
        self.sweeps += any(t.numel() >= size for t in tensors + made)
        self.allocated += sum(o.numel() >= size for o in made)
        return out


def batch_and_model(n=N_CELLS, density=0.1, **settings):
    rng = np.random.default_rng(0)
    x = sp.random(n, N_GENES, density, "csr", np.float32, rng, lambda k: rng.poisson(1, k) + 1.0)
    counts = SparseCounts(x, np.asarray(x.sum(1)).ravel() + 1, np.zeros((n, 0), np.float32), torch.device("cpu"))
    model = LDVAE(Config(n_genes=N_GENES, n_latent=K, n_hidden=32, **settings), torch.Generator().manual_seed(0))
    return counts, model.train()


def step_work(counts, model):
    """Of one training step: the ELBO, its gradient, clipping."""
    generator = torch.Generator().manual_seed(0)
    batch = counts.minibatch(torch.arange(N_CELLS))
    with Work() as work:
        reconstruction, kl = model.elbo(batch, generator)
        parts = [reconstruction, kl, model.penalty()]
        torch.autograd.backward(
            parts, [part.new_full((), w) for part, w in zip(parts, (-1 / N_CELLS, 1 / N_CELLS, 1.0), strict=True)]
        )
        train._clip(list(model.parameters()))
    return work


def test_the_likelihood_and_its_gradient_sweep_the_counts_few_times():
    counts, model = batch_and_model()
    batch = counts.minibatch(torch.arange(N_CELLS))
    features, weights = (torch.randn(*shape, requires_grad=True) for shape in ((N_CELLS, K), (K, N_GENES)))
    with Work() as work:
        log_likelihood(
            features, weights, model.intercept, model.log_theta, model.zero_logit, batch, "nb", True
        ).backward()
    # three products, one division, sums; exp, log and dense counts are numpy's and scipy's
    assert work.sweeps <= 20
    assert work.allocated <= 5  # logits, mu, mu + theta, the gradient, and a spare


def test_a_training_step_is_as_many_operations_as_it_was():
    work = step_work(*batch_and_model())
    assert work.sweeps <= 20
    assert work.operations <= 170


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson"])
def test_a_step_on_a_device_waits_for_no_number(likelihood, each_path, request):
    counts, model = batch_and_model(gene_likelihood=likelihood)
    work = step_work(counts, model)
    assert (work.waits == 0) == ("device" in request.node.callspec.id)  # on a CPU there is no waiting


def test_more_non_zeros_are_no_more_operations():
    sparse, dense = (step_work(*batch_and_model(density=d)) for d in (0.02, 0.6))
    assert sparse.sweeps == dense.sweeps and sparse.operations == dense.operations


def test_more_cells_are_no_more_work_per_step():
    few, many = (step_work(*batch_and_model(n)) for n in (N_CELLS, 20 * N_CELLS))
    assert few.operations == many.operations and few.sweeps == many.sweeps


@pytest.mark.parametrize("groups", [None, "pairwise"])
def test_all_comparisons_decode_each_cell_once(monkeypatch, fit, simulated, groups):
    seen = []
    original = ExpectedExpression.__call__
    monkeypatch.setattr(ExpectedExpression, "__call__", lambda *a: seen.append(len(a[1])) or original(*a))
    ldvae.differential_expression(fit, simulated, groupby="population", group2=groups)
    assert sum(seen) == simulated.n_obs  # however many groups


def test_an_epoch_reads_every_training_cell_once(monkeypatch, simulated, settings):
    read = []
    original = SparseCounts.minibatch
    monkeypatch.setattr(SparseCounts, "minibatch", lambda self, rows: read.append(rows) or original(self, rows))
    fit = ldvae.fit_ldvae(simulated, **settings | {"max_epochs": 1, "validation_size": 0.0})
    size = fit.info["batch_size"]
    cells = torch.cat([rows for rows in read if not isinstance(rows, slice)])[: size * (simulated.n_obs // size)]
    assert len(cells) == len(cells.unique()) == size * (simulated.n_obs // size)
    assert len(read[0]) == len(cells)  # one read serves several minibatches
