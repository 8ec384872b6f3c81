"""Differential expression on planted fold changes that form a continuum, against other methods.

A gene is changed if its planted |log2 fold change| is above `DELTA`; a call is false if the gene is not changed or the
call has the other sign. Sections `expression` (groups of cells) and `expression, donors` (against pseudobulk).
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from rows import Row, share
from scipy.stats import false_discovery_control, mannwhitneyu

import ldvae

DELTA = 0.25
N_GENES = 1500
# cells of groups A and B, depth of A relative to B, share of the first batch in A, B and the other cells
SETTINGS = {
    "500 against 100 cells": (500, 100, 1.0, (0.5, 0.5, 0.5)),
    "600 against 600 cells": (600, 600, 1.0, (0.5, 0.5, 0.5)),
    "depth 3 : 1": (400, 400, 3.0, (0.5, 0.5, 0.5)),
    "batches 70 : 30 against 30 : 70": (400, 400, 1.0, (0.7, 0.3, 0.5)),
}


def simulate(setting: str, seed: int) -> AnnData:
    """Groups A and B, and 600 other cells C; the change of a gene comes from a mixture that has no gap at `DELTA`.

    60 % of the genes change by normal amounts of standard deviation 0.02, the others by Laplace amounts of scale 0.5
    (log2). All cells vary along two programs of 40 genes.
    """
    n_a, n_b, depth, first = SETTINGS[setting]
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1, 2], [n_a, n_b, 600])
    batch = (rng.random(len(group)) > np.array(first)[group]).astype(int)
    change = np.where(rng.random(N_GENES) < 0.6, rng.normal(0, 0.02, N_GENES), rng.laplace(0, 0.5, N_GENES))
    level = rng.normal(-0.5, 1.6, N_GENES) + np.array([[0.5], [-0.5], [0.0]]) * change * np.log(2)
    level[2] += rng.normal(0, 0.5, N_GENES) * (rng.random(N_GENES) < 0.2)
    programs = np.zeros((2, N_GENES))
    for p in programs:
        p[rng.choice(N_GENES, 40, replace=False)] = 0.6 * rng.choice([-1, 1], 40) * rng.uniform(0.5, 1.5, 40)
    shift = rng.normal(0, 0.15, (2, N_GENES))

    def expression(g: np.ndarray, b: np.ndarray, activity: np.ndarray) -> np.ndarray:
        e = np.exp(level[g] + shift[b] + activity @ programs)
        return e / e.sum(1, keepdims=True)

    total = 1500 * np.array([depth, 1.0, 1.0])[group] * np.exp(rng.normal(0, 0.35, len(group)))
    theta = 3.3 * np.exp(rng.normal(0, 0.5, N_GENES))
    rate = expression(group, batch, rng.normal(size=(len(group), 2))) * total[:, None]
    counts = rng.poisson(rng.gamma(theta, rate / theta)).astype(np.float32)
    # the truth: means of many cells, the same in both groups but for the group, half of them in each batch
    activity, half = rng.normal(size=(4000, 2)), np.arange(4000) % 2
    means = [np.log2(expression(np.full(4000, g), half, activity).mean(0)) for g in (0, 1)]
    obs = pd.DataFrame({"group": np.array(list("ABC"))[group], "batch": np.array(["b0", "b1"])[batch]})
    obs.index = [f"C{i}" for i in range(len(obs))]
    var = pd.DataFrame({"lfc": means[0] - means[1]}, index=[f"G{j}" for j in range(N_GENES)])
    return AnnData(sp.csr_matrix(counts), obs=obs.astype("category"), var=var)


def evaluate(
    truth: np.ndarray, score: np.ndarray, sign: np.ndarray, calls: dict[float, np.ndarray], *at: object
) -> list[Row]:
    """Realised rates of the calls at each nominal rate, and power where the ranking has a realised rate of 5 %."""
    changed = np.abs(truth) > DELTA
    right = changed & (np.sign(truth) == sign)
    rows = []
    for level, called in calls.items():
        rows.append(share("expression", f"realised FDR at {level:.0%}", *at, (called & ~right).sum(), called.sum()))
        rows.append(share("expression", f"power at nominal {level:.0%}", *at, (called & right).sum(), changed.sum()))
    order = np.argsort(-score, kind="stable")
    fdr = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(fdr <= 0.05)
    n = enough[-1] + 1 if len(enough) else 0
    return [*rows, share("expression", "power at realised 5%", *at, right[order][:n].sum(), changed.sum())]


def run(setting: str, seed: int, scvi: bool) -> list[Row]:
    """All methods on one data set, over the genes that ldvae tests."""
    adata = simulate(setting, seed)
    fit = ldvae.fit_ldvae(adata, batch_key="batch", seed=0, progress=False, device="cpu")
    ask = {"groupby": "group", "group1": "A", "group2": "B", "delta": DELTA}
    tables = {t: ldvae.differential_expression(fit, adata, fdr_target=t, **ask) for t in (0.01, 0.05, 0.10)}
    de = tables[0.05]
    tested = de["lfc_mean"].notna().to_numpy()
    truth = adata.var["lfc"].to_numpy()[tested]
    calls = {t: table["is_de"].to_numpy()[tested] for t, table in tables.items()}
    de = de[tested]
    inside = (de["lfc_lower"] <= truth) & (truth <= de["lfc_upper"])
    at = (setting, "ldvae", seed)
    rows = evaluate(truth, de["proba_de"].to_numpy(), np.sign(de["lfc_mean"].to_numpy()), calls, *at)
    rows.append(share("expression", "coverage, called genes", *at, (inside & de["is_de"]).sum(), de["is_de"].sum()))
    rows.append(share("expression", "coverage, all genes", *at, inside.sum(), len(inside)))
    rows += wilcoxon(adata, tested, truth, setting, seed)
    return rows + (scvi_change(adata, tested, truth, setting, seed) if scvi else [])


def wilcoxon(adata: AnnData, tested: np.ndarray, truth: np.ndarray, setting: str, seed: int) -> list[Row]:
    """Rank-sum test of log-normalised counts, as most workflows have it; its null is no change at all."""
    x = adata.X.toarray()
    x = np.log1p(1e4 * x / x.sum(1, keepdims=True))[:, tested]
    a, b = (x[(adata.obs["group"] == g).to_numpy()] for g in "AB")
    pvalue = mannwhitneyu(a, b, axis=0).pvalue
    adjusted = false_discovery_control(pvalue)
    calls = {t: adjusted < t for t in (0.01, 0.05, 0.10)}
    return evaluate(truth, -pvalue, np.sign(a.mean(0) - b.mean(0)), calls, setting, "Wilcoxon", seed)


def scvi_change(adata: AnnData, tested: np.ndarray, truth: np.ndarray, setting: str, seed: int) -> list[Row]:
    """scvi-tools, mode `change`, with the defaults of SCVI and of the comparison."""
    from peers import train_scvi

    model = train_scvi("SCVI", adata, "batch", n_latent=10)
    calls, table = {}, None
    for t in (0.01, 0.05, 0.10):
        table = model.differential_expression(
            groupby="group", group1="A", group2="B", mode="change", delta=DELTA, batch_correction=True, fdr_target=t,
            silent=True,
        ).loc[adata.var_names[tested]]  # fmt: skip
        calls[t] = table[f"is_de_fdr_{t}"].to_numpy()
    score, sign = table["proba_de"].to_numpy(), np.sign(table["lfc_mean"].to_numpy())
    return evaluate(truth, score, sign, calls, setting, "scvi-tools change", seed)


EDGER = """
a <- commandArgs(TRUE); suppressMessages(library(edgeR))
y <- DGEList(as.matrix(read.csv(a[1], row.names = 1)), group = factor(read.csv(a[2])[[1]], c("control", "treated")))
y <- calcNormFactors(y); d <- model.matrix(~ y$samples$group)
r <- glmQLFTest(glmQLFit(estimateDisp(y, d), d), coef = 2)$table
write.csv(r, a[3])
"""


def donors(seed: int, effect: float = 0.5) -> list[Row]:
    """Four treated and four control donors that differ themselves: donors as the unit, against edgeR on pseudobulk.

    False here is any gene that the treatment did not change.
    """
    adata = ldvae.simulate_counts(
        n_cells=2400, n_genes=800, n_populations=3, smallest_share=0.2, n_samples=8, treatment_effect=effect, seed=seed
    )
    fit = ldvae.fit_ldvae(adata, batch_key="batch", seed=0, progress=False, device="cpu")
    de = ldvae.differential_expression(
        fit, adata, groupby="treatment", group1="treated", group2="control", sample_key="sample", delta=0
    )
    changed = adata.uns["truth"]["treatment"] != 0
    tested = de["lfc_mean"].notna().to_numpy()
    called = {"ldvae": de["is_de"].to_numpy(), "ldvae, lfsr < .05": (de["lfsr"] < 0.05).to_numpy()}
    ranking = {"ldvae": -de["lfsr"].to_numpy()}
    table = edger(adata)
    if table is not None:
        called["edgeR on pseudobulk"] = (false_discovery_control(table["PValue"]) < 0.05) & tested
        ranking["edgeR on pseudobulk"] = -table["PValue"].to_numpy()
    rows = []
    for method, calls in called.items():
        at = ("expression, donors",)
        setting = f"treatment of effect {effect}"
        rows.append(share(*at, "realised FDR at 5%", setting, method, seed, (calls & ~changed).sum(), calls.sum()))
        rows.append(share(*at, "power at nominal 5%", setting, method, seed, (calls & changed).sum(), changed.sum()))
    for method, score in ranking.items():
        order = np.argsort(-np.where(tested, score, -np.inf), kind="stable")
        fdr = np.cumsum(~changed[order]) / np.arange(1, len(order) + 1)
        enough = np.flatnonzero(fdr <= 0.05)
        n = enough[-1] + 1 if len(enough) else 0
        part = changed[order][:n].sum()
        rows.append(share(*at, "power at realised 5%", setting, method, seed, part, changed.sum()))
    return rows


def edger(adata: AnnData) -> pd.DataFrame | None:
    """edgeR's quasi-likelihood test on the sums of each donor; None where R or edgeR is missing."""
    samples = adata.obs["sample"].cat.categories
    sums = {s: np.asarray(adata.X[(adata.obs["sample"] == s).to_numpy()].sum(0)).ravel() for s in samples}
    treated = adata.obs.groupby("sample", observed=True)["treatment"].first()
    return in_r(EDGER, pd.DataFrame(sums, index=adata.var_names), treated.loc[list(samples)])


def in_r(script: str, counts: pd.DataFrame, design: Any) -> pd.DataFrame | None:
    """What a script of R makes of counts (with names) and a design; None where R or its package is missing."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("counts.csv", "design.csv", "out.csv")]
        counts.to_csv(files[0])
        design.to_csv(files[1], index=False)
        try:
            done = subprocess.run(["Rscript", "-e", script, *files], capture_output=True, text=True)
        except FileNotFoundError:
            return None
        if done.returncode:
            if "there is no package called" in done.stderr:
                return None
            raise RuntimeError(done.stderr)
        return pd.read_csv(files[2], index_col=0)
