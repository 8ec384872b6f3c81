"""Annotated counts out of files: .h5ad, .zarr and the .h5 of 10x Genomics; of other formats, how to convert them."""

from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from .source import unique_symbols

__all__ = ["read_file"]

_WANTED = "`adata` must be an .h5ad file, a .zarr folder or an .h5 file of 10x Genomics"
_CONVERT = {
    ".h5mu": "a MuData: write the modality with the counts to an .h5ad file",
    ".loom": "a loom file: python -c \"import scanpy; scanpy.read_loom('{0}').write_h5ad('counts.h5ad')\"",
    ".rds": "an R object: use the R package, or write it to an .h5ad file with zellkonverter or anndataR",
    ".csv": "a table: python -c \"import scanpy; scanpy.read_csv('{0}').write_h5ad('counts.h5ad')\" (rows are cells)",
    ".mtx": "a matrix without names: convert its folder with scanpy.read_10x_mtx",
}
_FOLDER = "a folder with a matrix: python -c \"import scanpy; scanpy.read_10x_mtx('{0}').write_h5ad('counts.h5ad')\""


def read_file(path: str) -> anndata.AnnData:
    """The cells of a file.

    Raises
    ------
    ValueError
        If there is none, or it holds something else; the message says how to convert it.
    ImportError
        If reading it needs a package.
    """
    file, plain = Path(path), path.removesuffix(".gz").lower()
    what = next((text for ending, text in _CONVERT.items() if plain.endswith(ending)), None)
    if file.is_dir() and any((file / name).exists() for name in ("matrix.mtx", "matrix.mtx.gz")):
        what = _FOLDER
    if what is not None:
        raise ValueError(f"{_WANTED}, and {path!r} is {what.format(path)}.")
    if not file.exists():
        raise ValueError(f"{_WANTED}, and there is none at {path!r}.")
    try:
        if file.is_dir():
            return anndata.read_zarr(path)
        return _of_10x(path) if path.endswith(".h5") else anndata.read_h5ad(path)
    except ImportError:
        raise ImportError("Folders of zarr need zarr: pip install zarr, or give an .h5ad file.") from None
    except (OSError, KeyError) as error:
        raise ValueError(f"{_WANTED}, and {path!r} is not one ({error}).") from None


def _of_10x(path: str) -> anndata.AnnData:
    """Counts as Cell Ranger writes them, of version 3 (`/matrix`) or 2 (one group, the genome)."""
    with h5py.File(path, "r") as file:
        group = file["matrix"] if "matrix" in file else file[next(iter(file))]
        if "obs" in file or not {"barcodes", "data", "indices", "indptr", "shape"} <= set(group):
            raise KeyError("no counts of Cell Ranger; an .h5ad file must be called so")
        features, names = (group["features"], "name") if "features" in group else (group, "gene_names")
        ids = features["id" if "features" in group else "genes"]
        columns = {"gene_ids": ids, "gene_symbols": features[names]}
        columns |= {
            ours: features[theirs]
            for ours, theirs in (("feature_types", "feature_type"), ("genome", "genome"))
            if "features" in group and theirs in features
        }
        var = pd.DataFrame({name: values[:].astype(str).astype(object) for name, values in columns.items()})
        n_genes, n_cells = group["shape"][:]
        parts = (group["data"][:].astype(np.float32), group["indices"][:], group["indptr"][:])
        counts = sp.csr_matrix(parts, (int(n_cells), int(n_genes)))
        obs = pd.DataFrame(index=group["barcodes"][:].astype(str).astype(object))
    symbols = unique_symbols(var["gene_symbols"], var["gene_ids"].to_numpy(object))
    return anndata.AnnData(counts, obs=obs, var=var.set_index(pd.Index(symbols)))
