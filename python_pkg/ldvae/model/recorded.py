"""A training step on a CUDA device as one graph: starting its 200 kernels takes several times as long as they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..counts.minibatches import Minibatch, SparseCounts

__all__ = ["RecordedStep"]

_FIRST = 3  # steps that are taken as they are, in which torch and its libraries set themselves up


class RecordedStep:
    """Takes steps, each on the same memory: which cells, and with which weights, is written there before each.

    `step` gets a minibatch, the learning rate and the weights of the parts of the loss, and returns what is added up.
    The graph draws from `generator` as the steps themselves would.
    """

    def __init__(
        self,
        step: Callable[[Minibatch, torch.Tensor, Sequence[torch.Tensor]], torch.Tensor],
        counts: SparseCounts,
        rows: torch.Tensor,
        size: int,
        generator: torch.Generator,
    ) -> None:
        self._step, self._counts, self._generator = step, counts, generator
        self._entries = counts.most_entries(rows, size)
        self._rows, self._plan = rows[:size].clone(), torch.zeros(4, device=counts.device)
        self._totals = torch.zeros(2, dtype=torch.float64, device=counts.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._taken = 0

    def epoch(self, order: torch.Tensor, plan: torch.Tensor) -> torch.Tensor:
        """One step for each row of `plan` (learning rate, three weights), by the cells in their order; the totals."""
        self._totals.zero_()
        with torch.cuda.device(self._rows.device):  # streams and graphs are of the current one
            for rows, at in zip(order.split(len(self._rows)), plan, strict=True):
                self._rows.copy_(rows)
                self._plan.copy_(at)
                if self._taken < _FIRST:
                    self._aside()
                else:
                    self._replay()
                self._taken += 1
        return self._totals

    def _take(self) -> None:
        batch = self._counts.padded(self._rows, self._entries)
        self._totals += self._step(batch, self._plan[0], self._plan[1:].unbind())

    def _aside(self) -> None:
        stream, here = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            self._take()
        here.wait_stream(stream)

    def _replay(self) -> None:
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            self._graph.register_generator_state(self._generator)
            with torch.cuda.graph(self._graph):
                self._take()
        self._graph.replay()
