"""Cells and genes that a fit has not seen, held against a fit that saw them.

Section `new data`. Positions of different fits are compared by the canonical scores of the fit that saw all, predicted
linearly from those of the other; the map is learnt on cells that both trained on, and judged on the left-out ones.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from factors import read
from rows import Row
from scipy.cluster.vq import kmeans2

import ldvae

LEFT_OUT = {"pbmc_3chem": ("5p", "3p_v3"), "pbmc_multi": ("pbmc3k", "sorted_donorA", "kang")}
CELLS = 1000  # of each batch of the larger set
MISSING = (0.05, 0.2, 0.5)
SETTINGS = {"progress": False, "device": "cpu", "batch_key": "batch", "genes": "hv"}


def _scores(fit: ldvae.Fit, adata: ad.AnnData) -> np.ndarray:
    return ldvae.get_latent(fit, adata).iloc[:, 1:].to_numpy()


def _predicted(one: np.ndarray, two: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Mean correlation of `two` with its prediction from `one`."""
    design = np.column_stack([np.ones(len(one)), one])
    found = design[test] @ np.linalg.lstsq(design[train], two[train], rcond=None)[0]
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, two[test].T, strict=True)]))


def _changes(fit: ldvae.Fit, cells: ad.AnnData, genes: str = "fit") -> pd.DataFrame:
    largest = cells.obs["group"].value_counts().index[:2].tolist()
    de = ldvae.differential_expression(
        fit, cells, groupby="group", group1=largest[0], group2=largest[1], genes=genes, seed=0
    )
    return de.set_index("gene")[["lfc_mean", "is_de"]]


def _compared(one: pd.DataFrame, two: pd.DataFrame, what: str, at: tuple[str, str, int]) -> list[Row]:
    """Fold changes and calls of one analysis against those of another, for the genes of both."""
    both = one.join(two, lsuffix="1", rsuffix="2", how="inner").dropna()
    a, b = both["lfc_mean1"].to_numpy(), both["lfc_mean2"].to_numpy()
    called = both[["is_de1", "is_de2"]].to_numpy(bool)
    return [
        Row("new data", f"{what}: fold changes, correlation", *at, float(np.corrcoef(a, b)[0, 1])),
        Row("new data", f"{what}: fold changes, slope", *at, float((a @ b) / (b @ b))),
        Row("new data", f"{what}: calls in common", *at, float(called.all(1).sum() / max(called.any(1).sum(), 1))),
    ]


def _cells(data: Path, name: str) -> ad.AnnData:
    if name == "pbmc_multi":
        cells = read(data, name)
        rows = pd.Series(np.random.default_rng(0).permutation(cells.n_obs))
        batch = cells.obs["batch"].to_numpy()[rows]
        cells = cells[np.sort(rows[rows.groupby(batch).cumcount() < CELLS])].copy()
        cells.obs["group"] = cells.obs["cell_type"].astype(str)
        return cells
    cells = ad.read_h5ad(data / f"{name}.h5ad")
    cells.obs["cell_type"] = "cell"
    cells.obs_names_make_unique()
    dispersion = np.asarray(cells.X.power(2).mean(0) / (cells.X.mean(0) + 1e-9)).ravel()
    cells.var["hv"] = np.argsort(np.argsort(-dispersion)) < 2000
    return cells


def batches(data: Path, name: str, left_out: str) -> list[Row]:
    """One batch is left out of training; its cells are then asked about."""
    cells = _cells(data, name)
    new = (cells.obs["batch"] == left_out).to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, again = (ldvae.fit_ldvae(cells, seed=seed, **SETTINGS) for seed in (0, 1))
        some = ldvae.fit_ldvae(cells[~new].copy(), seed=0, **SETTINGS)
        wanted = _scores(whole, cells)
        if name == "pbmc_3chem":
            cells.obs["group"] = kmeans2(wanted, 4, minit="++", seed=0)[1].astype(str)
        own, at = cells[new].copy(), (f"{name}, without {left_out}", "ldvae", 0)
        rows = [
            Row("new data", f"{who}: positions, correlation", *at, _predicted(_scores(fit, cells), wanted, ~new, new))
            for who, fit in (("new batch", some), ("another seed that saw it", again))
        ]
        return rows + _compared(_changes(some, own), _changes(whole, own), "new batch", at)


def genes(data: Path, name: str) -> list[Row]:
    """A share of the genes is missing in cells that the fit has not seen."""
    cells = _cells(data, name)
    held = np.random.default_rng(0).random(cells.n_obs) < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = ldvae.fit_ldvae(cells[~held].copy(), seed=0, **SETTINGS)
        own = cells[held].copy()
        wanted = _scores(fit, own)
        if name == "pbmc_3chem":
            own.obs["group"] = kmeans2(wanted, 4, minit="++", seed=0)[1].astype(str)
        rows, changes = [], _changes(fit, own)
        for share in MISSING:
            kept = np.random.default_rng(int(100 * share)).random(own.n_vars) >= share
            cut, at = own[:, kept].copy(), (f"{name}, {share:.0%} of the genes missing", "ldvae", 0)
            found = _scores(fit, cut)
            r = [np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, wanted.T, strict=True)]
            rows.append(Row("new data", "missing genes: positions, correlation", *at, float(np.mean(r))))
            rows.append(Row("new data", "missing genes: positions, lowest correlation of a factor", *at, float(min(r))))
            slope = [(a @ b) / (b @ b) for a, b in zip(found.T, wanted.T, strict=True)]
            rows.append(Row("new data", "missing genes: positions, slope", *at, float(np.mean(slope))))
            rows += _compared(_changes(fit, cut), changes, "missing genes", at)
    return rows
