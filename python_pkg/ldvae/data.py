"""What training and inference read: covariates as a design matrix, counts as minibatches on a device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from . import checks
from .checks import brief
from .counts import Labels, read_labels, read_values

__all__ = ["Minibatch", "SparseCounts", "design_columns", "design_matrix"]


def design_columns(adata: Any, batch_key: str | None, covariate_keys: Any) -> list[dict[str, Any]]:
    """What each covariate contributes to the design: its levels, or its mean and standard deviation.

    The result is plain data, so that a `Fit` can rebuild the design for new cells.
    """
    keys = checks.strings("covariate_keys", covariate_keys)
    if batch_key is not None and batch_key in keys:
        raise ValueError(f"`covariate_keys` must not repeat the `batch_key` {brief(batch_key)}.")
    columns: list[dict[str, Any]] = []
    for argument, key in ([("batch_key", batch_key)] if batch_key is not None else []) + [
        ("covariate_keys", k) for k in keys
    ]:
        values = read_labels(adata, key, argument) if argument == "batch_key" else read_values(adata, key, argument)
        missing = int((values.codes < 0).sum() if isinstance(values, Labels) else (~np.isfinite(values)).sum())
        if missing:
            raise ValueError(f"`{argument}`: {missing} cells have no value of {brief(key)}; fill it in or remove them.")
        if isinstance(values, Labels):
            share = np.bincount(values.codes, minlength=len(values.levels)) / len(values.codes)
            columns.append({"key": key, "levels": values.levels, "share": share.tolist()})
        else:
            columns.append({"key": key, "mean": float(values.mean()), "std": float(values.std()) or 1.0})
    return columns


def design_matrix(adata: Any, columns: list[dict[str, Any]]) -> np.ndarray:
    """Cells × design columns, float32, centred so that zero is the average of the training cells."""
    parts = []
    for column in columns:
        key = column["key"]
        if key not in adata.obs:
            raise ValueError(
                f"`adata` must have the column {brief(key)} in adata.obs, which the fit takes into account."
            )
        if "levels" in column:
            labels = read_labels(adata, key, key)
            unknown = sorted(set(labels.levels) - set(column["levels"]))
            if unknown:
                raise ValueError(
                    f"the column {brief(key)} has levels that the fit has not seen ({checks.shown(unknown)}); "
                    f"known are {checks.shown(column['levels'])}."
                )
            if (labels.codes < 0).any():
                raise ValueError(
                    f"{int((labels.codes < 0).sum())} cells have no value of {brief(key)}; fill it in or remove them."
                )
            position = np.array([column["levels"].index(level) for level in labels.levels])
            one_hot = np.zeros((len(labels.codes), len(column["levels"])))
            one_hot[np.arange(len(labels.codes)), position[labels.codes]] = 1
            parts.append(one_hot - np.asarray(column["share"]))
        else:
            values = read_values(adata, key, key)
            if isinstance(values, Labels) or not np.isfinite(values).all():
                raise ValueError(f"the column {brief(key)} must hold finite numbers, as it did in the fit.")
            parts.append(((values - column["mean"]) / column["std"])[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32) if parts else np.zeros((adata.n_obs, 0), np.float32)


@dataclass(frozen=True)
class Minibatch:
    """Counts of some cells: the non-zeros by position, and what belongs to each cell.

    `flat` (nnz) is row * n_genes + column, `columns` (nnz) the gene, `values` (nnz) the count, `row_start` (n + 1)
    where each cell begins among them; `log_library` (n, 1), `design` (n, S).
    """

    flat: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
    row_start: torch.Tensor
    log_library: torch.Tensor
    design: torch.Tensor
    n_genes: int

    def __len__(self) -> int:
        return self.log_library.shape[0]

    def dense(self, values: torch.Tensor | None = None) -> torch.Tensor:
        """n × genes, zeros filled in; `values` in place of the counts if given."""
        out = torch.zeros(len(self) * self.n_genes, device=self.values.device)
        out[self.flat] = self.values if values is None else values
        return out.view(len(self), self.n_genes)

    def log1p_times(self, weight: torch.Tensor) -> torch.Tensor:
        """log(1 + counts) (n × genes) @ weight (genes × h), differentiable in the weight."""
        values = torch.log1p(self.values)
        if self.values.device.type != "cpu":
            return self.dense(values) @ weight
        product: torch.Tensor = _SparseTimes.apply(weight, self, values)
        return product


class _SparseTimes(torch.autograd.Function):
    """Sparse @ dense on a CPU, both ways by rows: the backward pass multiplies by the transpose, itself in CSR."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> torch.Tensor:
        weight, batch, values = args
        ctx.batch, ctx.x = batch, values
        return _csr(batch.row_start, batch.columns, values, (len(batch), batch.n_genes)) @ weight

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        batch = ctx.batch
        csr = (ctx.x.numpy(), batch.columns.numpy(), batch.row_start.numpy())
        transposed = sp.csr_matrix(csr, shape=(len(batch), batch.n_genes)).T.tocsr()
        start, column, value = (torch.from_numpy(a) for a in (transposed.indptr, transposed.indices, transposed.data))
        return _csr(start, column, value, (batch.n_genes, len(batch))) @ grads[0], None, None


