"""A sparse matrix gathered block by block: in memory while it is small, in a temporary file when it is not."""

from __future__ import annotations

import shutil
import tempfile
from itertools import pairwise
from typing import IO

import numpy as np
import scipy.sparse as sp

from .memory import free_memory

__all__ = ["Gathered", "among", "on_disk", "row_blocks", "sums_of_rows"]

_SHARE = 0.25  # of the free memory that counts read from a file may take; more of them stay on disk
_NARROW = np.iinfo(np.int32).max
_ENTRIES = 5_000_000  # non-zeros that are worked on at a time


class Gathered:
    """Blocks of rows become one CSR matrix of float32.

    Beyond a share of the free memory they go to a temporary file of the system's folder (`TMPDIR`), which the matrix
    maps into memory and which vanishes with it: the system keeps of it what memory there is.
    """

    def __init__(self, n_columns: int, processes: int = 1) -> None:
        self.n_columns = n_columns
        self._budget = _SHARE * free_memory() / processes  # of this machine, that gather at the same time
        self._parts: list[sp.csr_matrix] = []
        self._length: list[np.ndarray] = []
        self._files: tuple[IO[bytes], IO[bytes]] | None = None

    def add(self, block: sp.csr_matrix) -> None:
        """The next rows."""
        self._length.append(np.diff(block.indptr))
        if self._files is None:
            self._parts.append(block)
            if 8 * sum(part.nnz for part in self._parts) > self._budget:
                self._files = (tempfile.TemporaryFile(), tempfile.TemporaryFile())
                for part in self._parts:
                    self._write(part)
                self._parts = []
        else:
            self._write(block)

    def _write(self, block: sp.csr_matrix) -> None:
        assert self._files is not None
        need = 8 * block.nnz
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if need > free:
            raise OSError(
                f"the counts do not fit into memory, and {tempfile.gettempdir()} has {free:.3g} bytes left for them; "
                "set the environment variable TMPDIR to a folder on a larger disk."
            )
        for file, array, kind in zip(self._files, (block.data, block.indices), (np.float32, np.int32), strict=True):
            file.write(np.ascontiguousarray(array, dtype=kind).data)

    def matrix(self) -> sp.csr_matrix:
        """All rows."""
        if self._files is None:
            return self._parts[0] if len(self._parts) == 1 else sp.vstack(self._parts, format="csr")
        start = np.concatenate([np.zeros(1, np.int64), *self._length]).cumsum()
        for file in self._files:
            file.flush()
        data = _mapped(self._files[0], np.float32, int(start[-1]))
        indices = _mapped(self._files[1], np.int32, int(start[-1]))
        if start[-1] > _NARROW:  # scipy wants both kinds of index equally wide
            with_room = tempfile.TemporaryFile()
            for first in range(0, len(indices), _ENTRIES):
                with_room.write(indices[first : first + _ENTRIES].astype(np.int64).data)
            with_room.flush()
            indices = _mapped(with_room, np.int64, int(start[-1]))
        out = sp.csr_matrix((len(start) - 1, self.n_columns), dtype=np.float32)
        out.data, out.indices, out.indptr = data, indices, start.astype(indices.dtype)
        return out


def _mapped(file: IO[bytes], kind: type, length: int) -> np.ndarray:
    return np.memmap(file, kind, "r", shape=(length,)) if length else np.empty(0, kind)


def among(matrix: sp.csr_matrix, rows: slice, n_rows: int) -> sp.csr_matrix:
    """A matrix as the rows `rows` of a taller one that is empty elsewhere; the entries are not copied."""
    out = sp.csr_matrix((n_rows, matrix.shape[1]), dtype=matrix.dtype)
    out.data, out.indices = matrix.data, matrix.indices
    out.indptr = np.pad(matrix.indptr, (rows.start, n_rows - rows.stop), "edge")
    return out


def on_disk(matrix: sp.csr_matrix) -> bool:
    """Whether the counts of a matrix are in a file."""
    return isinstance(matrix.data, np.memmap)


def row_blocks(matrix: sp.csr_matrix, entries: int | None = None) -> list[slice]:
    """All rows of a matrix in order, in slices of so many non-zeros or a row."""
    entries = _ENTRIES if entries is None else entries
    start = matrix.indptr
    n_blocks = max(1, -(-int(start[-1]) // entries))
    edges = np.searchsorted(start, np.linspace(0, int(start[-1]), n_blocks + 1))
    edges[0], edges[-1] = 0, matrix.shape[0]
    edges = np.unique(edges)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def sums_of_rows(matrix: sp.csr_matrix, weight: np.ndarray | sp.csr_matrix) -> np.ndarray:
    """weightᵀ @ matrix (dense, float64) for weights rows × groups, without a copy of the matrix."""
    weight = sp.csr_matrix(weight, dtype=np.float64)
    total = np.zeros((weight.shape[1], matrix.shape[1]))
    for rows in row_blocks(matrix):
        total += (weight[rows].T @ matrix[rows]).toarray()
    return total
