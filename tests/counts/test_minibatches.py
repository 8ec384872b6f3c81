"""Minibatches hold the rows they should, from memory or disk, and the sparse product is the dense one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import gammaln

from ldvae.counts import minibatches
from ldvae.counts.minibatches import SparseCounts
from support import gathered

RNG = np.random.default_rng(0)
DENSE = RNG.poisson(0.7, (40, 15)).astype(np.float32)
DENSE[7] = 0
DENSE[:, 4] = 0
LIBRARY = DENSE.sum(1) + 3.0
DESIGN = RNG.normal(size=(40, 3)).astype(np.float32)
MANY = RNG.poisson(0.4, (700, 30)).astype(np.float32)
MANY[5] = 0


@pytest.fixture
def counts():
    return SparseCounts(sp.csr_matrix(DENSE), LIBRARY, DESIGN, torch.device("cpu"))


@pytest.mark.parametrize("rows", [[0, 1, 2], [39, 7, 7, 3], [7], [], list(range(39, -1, -1))])
def test_a_minibatch_is_the_rows(counts, rows):
    batch = counts.minibatch(torch.tensor(rows, dtype=torch.int64))
    assert len(batch) == len(rows) and batch.n_genes == 15
    assert np.array_equal(batch.dense.numpy(), DENSE[rows])
    assert np.allclose(batch.log_library.numpy()[:, 0], np.log(LIBRARY[rows]))
    assert np.array_equal(batch.design.numpy(), DESIGN[rows])
    row, column = np.nonzero(DENSE[rows])
    assert np.array_equal(batch.columns.numpy(), column)
    assert np.array_equal(batch.values.numpy(), DENSE[rows][row, column])
    assert np.allclose(batch.log_factorial.numpy(), gammaln(DENSE[rows] + 1.0).sum(1))
    assert np.array_equal(batch.row_start.numpy(), np.r_[0, np.cumsum((DENSE[rows] > 0).sum(1))])


def test_minibatches_are_cut_without_a_copy(counts, each_path):
    rows = torch.tensor([5, 0, 39, 7, 8, 2, 1])
    whole = counts.minibatch(rows)
    parts = list(whole.split(3))
    assert [len(p) for p in parts] == [3, 3, 1]
    for part, own in zip(parts, rows.split(3), strict=True):
        alone = counts.minibatch(own)
        for name in ("values", "columns", "row_start", "log_library", "log_factorial", "design", "dense"):
            assert torch.equal(getattr(part, name), getattr(alone, name)), name
    assert parts[1].values.untyped_storage().data_ptr() == whole.values.untyped_storage().data_ptr()


def test_a_part_of_the_cells_is_cut_where_the_whole_is(counts):
    rows, here = torch.arange(10, 20), torch.tensor([1, 4, 5, 9])
    cut = replace(counts.minibatch(rows[here]), part=(10, here)).split(3)
    assert [(n, own.tolist()) for n, own in (p.part for p in cut)] == [(3, [1]), (3, [1, 2]), (3, []), (1, [0])]


def test_log1p_times_is_the_dense_product_with_its_gradient(counts, each_path):
    batch = counts.minibatch(torch.tensor([5, 7, 0, 31]))
    weight = torch.randn(15, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    other = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    (batch.log1p_times(weight) * other).sum().backward()
    x = torch.from_numpy(np.log1p(DENSE[[5, 7, 0, 31]]))
    assert torch.allclose(batch.log1p_times(weight), x @ weight, atol=1e-6)
    assert torch.allclose(weight.grad, x.T @ other, atol=1e-6)


@pytest.mark.parametrize("at_once", [6, 2048])
def test_an_epoch_visits_every_cell_once_and_leaves_the_remainder(counts, at_once, monkeypatch):
    monkeypatch.setattr("ldvae.counts.minibatches._AT_ONCE", at_once)
    rows = torch.arange(0, 40, 2)
    generator = torch.Generator().manual_seed(0)
    seen = [batch.design[:, 0] for batch in counts.epoch(rows, 6, generator)]
    assert [len(s) for s in seen] == [6, 6, 6]
    first = torch.cat(seen).numpy()
    assert len(set(first)) == 18 and set(first) <= set(DESIGN[::2, 0])
    second = torch.cat([batch.design[:, 0] for batch in counts.epoch(rows, 6, generator)]).numpy()
    assert not np.array_equal(first, second)
    again = counts.epoch(rows, 6, torch.Generator().manual_seed(0))
    assert np.array_equal(first, torch.cat([batch.design[:, 0] for batch in again]).numpy())


def test_blocks_are_all_cells_in_order(counts):
    parts = list(counts.blocks(16))
    assert [(s.start, s.stop) for s, _ in parts] == [(0, 16), (16, 32), (32, 40)]
    assert np.array_equal(np.concatenate([b.dense.numpy() for _, b in parts]), DENSE)


def test_arrays_that_cannot_be_written_are_left_alone():
    matrix = sp.csr_matrix(DENSE)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    counts = SparseCounts(matrix, LIBRARY, DESIGN, torch.device("cpu"))
    assert np.array_equal(counts.minibatch(torch.arange(40)).dense.numpy(), DENSE)


@pytest.mark.parametrize("at_once", [24, 2048])
def test_an_epoch_from_disk_visits_every_cell_once(monkeypatch, at_once):
    monkeypatch.setattr(minibatches, "_RUN", 16)
    monkeypatch.setattr(minibatches, "_RUNS", 4)
    monkeypatch.setattr(minibatches, "_AT_ONCE", at_once)
    design = np.arange(700, dtype=np.float32)[:, None]
    counts = SparseCounts(gathered(monkeypatch, MANY, 0.0), MANY.sum(1) + 1, design, torch.device("cpu"))
    rows = torch.arange(0, 700, 2)
    generator = torch.Generator().manual_seed(0)
    batches = list(counts.epoch(rows, 24, generator))
    assert len(batches) == len(rows) // 24
    seen = np.concatenate([b.design[:, 0].numpy() for b in batches]).astype(int)
    assert len(set(seen)) == len(seen) and set(seen) <= set(rows.tolist())
    for batch in batches:
        assert np.array_equal(batch.dense.numpy(), MANY[batch.design[:, 0].numpy().astype(int)])
        assert batch.design[:, 0].std() > 50  # of cells from here and there
    again = np.concatenate([b.design[:, 0].numpy() for b in counts.epoch(rows, 24, generator)]).astype(int)
    assert not np.array_equal(seen, again)
