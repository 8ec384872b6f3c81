"""Counts out of an AnnData: sparse or dense, in memory or on disk, checked to be counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .. import checks
from ..checks import brief
from ..machine.processes import ALONE, Ranks
from ..machine.sparse import Gathered, among
from .labels import check_anndata, read_values, unique_names

__all__ = ["Counts", "read_counts"]

_ROWS_AT_A_TIME = 4096  # of a file or a dense array
_VALUES_AT_A_TIME = 1_000_000  # so that checking them takes no memory to speak of
_PROBE = 100  # cells that all processes of a job read, to see that they have the same
_LARGEST = 2**24  # a float32 holds every whole number up to here


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


def _source(adata: AnnData, layer: str | None) -> tuple[Any, str]:
    if layer is None:
        if adata.X is None:
            raise ValueError("`adata.X` is empty; name the layer that holds the counts with `layer`.")
        return adata.X, "adata.X"
    if not isinstance(layer, str) or layer not in adata.layers:
        there = f"has {checks.shown(adata.layers)}" if len(adata.layers) else "has none"
        raise ValueError(f"`layer` must be a layer of `adata`, which {there}, not {brief(layer)}.")
    return adata.layers[layer], f"adata.layers[{layer!r}]"


def _gene_columns(adata: AnnData, genes: Any, names: np.ndarray) -> np.ndarray | None:
    """Column numbers of the genes to model, or None for all of them."""
    if genes is None:
        return None
    if isinstance(genes, str) and genes in adata.var:
        column = adata.var[genes]
        if column.dtype != bool:
            raise ValueError(
                f"`genes` names the column {brief(genes)} of adata.var, which must be boolean, not {column.dtype}."
            )
        if not column.any():
            raise ValueError(f"`genes` names the column {brief(genes)} of adata.var, which selects no gene.")
        return np.flatnonzero(column.to_numpy())
    if isinstance(genes, str) and genes not in names:
        raise ValueError(
            f"`genes` must be a boolean column of adata.var or names of genes, and {brief(genes)} is neither."
        )
    wanted = checks.strings("genes", genes)
    if not wanted:
        raise ValueError("`genes` must name at least one gene.")
    found = pd.Index(names).get_indexer(pd.Index(wanted))
    if (found < 0).any():
        missing = [g for g, j in zip(wanted, found, strict=True) if j < 0]
        raise ValueError(f"{len(missing)} of {len(wanted)} genes are not in `adata`: {checks.shown(missing)}.")
    return None if np.array_equal(found, np.arange(len(names))) else found


def _check_values(values: np.ndarray, where: str) -> None:
    if values.dtype.kind not in "uifb":
        raise TypeError(f"`{where}` must hold numbers, not {values.dtype}.")
    for start in range(0, len(values), _VALUES_AT_A_TIME):
        part = values[start : start + _VALUES_AT_A_TIME]
        whole = part.dtype.kind in "uib" or bool((part == np.floor(part)).all())
        # a comparison that holds is also one without NaN
        if not (whole and part.min() >= 0 and float(part.max()) <= _LARGEST):
            _refuse(part, where)


def _refuse(values: np.ndarray, where: str) -> None:
    with np.errstate(invalid="ignore"):
        counts = (values >= 0) & (values == np.floor(values)) & (np.abs(values) < np.inf)
    if not counts.all():
        raise ValueError(
            f"`{where}` must hold raw counts (whole numbers, zero or more), but has the value {values[~counts][0]:g}; "
            "if the counts are in a layer, name it with `layer`."
        )
    raise ValueError(f"`{where}` must hold counts of at most {_LARGEST:,}, but has the value {values.max():g}.")


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


def _block_to_csr(block: Any, where: str) -> sp.csr_matrix:
    if hasattr(block, "compute"):  # of dask
        block = block.compute()
    if sp.issparse(block):
        _check_structure(block, where)
        block = block.tocsr()
        _check_values(block.data, where)
        if not block.has_canonical_format or np.count_nonzero(block.data) < len(block.data):
            block = block.copy()
            block.sum_duplicates()
            block.eliminate_zeros()  # what training counts as an entry is at least 1
    else:
        block = np.asarray(block)
        _check_values(block.reshape(-1), where)
        block = sp.csr_matrix(block.astype(np.float32, copy=False))
    return block


def read_counts(
    adata: Any,
    *,
    layer: str | None = None,
    genes: Any = None,
    size_factor_key: str | None = None,
    size_factor_scale: float | None = None,
    ranks: Ranks = ALONE,
) -> Counts:
    """Counts of the modelled genes and library sizes of all.

    Sparse or dense, any dtype that holds whole numbers, in memory, backed or zarr; `adata` is never changed. An
    in-memory float32 CSR of all genes is used as it is, without a copy; of a file, what would take more than a quarter
    of the free memory is kept in a temporary file.

    Parameters
    ----------
    adata
        Annotated counts, cells × genes.
    layer
        The layer with the counts; `X` if None.
    genes
        Names, or a boolean column of `adata.var`; all genes if None.
    size_factor_key
        A numeric column of `adata.obs` used in place of the total count.
    size_factor_scale
        Counts per unit of size factor, as in the fit; by default such that library sizes keep their mean.
    ranks
        The processes that share the cells: the others' rows of the matrix stay empty and unread.

    Raises
    ------
    TypeError, ValueError
        One sentence on what is wrong with the argument or the values.
    """
    adata = check_anndata(adata)
    all_genes = unique_names(adata.var_names, "gene", "adata.var_names_make_unique()")
    cells = unique_names(adata.obs_names, "cell", "adata.obs_names_make_unique()")
    columns = _gene_columns(adata, genes, all_genes)
    source, where = _source(adata, layer)
    whole = isinstance(source, np.ndarray) or sp.issparse(source)
    rows = ranks.rows(adata.n_obs)
    if ranks.n > 1:
        if whole and sp.issparse(source):
            _check_structure(source, where)  # before rows are taken
        probe = _block_to_csr(source[:_PROBE], where)
        ranks.same(cells, all_genes, probe.data, probe.indices)
    library, gathered = np.zeros(adata.n_obs), Gathered(len(all_genes) if columns is None else len(columns), ranks.here)
    step = adata.n_obs if whole and sp.issparse(source) else _ROWS_AT_A_TIME
    for start in range(rows.start, rows.stop, step):
        stop = min(start + step, rows.stop)
        if stop - start < adata.n_obs:
            block = _block_to_csr(source[start:stop], where)
        else:
            block = _block_to_csr(source if whole else source[:], where)
        library[start:stop] = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
        if columns is not None:
            block = block[:, columns]
            block.sort_indices()
        gathered.add(block.astype(np.float32, copy=False))
    matrix = sp.csr_matrix(gathered.matrix())
    if ranks.n > 1:
        matrix, library = among(matrix, rows, adata.n_obs), ranks.sum(library)
    empty = int((library == 0).sum())
    if empty:
        raise ValueError(f"{empty} of {adata.n_obs} cells have no counts; remove them before the fit.")
    if size_factor_key is not None:
        factor = read_values(adata, size_factor_key, "size_factor_key")
        if not isinstance(factor, np.ndarray) or not bool(np.all(np.isfinite(factor) & (factor > 0))):
            raise ValueError(
                f"`size_factor_key` must name a column of positive numbers, which {brief(size_factor_key)} is not."
            )
        size_factor_scale = size_factor_scale or float(library.mean() / factor.mean())
        library = factor * size_factor_scale
    kept = all_genes if columns is None else all_genes[columns]
    closed = size_factor_key is None and len(kept) == len(all_genes)
    return Counts(matrix, cells, kept, library, closed, size_factor_scale)
