"""What is done by numpy or in another order is what torch would do."""

from __future__ import annotations

import warnings

import pytest
import torch

from ldvae.arithmetic import exp_, log_, narrow_product


@pytest.mark.parametrize(("ours", "theirs"), [(exp_, torch.exp), (log_, torch.log)])
def test_in_place_and_silent_as_torch(ours, theirs):
    values = torch.tensor([[1e-3, 1.0, 80.0], [200.0, 0.0, -1.0]])
    for a in (values.clone(), values.T.clone().T, values.repeat(2, 1)[:, 1:]):
        wanted = theirs(a)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert ours(a) is a
        torch.testing.assert_close(a, wanted, equal_nan=True)


def test_product_with_few_columns():
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(50, 70, generator=generator), torch.randn(70, 3, generator=generator)
    for a, b in ((left, right), (left[:, ::2], right[::2])):
        torch.testing.assert_close(narrow_product(a, b), a @ b)
