"""Differential expression against scvi-tools, population loadings, and both on a million cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from timing import Row, counts, paired, peak_megabytes, quiet, spread, timed

import ldvae

LIBRARY = 300.0


def expression(threads: int) -> list[Row]:
    """All of 8 groups against the rest, batch-corrected, on 6,000 cells × 2,000 genes."""
    torch.set_num_threads(threads)
    adata = counts(6_000, 2_000, LIBRARY)
    fit = ldvae.fit_ldvae(adata, batch_key="batch", max_epochs=3, progress=False, device="cpu")
    model = scvi_model(adata)
    ask = {"groupby": "group"}

    def theirs() -> float:
        with quiet():
            return timed(model.differential_expression, **ask, batch_correction=True, silent=True)[0]

    def ours(**more: str) -> float:
        return timed(ldvae.differential_expression, fit, adata, **ask, **more)[0]

    a, b = paired(ours, theirs, 7)
    every, once = paired(lambda: ours(group2="pairwise"), ours, 3)
    setting = f"8 groups, 6,000 × 2,000, threads: {threads}"
    return [
        spread("differential expression", "seconds, ldvae", setting, a, "s"),
        spread("differential expression", "seconds, LinearSCVI", setting, b, "s"),
        spread("differential expression", "times as fast as LinearSCVI", setting, b / a, "×"),
        spread("differential expression", "all pairs over one against rest", setting, every / once, "×"),
    ]


def scvi_model(adata: Any) -> Any:
    """LinearSCVI after one epoch: its differential expression takes as long however well it is trained."""
    import scvi

    threads = torch.get_num_threads()
    with quiet():
        scvi.settings.verbosity = 40
        data = adata.copy()
        scvi.model.LinearSCVI.setup_anndata(data, batch_key="batch")
        model = scvi.model.LinearSCVI(data, n_latent=10)
        model.train(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False)
    torch.set_num_threads(threads)
    return model


def populations() -> list[Row]:
    """Loadings of 8 populations on 6,000 cells × 2,000 genes, one thread."""
    torch.set_num_threads(1)
    adata = ldvae.simulate_counts(n_cells=6000, n_genes=2000, n_populations=8, seed=501)
    fit = ldvae.fit_ldvae(adata, batch_key="batch", progress=False, device="cpu")
    rows, setting = [], "8 populations, 6,000 × 2,000, threads: 1"
    ask = {"groupby": "population"}
    for kind in ("between", "specific", "within"):
        fresh = replace(fit)  # nothing remembered from the kind before
        took, _ = timed(ldvae.population_loadings, fresh, adata, kind=kind, **ask)
        rows.append(Row("population loadings", f"seconds, {kind}", setting, took, "s"))
    both = replace(fit)
    ldvae.population_loadings(both, adata, kind="specific", **ask)
    took, _ = timed(ldvae.population_loadings, both, adata, kind="within", **ask)
    rows.append(Row("population loadings", "seconds, within after specific", setting, took, "s"))
    return rows


def million(n_cells: int = 1_000_000) -> list[Row]:
    """What follows the encoding, on a million cells: their posterior is that of 20,000 cells, repeated."""
    torch.set_num_threads(2)
    rows = []
    for n_genes, n_groups, library in ((1_000, 10, 100.0), (2_000, 20, 150.0)):
        small = counts(20_000, n_genes, library, n_groups)
        fit = ldvae.fit_ldvae(small, batch_key="batch", max_epochs=2, progress=False, device="cpu")
        adata = counts(n_cells, n_genes, library, n_groups)
        times = n_cells // small.n_obs
        fit = replace(
            fit,
            cells=adata.obs_names.to_numpy(dtype=object),
            lib_size=np.asarray(adata.X.sum(1), dtype=np.float64).ravel(),
            latent_mean=np.tile(fit.latent_mean, (times, 1)),
            latent_variance=np.tile(fit.latent_variance, (times, 1)),
        )
        setting = f"{n_cells:,} × {n_genes:,}, {n_groups} groups, threads: 2"
        held = peak_megabytes()
        took, _ = timed(ldvae.differential_expression, fit, adata, groupby="group")
        rows.append(Row("a million cells", "seconds, differential expression", setting, took, "s"))
        more = peak_megabytes() - held
        rows.append(Row("a million cells", "more memory, differential expression", setting, more, "MB"))
        for kind in ("between", "specific") if n_genes == 2_000 else ("between",):
            took, _ = timed(ldvae.population_loadings, fit, adata, groupby="group", kind=kind)
            rows.append(Row("a million cells", f"seconds, {kind}", setting, took, "s"))
    return rows
