"""What training and inference read: counts as minibatches on a device."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.special import gammaln

from ..machine.arithmetic import log_, on_cpu, sparse_product
from ..machine.processes import ALONE, Ranks
from ..machine.sparse import on_disk, row_blocks

__all__ = ["Minibatch", "SparseCounts"]

_RUN, _RUNS = 256, 64  # neighbouring cells read at a time from disk, and how many such reads are shuffled together
_AT_ONCE = 2048  # cells that are gathered at a time, to be cut into minibatches


@dataclass(frozen=True)
class Minibatch:
    """Counts of some cells: the non-zeros by position, and what belongs to each cell.

    `values` (nnz) holds the counts, `columns` (nnz) their genes, `row_start` (n + 1) where each cell begins among them;
    `log_library` (n, 1), `log_factorial` (n: the sum of log x! over genes), `design` (n, S). `part` is None, or of how
    many cells these are a part, the others being held by other processes, and which.
    """

    values: torch.Tensor
    columns: torch.Tensor
    row_start: torch.Tensor
    log_library: torch.Tensor
    log_factorial: torch.Tensor
    design: torch.Tensor
    n_genes: int
    part: tuple[int, torch.Tensor] | None = None

    def __len__(self) -> int:
        return self.log_library.shape[0]

    def random(self, draw: Any, width: int, generator: torch.Generator | None) -> torch.Tensor:
        """`torch.rand` or `torch.randn` of n × width; of a part, what these cells would get in the whole."""
        n, rows = self.part or (len(self), slice(None))
        drawn: torch.Tensor = draw(n, width, generator=generator, device=self.log_library.device)
        return drawn[rows]

    def split(self, size: int) -> Iterator[Minibatch]:
        """Every `size` cells in order, without a copy; of a part, those of them that are here."""
        n, here = self.part or (len(self), None)
        first_entry = self.row_start.tolist()
        held = range(n) if here is None else here.tolist()
        for first in range(0, n, size):
            last = min(first + size, n)
            a, b = bisect_left(held, first), bisect_left(held, last)
            entries = slice(first_entry[a], first_entry[b])
            yield Minibatch(
                values=self.values[entries],
                columns=self.columns[entries],
                row_start=self.row_start[a : b + 1] - first_entry[a],
                log_library=self.log_library[a:b],
                log_factorial=self.log_factorial[a:b],
                design=self.design[a:b],
                n_genes=self.n_genes,
                part=None if here is None else (last - first, here[a:b] - first),
            )

    @cached_property
    def cells(self) -> torch.Tensor:
        """The cell of each non-zero."""
        n = torch.arange(len(self), device=self.values.device)
        return n.repeat_interleave(self.row_start.diff(), output_size=len(self.values))

    def times(self, factor: torch.Tensor) -> Minibatch:
        """The same cells with each non-zero times its own factor; what belongs to a cell stays as it is."""
        return replace(self, values=self.values * factor)

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """The same memory as a matrix of scipy (on a CPU)."""
        parts = (self.values.numpy(), self.columns.numpy(), self.row_start.numpy())
        return sp.csr_matrix(parts, shape=(len(self), self.n_genes))

    @cached_property
    def dense(self) -> torch.Tensor:
        """The counts, n × genes, zeros filled in."""
        if on_cpu(self.values):
            return torch.from_numpy(self.matrix.toarray())
        out = torch.zeros(len(self) * self.n_genes, device=self.values.device)
        # added, not set: where entries are padded with zeros, some meet a count
        return out.index_add_(0, self.cells * self.n_genes + self.columns, self.values).view(len(self), self.n_genes)

    def log1p_times(self, weight: torch.Tensor) -> torch.Tensor:
        """log(1 + counts) (n × genes) @ weight (genes × h), differentiable in the weight."""
        if not on_cpu(self.values):
            return self.dense.log1p() @ weight
        product: torch.Tensor = _SparseTimes.apply(weight, self)
        return product


class _SparseTimes(torch.autograd.Function):
    """Sparse @ dense on a CPU, both ways by rows: of the matrix, and of its transpose."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> torch.Tensor:
        weight, batch = args
        ctx.matrix = batch.matrix  # not the batch, which may hold its dense counts
        return sparse_product(log_(batch.values + 1), batch.columns, batch.row_start, weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        turned = ctx.matrix.tocsc()
        values, rows, column_start = (torch.from_numpy(a) for a in (turned.data, turned.indices, turned.indptr))
        return sparse_product(log_(values + 1), rows, column_start, grads[0].contiguous()), None


class SparseCounts:
    """A CSR matrix of counts, from which minibatches on a device are assembled without a Python loop.

    The counts are in the memory of the CPU, in that of the device, or on disk (`store.Gathered`). Where several
    processes train, the rows of cells that others hold are empty.
    """

    def __init__(
        self,
        matrix: sp.csr_matrix,
        library: np.ndarray,
        design: np.ndarray,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self.n_cells, self.n_genes = matrix.shape
        self.device = device
        self.ranks = ranks
        self._held = ranks.rows(self.n_cells)
        self._matrix = matrix
        self._resident = device.type != "cpu" and not on_disk(matrix)
        self._in_runs = ranks.sum(np.array([on_disk(matrix)], np.int64))[0] > 0
        if self._resident:
            self._start = torch.from_numpy(matrix.indptr.astype(np.int64)).to(device)
            self._column, self._value = (_tensor(a).to(device) for a in (matrix.indices, matrix.data))
        self.log_library = torch.from_numpy(np.log(library).astype(np.float32))[:, None].to(device)
        self.log_factorial = torch.from_numpy(_log_factorials(matrix)).to(device)
        self.design = _tensor(design).to(device)

    def minibatch(self, rows: torch.Tensor | slice) -> Minibatch:
        """The cells `rows` (int64 on the device, or a slice)."""
        if self._resident:
            return self._with(self._on_device(rows), rows)
        return self._with(self._matrix[rows if isinstance(rows, slice) else rows.cpu().numpy()], rows)

    def _own(self, rows: torch.Tensor) -> torch.Tensor | None:
        """Which of `rows` this process holds; None for all."""
        if self.ranks.n == 1:
            return None
        return ((rows >= self._held.start) & (rows < self._held.stop)).nonzero().squeeze(1)

    def _with(self, counts: sp.csr_matrix | list[torch.Tensor], rows: torch.Tensor | slice) -> Minibatch:
        """Counts of the cells `rows` with what belongs to these."""
        if isinstance(counts, sp.csr_matrix):
            counts = [_tensor(a).to(self.device) for a in (counts.data, counts.indices, counts.indptr)]
        values, columns, row_start = counts
        return Minibatch(
            values=values,
            columns=columns,
            row_start=row_start,
            log_library=self.log_library[rows],
            log_factorial=self.log_factorial[rows],
            design=self.design[rows],
            n_genes=self.n_genes,
        )

    def _on_device(self, rows: torch.Tensor | slice) -> list[torch.Tensor]:
        start, stop = self._start[:-1][rows], self._start[1:][rows]
        length = stop - start
        ends = length.cumsum(0)
        total = int(ends[-1]) if len(length) else 0
        offset = (stop - ends).repeat_interleave(length, output_size=total)
        position = torch.arange(total, device=self.device) + offset
        return [self._value[position], self._column[position], torch.nn.functional.pad(ends, (1, 0))]

    @property
    def recordable(self) -> bool:
        """Whether a step on these counts can be a graph of CUDA: all are on the device, for one process."""
        return self._resident and self.device.type == "cuda" and self.ranks.n == 1

    def most_entries(self, rows: torch.Tensor, size: int) -> int:
        """Non-zeros that no `size` of the cells `rows` exceed."""
        return int(self._start.diff()[rows].topk(min(size, len(rows))).values.sum())

    def padded(self, rows: torch.Tensor, entries: int) -> Minibatch:
        """`minibatch` with so many entries, those beyond its own zeros of its last cell; waits for nothing."""
        start, stop = self._start[:-1][rows], self._start[1:][rows]
        ends = (stop - start).cumsum(0)
        at = torch.arange(entries, device=self.device)
        own = at < ends[-1]
        row_start = torch.nn.functional.pad(ends[:-1], (1, 1))
        row_start[-1:] += entries
        offset = (stop - ends).repeat_interleave(row_start.diff(), output_size=entries)
        position = torch.where(own, at + offset, 0)
        columns = torch.where(own, self._column[position], at % self.n_genes)  # the zeros are spread: they do not queue
        return self._with([self._value[position] * own, columns, row_start], rows)

    def fingerprint(self) -> list[np.ndarray]:
        """Arrays that tell what a fit learns from, however many processes hold it: of counts, a random sum per cell."""
        weight, content = np.random.default_rng(0).standard_normal(self.n_genes), np.zeros(self.n_cells)
        for rows in row_blocks(self._matrix):
            content[rows] = self._matrix[rows] @ weight
        return [self.ranks.sum(content), *(part.cpu().numpy() for part in (self.log_library, self.design))]

    def epoch(self, rows: torch.Tensor, size: int, generator: torch.Generator) -> Iterator[Minibatch]:
        """Shuffled minibatches of `size` cells; a smaller remainder is left for another epoch."""
        if self._in_runs:
            yield from self._epoch_from_disk(rows, size, generator)
        else:
            yield from self.shares(self.shuffled(rows, size, generator), size)

    def shuffled(self, rows: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
        """The cells of an epoch in its order."""
        order = torch.randperm(len(rows), generator=generator, device=self.device)
        return rows[order[: len(rows) - len(rows) % size]]

    def shares(self, rows: torch.Tensor, size: int) -> Iterator[Minibatch]:
        """Of every `size` of the cells `rows` those that this process holds."""
        for cells in rows.split(_at_once(size)):
            own = self._own(cells)
            batch = self.minibatch(cells if own is None else cells[own])
            yield from (batch if own is None else replace(batch, part=(len(cells), own))).split(size)

    def _epoch_from_disk(self, rows: torch.Tensor, size: int, generator: torch.Generator) -> Iterator[Minibatch]:
        """The same with few long reads: runs of neighbouring cells are drawn, and shuffled with those of other runs."""
        runs = rows.sort().values.split(_RUN)
        order = torch.randperm(len(runs), generator=generator, device=self.device).tolist()
        waiting = rows[:0]
        for start in range(0, len(runs), _RUNS):
            pool = torch.cat([waiting, *(runs[i] for i in order[start : start + _RUNS])]).sort().values
            counts = self._matrix[pool.cpu().numpy()]
            shuffled = torch.randperm(len(pool), generator=generator, device=self.device)
            whole = len(pool) - len(pool) % size
            for chosen in shuffled[:whole].split(_at_once(size)):
                own = self._own(pool[chosen])
                mine = chosen if own is None else chosen[own]
                batch = self._with(counts[mine.cpu().numpy()], pool[mine])
                yield from (batch if own is None else replace(batch, part=(len(chosen), own))).split(size)
            waiting = pool[shuffled[whole:]]

    def blocks(self, size: int) -> Iterator[tuple[slice, Minibatch]]:
        """All cells that this process holds, in order."""
        for start in range(self._held.start, self._held.stop, size):
            rows = slice(start, min(start + size, self._held.stop))
            yield rows, self.minibatch(rows)


def _at_once(size: int) -> int:
    """Cells that are gathered at a time for minibatches of `size`."""
    return size * max(1, _AT_ONCE // size)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _log_factorials(matrix: sp.csr_matrix) -> np.ndarray:
    """Sum over genes of log x! for each cell; in pieces, so that it takes little memory."""
    out = np.zeros(matrix.shape[0], np.float32)
    for rows in row_blocks(matrix, 1_000_000):
        part = matrix[rows]
        row = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        out[rows] = np.bincount(row, gammaln(part.data + 1.0), part.shape[0])
    return out
