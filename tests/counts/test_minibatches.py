"""Minibatches hold the rows they should, the sparse product is the dense one, and the design is centred."""

from __future__ import annotations

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.special import gammaln

from ldvae.counts.design import design_columns, design_matrix
from ldvae.counts.minibatches import SparseCounts

RNG = np.random.default_rng(0)
DENSE = RNG.poisson(0.7, (40, 15)).astype(np.float32)
DENSE[7] = 0
DENSE[:, 4] = 0
LIBRARY = DENSE.sum(1) + 3.0
DESIGN = RNG.normal(size=(40, 3)).astype(np.float32)


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


def cells(**obs):
    n = len(next(iter(obs.values())))
    return ad.AnnData(np.ones((n, 1)), obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(n)]))


def test_the_design_is_one_hot_and_numbers_centred_at_the_training_cells():
    adata = cells(batch=["b", "a", "b", "b"], age=[1.0, 2, 3, 6], sex=["m", "f", "m", "f"])
    columns = design_columns(adata, "batch", ["age", "sex"])
    design = design_matrix(adata, columns)
    assert design.dtype == np.float32 and design.shape == (4, 5)
    assert np.allclose(design.mean(0), 0, atol=1e-7)
    assert np.allclose(design[:, :2], [[-0.25, 0.25], [0.75, -0.75], [-0.25, 0.25], [-0.25, 0.25]])
    age = adata.obs["age"].to_numpy()
    assert np.allclose(design[:, 2], (age - 3) / age.std(), atol=1e-6)
    assert np.allclose(design[:, 3:], [[-0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, -0.5]])


def test_new_cells_get_the_design_of_the_training_cells():
    training = cells(batch=["b", "a", "b", "c"], age=[1.0, 2, 3, 6])
    columns = design_columns(training, "batch", "age")
    assert np.allclose(design_matrix(training[[3, 0]].copy(), columns), design_matrix(training, columns)[[3, 0]])
    few = cells(batch=["c", "a"], age=[6.0, 2.0])
    assert np.allclose(design_matrix(few, columns), design_matrix(training, columns)[[3, 1]])


def test_no_covariates_no_columns():
    adata = cells(batch=["a", "b"])
    assert design_columns(adata, None, ()) == [] and design_matrix(adata, []).shape == (2, 0)


def test_a_number_as_batch_is_a_category_and_a_constant_is_harmless():
    adata = cells(batch=[3, 1, 3], age=[5.0, 5.0, 5.0])
    columns = design_columns(adata, "batch", ["age"])
    assert columns[0]["levels"] == ["1", "3"]
    design = design_matrix(adata, columns)
    assert np.isfinite(design).all() and np.all(design[:, 2] == 0)


def sentence(call, *args):
    with pytest.raises(ValueError) as caught:
        call(*args)
    return str(caught.value)


def test_design_errors():
    adata = cells(batch=["b", "a", None], age=[1.0, np.nan, 2.0], sex=["m", "f", "m"])
    assert sentence(design_columns, adata, "batch", ()) == (
        "`batch_key`: 1 cells have no value of 'batch'; fill it in or remove them."
    )
    assert sentence(design_columns, adata, None, ["age"]) == (
        "`covariate_keys`: 1 cells have no value of 'age'; fill it in or remove them."
    )
    assert sentence(design_columns, adata, "sex", ["sex"]) == "`covariate_keys` must not repeat the `batch_key` 'sex'."
    assert sentence(design_columns, adata, None, ["site"]).startswith(
        "`covariate_keys` must name a column of adata.obs"
    )


def test_new_cells_that_do_not_fit_the_design():
    columns = design_columns(cells(batch=["b", "a"], age=[1.0, 2.0]), "batch", ["age"])
    assert sentence(design_matrix, cells(batch=["b", "z"], age=[1.0, 2.0]), columns) == (
        "the column 'batch' has levels that the fit has not seen ('z'); known are 'a', 'b'."
    )
    assert sentence(design_matrix, cells(batch=["b", None], age=[1.0, 2.0]), columns) == (
        "1 cells have no value of 'batch'; fill it in or remove them."
    )
    wanted = "the column 'age' must hold finite numbers, as it did in the fit."
    assert sentence(design_matrix, cells(batch=["b", "a"], age=[1.0, np.inf]), columns) == wanted
    assert sentence(design_matrix, cells(batch=["b", "a"], age=["x", "y"]), columns) == wanted
