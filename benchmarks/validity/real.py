"""Real counts with known answers; needs the files in the folder LDVAE_DATA (see the README beside this file).

`pbmc_sorted3500.h5ad` (bead-sorted PBMC, Zheng et al. 2017), `kang_ifnb.h5ad` (interferon beta, Kang et al. 2018),
`pbmc_3chem.h5ad` (three chemistries), `markers.json` (published markers), `hallmark.gmt` (MSigDB hallmark gene sets).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from rows import Row
from sklearn.metrics import roc_auc_score

import ldvae


def read(folder: Path, name: str, n_genes: int | None = 3000) -> ad.AnnData:
    """Counts of the genes seen in at least 10 cells; of more than `n_genes` those that vary most beyond Poisson."""
    adata = ad.read_h5ad(folder / name)
    x = sp.csr_matrix(adata.X, dtype=np.float32)
    seen = np.asarray((x > 0).sum(0)).ravel() >= 10
    mean = np.asarray(x.mean(0)).ravel()
    excess = (np.asarray(x.power(2).mean(0)).ravel() - mean**2) / np.maximum(mean, 1e-9)
    chosen = np.argsort(-np.where(seen, excess, 0))[: n_genes or seen.sum()]
    adata.X = x
    adata.var["modelled"] = np.isin(np.arange(adata.n_vars), chosen) & seen
    return adata


def fitted(adata: ad.AnnData, **settings: Any) -> ldvae.Fit:
    return ldvae.fit_ldvae(adata, genes="modelled", seed=0, progress=False, device="cpu", **settings)


def hallmark(folder: Path, name: str) -> set[str]:
    """Genes of one set."""
    for line in (folder / "hallmark.gmt").read_text().splitlines():
        parts = line.split("\t")
        if parts[0] == name:
            return set(parts[2:])
    raise ValueError(f"hallmark.gmt has no set {name}")


def sorted_cells(folder: Path) -> list[Row]:
    """`between` against published markers: AUROC of a population's markers among all genes, by signed evidence."""
    adata = read(folder, "pbmc_sorted3500.h5ad", None)
    fit = fitted(adata)
    key = next(k for k in adata.obs if "CD14+ Monocyte" in set(adata.obs[k]))
    table = ldvae.population_loadings(fit, adata, groupby=key, kind="between")
    sets = json.loads((folder / "markers.json").read_text())["pbmc_sorted_scMINER"]["sets"]
    names = {
        "CD14+ Monocyte": "Monocyte", "CD19+ B": "Bcell", "CD56+ NK": "NK", "CD4+/CD25 T Reg": "CD4TReg",
        "CD4+/CD45RA+/CD25- Naive T": "CD4NaiveT", "CD4+/CD45RO+ Memory": "CD4TCM",
        "CD8+/CD45RA+ Naive Cytotoxic": "CD8NaiveCTL",
    }  # fmt: skip
    rows = []
    for population, name in names.items():
        part = table[table["population"] == population]
        score = np.sign(part["loading"]) * (1 - part["lfsr"]) + 1e-3 * part["loading"]
        value = roc_auc_score(part["gene"].isin(sets[name]), score)
        rows.append(Row("real", f"AUROC of published markers, {population}", "sorted PBMC", "ldvae", 0, value))
    return rows


def interferon(folder: Path) -> list[Row]:
    """The response to interferon beta: one program, in all cell types, nobody's own, going with the condition."""
    adata = read(folder, "kang_ifnb.h5ad")
    fit = fitted(adata)
    genes = hallmark(folder, "HALLMARK_INTERFERON_ALPHA_RESPONSE")
    ask = {"groupby": "cell_type"}
    within = ldvae.population_loadings(fit, adata, kind="within", **ask)
    auc = {}
    for (population, program), part in within.groupby(["population", "program"]):
        known = part["gene"].isin(genes)
        if known.sum() >= 10:
            side = part["loading"] * (1 - part["lfsr"])
            auc[population, program] = max(a := roc_auc_score(known, side), 1 - a)
    names = [program for _, program in auc]
    shared = {program for program in names if names.count(program) > 1}
    best = max(shared, key=lambda program: np.median([v for k, v in auc.items() if k[1] == program]))
    values = [v for (_, program), v in auc.items() if program == best]
    n_types = within["population"].nunique()
    setting = "interferon beta"
    rows = [
        Row("real", "median AUROC of Hallmark IFN-α genes, the shared program", setting, "ldvae", 0, np.median(values)),
        Row("real", "lowest AUROC of Hallmark IFN-α genes, the shared program", setting, "ldvae", 0, min(values)),
        Row("real", "share of cell types with the program", setting, "ldvae", 0, len(values) / n_types, n_types),
    ]
    scores = ldvae.get_program_scores(fit, adata, kind="within", **ask).set_index("cell")
    stimulated = (adata.obs["condition"] == "STIM").to_numpy()
    apart = []
    for column in [c for c in scores if c.endswith(f"_{best}")]:
        cell_type = column.removesuffix(f"_{best}")
        here = (adata.obs["cell_type"] == cell_type).to_numpy() & scores[column].notna().to_numpy()
        apart.append(max(a := roc_auc_score(stimulated[here], scores[column][here]), 1 - a))
    rows.append(Row("real", "median AUROC of stimulation by the score", setting, "ldvae", 0, float(np.median(apart))))
    rows.append(Row("real", "lowest AUROC of stimulation by the score", setting, "ldvae", 0, float(min(apart))))
    specific = ldvae.population_loadings(fit, adata, kind="specific", **ask)
    claimed = 0
    for _, part in specific.groupby(["population", "program"]):
        top = part[part["lfsr"] < 0.05].nsmallest(20, "rank")
        claimed += top["gene"].isin(genes).mean() > 0.25
    rows.append(Row("real", "specific programs made of IFN-α genes", setting, "ldvae", 0, claimed))
    found = []
    for _, part in ldvae.differential_expression(
        fit, adata, groupby="condition", group1="STIM", group2="CTRL", within="cell_type"
    ).groupby("within"):
        tested = part[part["lfc_mean"].notna()]
        known = tested["gene"].isin(genes)
        if known.sum() >= 10:
            found.append(roc_auc_score(known, tested["lfc_mean"] * (1 - tested["lfsr"])))
    rows.append(
        Row("real", "median AUROC of IFN-α genes, differential expression", setting, "ldvae", 0, np.median(found))
    )
    rows.append(Row("real", "lowest AUROC of IFN-α genes, differential expression", setting, "ldvae", 0, min(found)))
    return rows


def chemistries(folder: Path) -> list[Row]:
    """Three chemistries, registered as batches or not: how far factors tell them apart (AUROC, 0.5 is not at all)."""
    adata = read(folder, "pbmc_3chem.h5ad")
    rows = []
    for method, settings in {"batch registered": {"batch_key": "batch"}, "batch not registered": {}}.items():
        fit = fitted(adata, **settings)
        scores, batch = ldvae.get_latent(fit, adata).iloc[:, 1:].to_numpy(), adata.obs["batch"].to_numpy()
        # by the positions themselves: `associate_factors` puts back what was taken out of levels that are batches
        auc = np.array([[roc_auc_score(batch == level, score) for score in scores.T] for level in np.unique(batch)])
        apart = pd.Series(np.maximum(auc, 1 - auc).ravel())
        rows.append(
            Row("real", "largest AUROC of a chemistry by a factor", "three chemistries", method, 0, apart.max())
        )
        rows.append(
            Row("real", "median AUROC of a chemistry by a factor", "three chemistries", method, 0, apart.median())
        )
    return rows
