"""How honest the intervals of loadings are where a model of scvi-tools had only points.

    make test-scvi  # once: the environment
    .venv-scvi/bin/python benchmarks/scvi/loadings.py

Simulated cells whose programs are known: in each factor, genes without any effect share one loading, so 95 of 100 of
their 95 % intervals should hold it. Prints one row per model and data set.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import scvi

import ldvae


def row(name: str, seed: int, fit: ldvae.Fit, affected: np.ndarray) -> dict[str, object]:
    table = ldvae.get_loadings_uncertainty(fit).pivot(index="gene", columns="factor")
    table = table.loc[fit.genes]
    loading, std, lfsr = (table[column].to_numpy() for column in ("loading", "std", "lfsr"))
    common = np.median(loading[~affected], axis=0)
    return {
        "model": name,
        "seed": seed,
        "active": loading.shape[1],
        "covered": (np.abs(loading - common) < 1.96 * std)[~affected].mean(),
        "sure_without_effect": (lfsr < 0.05)[~affected].mean(),
        "sure_with_effect": (lfsr < 0.05)[affected].mean(),
    }


def main() -> None:
    rows = []
    for seed in range(3):
        adata = ldvae.simulate_counts(
            n_cells=1500, n_genes=300, n_populations=3, program_size=20, n_identity=20, n_batches=1, seed=seed
        )
        effects = [adata.uns["truth"][k] for k in ("identity", "programs", "shared")]
        affected = np.any(np.concatenate(effects) != 0, axis=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scvi.settings.seed = seed
            scvi.model.LinearSCVI.setup_anndata(adata)
            for max_epochs in (100, 400):
                model = scvi.model.LinearSCVI(adata)
                model.train(max_epochs=max_epochs, accelerator="cpu", enable_progress_bar=False)
                rows.append(
                    row(
                        f"LinearSCVI, {max_epochs} epochs",
                        seed,
                        ldvae.from_scvi(model, measure_factors=False),
                        affected,
                    )
                )
        own = ldvae.fit_ldvae(adata, n_latent=10, device="cpu", progress=False, seed=seed, measure_factors=False)
        rows.append(row("fit_ldvae", seed, own, affected))
    print(pd.DataFrame(rows).sort_values(["model", "seed"]).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
