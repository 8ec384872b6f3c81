"""Elementary operations as fast as a CPU does them: some are several times faster by numpy, or in another form."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["exp", "exp_", "log_", "narrow_product", "on_cpu", "sparse_product"]


def on_cpu(a: Tensor) -> bool:
    """Whether numpy can work on a tensor, and reading a number from it waits for nothing."""
    return a.device.type == "cpu"


def log_(a: Tensor) -> Tensor:
    """In place; on a CPU by numpy, which takes a third of torch's time."""
    if on_cpu(a):
        with np.errstate(all="ignore"):  # as torch does: the caller sees what is not finite
            values = a.numpy()
            np.log(values, out=values)
        return a
    return a.log_()


def exp_(a: Tensor) -> Tensor:
    """In place; on a CPU by numpy, which takes half of torch's time."""
    return exp(a, out=a)


def exp(a: Tensor, out: Tensor | None = None) -> Tensor:
    """Into `out` if given; on a CPU by numpy."""
    if on_cpu(a):
        out = torch.empty_like(a) if out is None else out
        with np.errstate(all="ignore"):
            np.exp(a.numpy(), out=out.numpy())
        return out
    return torch.exp(a, out=out)


def narrow_product(left: Tensor, right: Tensor) -> Tensor:
    """left (n × m) @ right (m × few), in the order that a CPU does up to five times as fast."""
    return torch.mm(right.T.contiguous(), left.T).T


def sparse_product(values: Tensor, columns: Tensor, row_start: Tensor, right: Tensor) -> Tensor:
    """A CSR matrix (n × m) @ right (m × k) on a CPU: sums of rows of `right`, as torch embeds the words of sentences.

    That is two to three times as fast as the products of scipy or MKL, and uses several threads.
    """
    return torch.embedding_bag(right, columns, row_start, False, 0, False, values, True)[0]
