"""What is done by numpy or in another order is what torch would do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from ldvae.machine.arithmetic import exp, exp_, log_, narrow_product, sparse_product


@pytest.mark.parametrize(("ours", "theirs"), [(exp_, torch.exp), (log_, torch.log)])
def test_in_place_and_silent_as_torch(ours, theirs):
    values = torch.tensor([[1e-3, 1.0, 80.0], [200.0, 0.0, -1.0]])
    for a in (values.clone(), values.T.clone().T, values.repeat(2, 1)[:, 1:]):
        wanted = theirs(a)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert ours(a) is a
            if ours is exp_:
                torch.testing.assert_close(exp(values), theirs(values))
        torch.testing.assert_close(a, wanted, equal_nan=True)


def test_product_with_few_columns():
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(50, 70, generator=generator), torch.randn(70, 3, generator=generator)
    for a, b in ((left, right), (left[:, ::2], right[::2])):
        torch.testing.assert_close(narrow_product(a, b), a @ b)


@pytest.mark.parametrize("n", [9, 1, 0])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_product(n, index):
    left = sp.random(n, 40, 0.2, "csr", np.float32, np.random.default_rng(0))
    left.indices, left.indptr = left.indices.astype(index), left.indptr.astype(index)
    if n > 2:
        left.data[left.indptr[1] : left.indptr[2]] = 0
        left.eliminate_zeros()  # an empty row
    right = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    found = sparse_product(*(torch.from_numpy(a) for a in (left.data, left.indices, left.indptr)), right)
    assert found.shape == (n, 7)
    torch.testing.assert_close(found, torch.from_numpy(left.toarray()) @ right)
