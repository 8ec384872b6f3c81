"""Counts out of an AnnData: sparse or dense, in memory or on disk, checked to be counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .. import checks
from ..checks import brief
from ..machine.processes import ALONE, Ranks
from ..machine.sparse import Gathered, among
from .labels import read_cells, read_values
from .quality import Quality
from .source import Source, find_counts, gene_columns

__all__ = ["Counts", "read_counts"]

_ROWS_AT_A_TIME = 4096  # of a file or a dense array
_PROBE = 100  # cells that all processes of a job read, to see that they have the same


@dataclass(frozen=True)
class Counts:
    """Raw counts of the modelled genes.

    Attributes
    ----------
    matrix
        Cells × genes, CSR, float32, whole non-negative numbers.
    cells, genes
        Names of rows and columns.
    lib_size
        Library size of each cell, float64: the total over *all* genes of the object, or the size factor
        rescaled to the same mean.
    closed
        Whether the modelled genes make up the whole library, so that their expression sums to one.
    size_factor_scale
        Counts per unit of size factor (None without size factors).
    """

    matrix: sp.csr_matrix
    cells: np.ndarray
    genes: np.ndarray
    lib_size: np.ndarray
    closed: bool
    size_factor_scale: float | None = None


def _check_structure(matrix: Any, where: str) -> None:
    """Refuse sparse matrices whose indices lead out of the arrays, which compiled code would follow blindly."""
    if matrix.format not in ("csr", "csc"):
        return
    major, minor = matrix.shape if matrix.format == "csr" else matrix.shape[::-1]
    start, index = matrix.indptr, matrix.indices
    whole = len(start) == major + 1 and start[0] == 0 and start[-1] <= min(len(index), len(matrix.data))
    index = index[: start[-1]] if whole else index
    if not whole or (np.diff(start) < 0).any() or (len(index) and not 0 <= index.min() <= index.max() < minor):
        raise ValueError(f"`{where}` is a damaged sparse matrix: its indices point outside of it; read the data again.")


def _block_to_csr(block: Any, quality: Quality) -> sp.csr_matrix:
    if hasattr(block, "compute"):  # of dask
        block = block.compute()
    if sp.issparse(block):
        _check_structure(block, quality.where)
        block = block.tocsr()
        whole = quality.counts(block.data, block[:_PROBE])
        if whole is not block.data:
            block = sp.csr_matrix((whole, block.indices, block.indptr), block.shape)
        if not block.has_canonical_format or np.count_nonzero(block.data) < len(block.data):
            block = block.copy()
            block.sum_duplicates()
            block.eliminate_zeros()  # what training counts as an entry is at least 1
    else:
        block = np.asarray(block)
        whole = quality.counts(block.reshape(-1), block[:_PROBE])
        block = sp.csr_matrix(whole.reshape(block.shape).astype(np.float32, copy=False))
    return block


def read_counts(
    adata: Any,
    *,
    layer: str | None = None,
    genes: Any = None,
    gene_symbols: str | None = None,
    size_factor_key: str | None = None,
    size_factor_scale: float | None = None,
    say: bool = True,
    ranks: Ranks = ALONE,
) -> Counts:
    """Counts of the modelled genes and library sizes of all.

    Sparse or dense, any dtype that holds whole numbers or nearly so, in memory, backed or zarr; features that are no
    genes by `adata.var["feature_types"]` take no part; `adata` is never changed. An
    in-memory float32 CSR of all genes is used as it is, without a copy; of a file, what would take more than a quarter
    of the free memory is kept in a temporary file.

    Parameters
    ----------
    adata
        Annotated counts, cells × genes.
    layer
        The layer with the counts; `X` if None or "X", those of `adata.raw` if "raw".
    genes
        Names, or a boolean column of `adata.var`; all genes if None.
    gene_symbols
        Column of `adata.var` with the names of genes, in place of its index.
    size_factor_key
        A numeric column of `adata.obs` used in place of the total count.
    size_factor_scale
        Counts per unit of size factor, as in the fit; by default such that library sizes keep their mean.
    say
        Whether to warn of values that are hardly counts and of features that are left out.
    ranks
        The processes that share the cells: the others' rows of the matrix stay empty and unread.

    Raises
    ------
    TypeError, ValueError
        One sentence on what is wrong with the argument or the values.
    """
    source, cells = find_counts(adata, layer, gene_symbols), read_cells(adata)
    chosen = gene_columns(source, genes)
    matrix, library, quality = _gather(source, chosen, cells, ranks)
    empty = int((library == 0).sum())
    if empty:
        raise ValueError(f"{empty} of {len(cells)} cells have no counts; remove them before the fit.")
    if say and ranks.rank == 0:
        quality.say(library)
        _say_others(source)
    if size_factor_key is not None:
        factor = read_values(adata, size_factor_key, "size_factor_key")
        if not isinstance(factor, np.ndarray) or not bool(np.all(np.isfinite(factor) & (factor > 0))):
            raise ValueError(
                f"`size_factor_key` must name a column of positive numbers, which {brief(size_factor_key)} is not."
            )
        size_factor_scale = size_factor_scale or float(library.mean() / factor.mean())
        library = factor * size_factor_scale
    kept = source.genes if chosen is None else source.genes[chosen]
    closed = size_factor_key is None and len(kept) == len(source.genes)
    return Counts(matrix, cells, kept, library, closed, size_factor_scale)


def _gather(
    source: Source, chosen: np.ndarray | None, cells: np.ndarray, ranks: Ranks
) -> tuple[sp.csr_matrix, np.ndarray, Quality]:
    """Counts of the chosen genes, the library sizes of all cells, and what was seen of the values."""
    stored, quality, n_cells = source.matrix, Quality(source.where), len(cells)
    whole = isinstance(stored, np.ndarray) or sp.issparse(stored)
    rows = ranks.rows(n_cells)
    if ranks.n > 1:
        if whole and sp.issparse(stored):
            _check_structure(stored, source.where)  # before rows are taken
        probe = _block_to_csr(stored[:_PROBE], Quality(source.where))
        ranks.same(cells, source.genes, probe.data, probe.indices)
    library, gathered = np.zeros(n_cells), Gathered(len(source.genes if chosen is None else chosen), ranks.here)
    step = n_cells if whole and sp.issparse(stored) else _ROWS_AT_A_TIME
    for start in range(rows.start, rows.stop, step):
        stop = min(start + step, rows.stop)
        if stop - start < n_cells:
            block = _block_to_csr(stored[start:stop], quality)
        else:
            block = _block_to_csr(stored if whole else stored[:], quality)
        if source.columns is not None:
            block = block[:, source.columns]
        library[start:stop] = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
        if chosen is not None:
            block = block[:, chosen]
        if source.columns is not None or chosen is not None:
            block.sort_indices()
        gathered.add(block.astype(np.float32, copy=False))
    matrix = sp.csr_matrix(gathered.matrix())
    if ranks.n > 1:
        matrix, library = among(matrix, rows, n_cells), ranks.sum(library)
    return matrix, library, quality


def _say_others(source: Source) -> None:
    if len(source.others):
        kinds = ", ".join(f"{n:,} {kind!r}" for kind, n in source.others.value_counts().items())
        checks.note(
            f"Left out are features that are no genes by adata.var['feature_types']: {kinds}. Library sizes are "
            "those of the genes."
        )