def _csr(start: torch.Tensor, column: torch.Tensor, value: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    with warnings.catch_warnings():
        # torch calls its CSR layout a beta; only its product with a dense matrix is used here
        warnings.filterwarnings("ignore", message="Sparse CSR", category=UserWarning)
        return torch.sparse_csr_tensor(start, column, value, shape, check_invariants=False)


class SparseCounts:
    """A CSR matrix of counts on a device, from which minibatches are assembled without a Python loop."""

    def __init__(self, matrix: sp.csr_matrix, library: np.ndarray, design: np.ndarray, device: torch.device) -> None:
        self.n_cells, self.n_genes = matrix.shape
        self.device = device
        self._start = torch.from_numpy(matrix.indptr.astype(np.int64)).to(device)
        # torch reads these arrays and never writes them; a copy is made only where numpy forbids sharing
        self._column = _tensor(matrix.indices).to(device)
        self._value = _tensor(matrix.data).to(device)
        self.log_library = torch.from_numpy(np.log(library).astype(np.float32))[:, None].to(device)
        self.design = _tensor(design).to(device)

    def minibatch(self, rows: torch.Tensor) -> Minibatch:
        """The cells `rows` (int64, on the device)."""
        start = self._start[rows]
        length = self._start[rows + 1] - start
        ends = length.cumsum(0)
        total = int(ends[-1]) if len(rows) else 0
        row = torch.repeat_interleave(torch.arange(len(rows), device=self.device), length, output_size=total)
        position = torch.arange(total, device=self.device) + (start - ends + length)[row]
        column = self._column[position].long()
        return Minibatch(
            flat=row * self.n_genes + column,
            columns=column,
            values=self._value[position],
            row_start=torch.nn.functional.pad(ends, (1, 0)),
            log_library=self.log_library[rows],
            design=self.design[rows],
            n_genes=self.n_genes,
        )

    def arrays(self) -> list[np.ndarray]:
        """All that a fit learns from, on the CPU."""
        parts = (self._start, self._column, self._value, self.log_library, self.design)
        return [part.cpu().numpy() for part in parts]

    def epoch(self, rows: torch.Tensor, size: int, generator: torch.Generator) -> Iterator[Minibatch]:
        """Shuffled minibatches of `size` cells; a smaller remainder is left for another epoch."""
        order = rows[torch.randperm(len(rows), generator=generator, device=self.device)]
        for start in range(0, len(rows) - size + 1, size):
            yield self.minibatch(order[start : start + size])

    def blocks(self, size: int) -> Iterator[tuple[slice, Minibatch]]:
        """All cells in order."""
        for start in range(0, self.n_cells, size):
            stop = min(start + size, self.n_cells)
            yield slice(start, stop), self.minibatch(torch.arange(start, stop, device=self.device))


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())
