"""Elementary operations as fast as a CPU does them: some are several times faster by numpy, or in another order."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["exp_", "log_", "narrow_product"]


def log_(a: Tensor) -> Tensor:
    """In place; on a CPU by numpy, which takes a third of torch's time."""
    if a.device.type == "cpu":
        with np.errstate(all="ignore"):  # as torch does: the caller sees what is not finite
            np.log(a.numpy(), out=a.numpy())
        return a
    return a.log_()


def exp_(a: Tensor) -> Tensor:
    """In place; on a CPU by numpy, which takes half of torch's time."""
    if a.device.type == "cpu":
        with np.errstate(all="ignore"):
            np.exp(a.numpy(), out=a.numpy())
        return a
    return a.exp_()


def narrow_product(left: Tensor, right: Tensor) -> Tensor:
    """left (n × m) @ right (m × few), in the order that a CPU does up to five times as fast."""
    return torch.mm(right.T.contiguous(), left.T).T
