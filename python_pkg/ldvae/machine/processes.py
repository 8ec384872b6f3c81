"""Several processes train one model (`torchrun`): each holds a part of the cells, sums are over all, the first writes.

Every process draws the same minibatches and the same random numbers as one alone would, and works on those of the cells
that it holds. So all take the same steps, decide alike, and their number changes nothing but rounding.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed as dist
from torch import nn

__all__ = ["ALONE", "Norm", "Ranks", "is_first", "join", "launched"]

T = TypeVar("T")
_ADDRESS = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # what torchrun tells each process


@dataclass(frozen=True)
class Ranks:
    """This process among all `n` of a job; alone, nothing here does anything."""

    rank: int
    n: int
    here: int  # processes on this machine
    device: torch.device  # from which sums are sent
    checkpoint: Any  # where the state of training is kept, if it is

    def rows(self, n_cells: int) -> slice:
        """The cells that this process holds: neighbours, so that reading them from a file is one sweep."""
        if n_cells < self.n:
            raise ValueError(
                f"`adata` must have at least one cell for each of the {self.n} processes of this job, not {n_cells} "
                "in all; start fewer processes."
            )
        return slice(n_cells * self.rank // self.n, n_cells * (self.rank + 1) // self.n)

    def sum_(self, values: torch.Tensor) -> torch.Tensor:
        """Summed over all processes, in place."""
        if self.n > 1:
            self._together(dist.all_reduce, values)
        return values

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Summed over all processes; where each has zeros for the rows of others, the rows of all."""
        return self.sum_(torch.from_numpy(values).to(self.device)).cpu().numpy() if self.n > 1 else values

    def together(self, matrix: sp.csr_matrix) -> sp.csr_matrix:
        """The rows that all processes have, each of a matrix in which those of the others are empty."""
        if self.n == 1:
            return matrix
        parts: list[Any] = [None] * self.n
        self._together(dist.all_gather_object, parts, matrix)
        return sp.csr_matrix(sum(parts[1:], parts[0]))

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Gradients become those of all cells of a minibatch, by one message."""
        if self.n == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.sum_(torch.cat([g.reshape(-1) for g in gradients]))
        for g, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            g.copy_(part.view_as(g))

    def normalise_together(self, model: nn.Module) -> None:
        """Batch normalisation takes the moments of a whole minibatch, not those of the cells held here."""
        for module in model.modules():
            if isinstance(module, Norm):
                module.ranks = self

    def same(self, *values: Any) -> None:
        """Refuse a job whose processes were given different things; arrays are small or hold names."""
        if self.n == 1:
            return
        plain = [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
        digest = np.frombuffer(hashlib.blake2b(repr(plain).encode(), digest_size=16).digest(), np.int64)
        theirs = np.zeros((self.n, 2), np.int64)
        theirs[self.rank] = digest
        other = np.flatnonzero((self.sum(theirs) != self.sum(digest * (self.rank == 0))).any(1))
        if len(other):
            raise ValueError(
                f"fit_ldvae must be given the same cells, counts and arguments in all {self.n} processes of a job, and "
                f"those of process {other[0]} are not those of process 0; for fits of their own, start each alone."
            )

    def from_first(self, work: Callable[[], T]) -> T:
        """What the first process finds, or raises, in all of them."""
        if self.n == 1:
            return work()
        said: list[Any] = [None]
        if self.rank == 0:
            try:
                said = [work()]
            except Exception as error:
                said = [error]
        self._together(dist.broadcast_object_list, said, device=self.device)
        if isinstance(said[0], Exception):
            raise said[0]
        found: T = said[0]
        return found

    def _together(self, collective: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            collective(*args, **kwargs)
        except RuntimeError as error:
            reason = re.sub(r"^\[\S+\] ", "", " ".join(str(error).split())).split(". ")[0][:200]
            again = "with a `checkpoint` that would continue from the last one written"
            if self.checkpoint is not None:
                again = f"it continues from the `checkpoint` {self.checkpoint!r} if that was written"
            raise RuntimeError(
                f"process {self.rank} of {self.n} cannot go on, since another one ended or cannot be reached "
                f"({reason}); start the job again: {again}."
            ) from None


ALONE = Ranks(0, 1, 1, torch.device("cpu"), None)


def launched() -> bool:
    """Whether torchrun started this process beside others."""
    return os.environ.keys() >= _ADDRESS and int(os.environ["WORLD_SIZE"]) > 1


def is_first() -> bool:
    """Whether this process writes what all have found: the first of a job, or one alone."""
    return not _in_group() or dist.get_rank() == 0


def join(device: torch.device, checkpoint: Any) -> Ranks:
    """The processes that torchrun started, or those of a group that is there; otherwise this one alone.

    The group stays: another fit of the same script uses it again.
    """
    if not dist.is_available() or not (launched() or _in_group()):
        return ALONE
    if not _in_group():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return Ranks(dist.get_rank(), dist.get_world_size(), here, device, checkpoint)


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


class _Sum(torch.autograd.Function):
    """A sum over all processes, whose losses are summed too."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> torch.Tensor:
        ctx.ranks, values = args
        summed: torch.Tensor = ctx.ranks.sum_(values.clone())
        return summed

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        return None, ctx.ranks.sum_(grads[0].clone())


class Norm(nn.BatchNorm1d):
    """Batch normalisation by the moments of a whole minibatch, however many processes hold its cells."""

    ranks = ALONE

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The moments of the minibatch in training, else the running ones."""
        if self.ranks.n == 1 or not self.training:
            return super().forward(x)
        own, count = x.double(), x.new_full((1, x.shape[1]), len(x), dtype=torch.float64)
        n, total, square = _Sum.apply(self.ranks, torch.cat([count, own.sum(0)[None], own.square().sum(0)[None]]))
        mean, mean_square = total / n, square / n
        variance = mean_square - mean.square()
        momentum = self.momentum or 0.0
        with torch.no_grad():
            self.get_buffer("num_batches_tracked").add_(1)
            self.get_buffer("running_mean").lerp_(mean.float(), momentum)
            self.get_buffer("running_var").lerp_((variance * n / (n - 1)).float(), momentum)
        scale = self.weight * (variance + self.eps).rsqrt().float()
        return (x - mean.float()) * scale + self.bias
