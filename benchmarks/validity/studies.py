"""Comparisons as real studies ask for them: unbalanced batches, nested batches, few cells, own clusters, donors.

Section `studies`. Donors are held against edgeR's quasi-likelihood test and limma-voom on sums per donor, with the same
design; a call is false if the treatment did not change the gene.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from expression import in_r
from factors import read
from rows import Row, share
from scipy.cluster.vq import kmeans2
from scipy.stats import false_discovery_control

import ldvae

N_GENES = 1000
# treated and control donors, how many of them are the same, cells per donor, what else is planted
DESIGNS = {
    "2 against 2": {"n1": 2, "n2": 2},
    "3 against 3": {"n1": 3, "n2": 3},
    "4 against 4": {"n1": 4, "n2": 4},
    "10 against 10": {"n1": 10, "n2": 10, "cells": (10, 200)},
    "2 pairs": {"n1": 2, "n2": 2, "pairs": 2},
    "3 pairs": {"n1": 3, "n2": 3, "pairs": 3},
    "3 pairs and 2 against 2": {"n1": 5, "n2": 5, "pairs": 3},
    "6 against 6, sex": {"n1": 6, "n2": 6, "sex": True},
    "4 against 4, nothing": {"n1": 4, "n2": 4, "effect": 0.0},
    "3 pairs, nothing": {"n1": 3, "n2": 3, "pairs": 3, "effect": 0.0},
}


def batches(seed: int) -> list[Row]:
    """A registered batch of which populations have 85 and 15 per cent; two of four populations have no program."""
    full = ldvae.simulate_counts(
        n_cells=6000, n_genes=700, n_populations=4, smallest_share=0.2, n_shared=0, null_populations=["P2", "P3"],
        seed=seed,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    first = (full.obs["batch"] == "B1").to_numpy() == full.obs["population"].isin(["P0", "P1"]).to_numpy()
    adata = full[rng.random(len(full)) < np.where(first, 0.8, 0.8 * 0.15 / 0.85)].copy()
    truth, activity = full.uns["truth"], rng.normal(size=(4000, 1))

    def log2_mean(p: int, shift: np.ndarray) -> np.ndarray:
        e = np.exp(truth["means"][p] + activity * truth["programs"][p] + shift)
        return np.asarray(np.log2((e / e.sum(1, keepdims=True)).mean(0)))

    level = np.array([np.mean([log2_mean(p, s) for s in truth["batch_shift"]], axis=0) for p in range(4)])
    fit = ldvae.fit_ldvae(adata, batch_key="batch", seed=0, progress=False, device="cpu")
    rows, at = [], ("registered batch, 85 : 15", "ldvae", seed)
    inside = called = 0
    for name, part in ldvae.population_loadings(fit, adata, groupby="population", kind="between").groupby("population"):
        own, genes = int(name[1:]), adata.var_names.get_indexer(part["gene"])
        true = (level[own] - np.delete(level, own, 0).mean(0))[genes]
        sure = (part["lfsr"] < 0.05).to_numpy()
        inside += (np.abs(part["loading"] - true) <= 1.96 * part["std"])[sure].sum()
        called += sure.sum()
    rows.append(share("studies", "between: coverage, called genes", *at, inside, called))
    for second in ("P3", "P1"):
        de = ldvae.differential_expression(fit, adata, groupby="population", group1="P0", group2=second)
        true, sure = level[0] - level[int(second[1])], de["is_de"].to_numpy()
        right = (np.abs(true) > 0.25) & (np.sign(true) == np.sign(de["lfc_mean"]))
        inside = ((de["lfc_lower"] <= true) & (true <= de["lfc_upper"])).to_numpy()
        rows.append(share("studies", "DE: coverage, called genes", *at, inside[sure].sum(), sure.sum()))
        rows.append(share("studies", "DE: realised FDR at 5%", *at, (sure & ~right).sum(), sure.sum()))
    found = ldvae.population_programs(fit, adata, groupby="population", kind="within")
    false = found["called"] & found["population"].isin(["P2", "P3"])
    return [*rows, Row("studies", "programs in populations that have none", *at, float(false.sum()))]


def nested(data: Path, key: str) -> list[Row]:
    """Kang's monocytes: the condition, or six made-up samples of it, registered as batch."""
    a = read(data, "kang_ifnb")
    a = a[:, np.asarray((a.X > 0).sum(0)).ravel() > 60].copy()
    number = np.random.default_rng(0).integers(0, 3, a.n_obs).astype(str)
    a.obs["sample"] = (a.obs["condition"].astype(str) + number).to_numpy()
    monocytes = a[a.obs["cell_type"].astype(str).str.contains("CD14").to_numpy()].copy()
    tables = []
    for batch in (None, key):
        fit = ldvae.fit_ldvae(a, batch_key=batch, seed=0, progress=False, device="cpu", measure_factors=False)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            tables.append(ldvae.differential_expression(fit, monocytes, groupby="condition", group1="STIM"))
    raw, found = tables
    large = (raw["is_de"] & (raw["lfc_mean"].abs() > 1)).to_numpy()
    ratio = float(np.median((found["lfc_mean"] / raw["lfc_mean"])[large]))
    at = (f"kang, batch is the {key}", "ldvae", 0)
    kept = (found["is_de"] & large).sum()
    told = any("cannot be told from the groups" in str(w.message) for w in said)
    return [
        Row("studies", "nested batch: fold change over that without batch", *at, ratio, large.sum()),
        Row("studies", "nested batch: a sentence says so", *at, float(told)),
        share("studies", "nested batch: called of those called without batch", *at, kept, large.sum()),
    ]  # fmt: skip


def few_cells(data: Path, population: str) -> list[Row]:
    """A few cells drawn at random from one population of pbmc3k, against the others of it."""
    a = read(data, "pbmc3k")
    fit = ldvae.fit_ldvae(a, seed=0, progress=False, device="cpu", measure_factors=False)
    own, rows = a[(a.obs["cell_type"] == population).to_numpy()].copy(), []
    for n in (3, 5, 10, 15):
        for seed in range(20):
            names = own.obs_names[np.random.default_rng(100 * n + seed).permutation(own.n_obs)[:n]].tolist()
            de = ldvae.differential_expression(fit, own, cells1=names)
            at = (f"{n} cells of {population}", "ldvae", seed)
            rows.append(Row("studies", "few cells: any call", *at, float(de["is_de"].any())))
    return rows


def clusters(seed: int) -> list[Row]:
    """Four clusters of one population, asked in the counts that they were found in, and in the other part of them."""
    adata = ldvae.simulate_counts(
        n_cells=1500, n_genes=800, n_populations=1, n_shared=0, null_populations=["P0"], seed=seed
    )
    fit = ldvae.fit_ldvae(adata, seed=0, progress=False, device="cpu", measure_factors=False)

    def clustered(counts: ad.AnnData) -> np.ndarray:
        x = np.log1p(1e4 * counts.X.toarray() / counts.X.sum(1))
        u, s, _ = np.linalg.svd(np.asarray(x - x.mean(0)), full_matrices=False)
        return kmeans2(u[:, :10] * s[:10], 4, minit="++", seed=0)[1].astype(str)

    first, second = ldvae.split_counts(adata, fit=fit)
    poisson = ldvae.split_counts(adata)
    rows = []
    for method, found, asked in (
        ("same counts", adata, adata), ("ldvae", first, second), ("Poisson split", *poisson),
    ):  # fmt: skip
        cells = asked.copy()
        cells.obs["cluster"] = clustered(found)
        between = ldvae.population_loadings(fit, cells, groupby="cluster", kind="between")
        de = ldvae.differential_expression(fit, cells, groupby="cluster")
        at = ("one population, four clusters", method, seed)
        rows.append(
            Row(
                "studies",
                "own clusters: between, genes with lfsr < .05 a cluster",
                *at,
                (between["lfsr"] < 0.05).sum() / 4,
            )
        )
        rows.append(Row("studies", "own clusters: DE, genes called a cluster", *at, de["is_de"].sum() / 4))
    return rows


def simulate_donors(
    seed: int,
    n1: int,
    n2: int,
    pairs: int = 0,
    cells: tuple[int, int] = (10, 600),
    effect: float = 0.8,
    sex: bool = False,
) -> ad.AnnData:
    """Donors who differ in all genes, in some more, and along two directions; unequal cells and depths."""
    rng = np.random.default_rng(seed)
    base = rng.normal(-0.5, 1.6, N_GENES)
    std, shared = 0.12 * np.sqrt(4 / rng.chisquare(4, N_GENES)), rng.normal(0, 0.1, (2, N_GENES))
    sides = [(f"d{i}", t) for i in range(pairs) for t in (1, 0)]
    sides += [(f"t{i}", 1) for i in range(n1 - pairs)] + [(f"c{i}", 0) for i in range(n2 - pairs)]
    names = sorted({name for name, _ in sides})
    own = {name: rng.normal(size=N_GENES) * std + rng.normal(size=2) @ shared for name in names}
    treatment = np.where(rng.random(N_GENES) < 0.1, rng.choice([-1, 1], N_GENES) * rng.gamma(4, effect / 4, N_GENES), 0)
    of_sex = np.where(rng.random(N_GENES) < 0.1, rng.normal(0, 0.5, N_GENES), 0) * sex
    theta, blocks, obs = 3.3 * np.exp(rng.normal(0, 0.5, N_GENES)), [], []
    for name, treated in sides:
        n, female = int(np.exp(rng.uniform(*np.log(cells)))), names.index(name) % 2
        e = np.exp(base + own[name] + 0.5 * rng.normal(size=N_GENES) * std + treated * treatment + female * of_sex)
        rate = e / e.sum() * 1200 * np.exp(rng.normal(0, 0.35, (n, 1)) + rng.normal(0, 0.3))
        blocks.append(sp.csr_matrix(rng.poisson(rng.gamma(theta, rate / theta)).astype(np.float32)))
        obs += [(name, "treated" if treated else "control", "f" if female else "m")] * n
    frame = pd.DataFrame(obs, columns=["donor", "treatment", "sex"], index=[f"C{i}" for i in range(len(obs))])
    var = pd.DataFrame({"change": treatment}, index=[f"G{j}" for j in range(N_GENES)])
    return ad.AnnData(sp.csr_matrix(sp.vstack(blocks)), obs=frame.astype("category"), var=var)


PEERS = """
a <- commandArgs(TRUE); suppressMessages({library(edgeR); library(limma)})
x <- as.matrix(read.csv(a[1], row.names = 1)); d <- as.matrix(read.csv(a[2])); y <- calcNormFactors(DGEList(x))
e <- glmQLFTest(glmQLFit(estimateDisp(y, d), d), coef = 1)$table$PValue
write.csv(data.frame(edgeR = e, limma = eBayes(lmFit(voom(y, d), d))$p.value[, 1]), a[3])
"""


def pseudobulk(adata: ad.AnnData, sex: bool) -> pd.DataFrame | None:
    """P-values of edgeR and limma-voom with a coefficient for each donor with both treatments; None without R."""
    key = adata.obs["donor"].astype(str) + "|" + adata.obs["treatment"].astype(str)
    names = [name for name, n in key.value_counts().sort_index().items() if n >= 5]
    sums = {name: np.asarray(adata.X[(key == name).to_numpy()].sum(0)).ravel() for name in names}
    donor = [name.split("|")[0] for name in names]
    blocks = [np.array([d == b for d in donor], float) for b in sorted({d for d in donor if donor.count(d) == 2})]
    rest = 1 - np.sum(blocks, axis=0) if blocks else np.ones(len(names))
    columns = [np.array([name.endswith("treated") for name in names], float), *blocks]
    columns += [rest] if rest.any() else []
    if sex:
        of_donor = adata.obs.groupby("donor", observed=True)["sex"].first()
        columns.append(np.array([of_donor[d] == "f" for d in donor], float))
    return in_r(PEERS, pd.DataFrame(sums, index=adata.var_names), pd.DataFrame(np.array(columns).T))


def donors(name: str, seed: int) -> list[Row]:
    """One design: realised false discoveries and power at nominal 5 %, and power where 5 % are realised."""
    design = DESIGNS[name]
    adata = simulate_donors(seed, **design)
    fit = ldvae.fit_ldvae(
        adata, seed=0, progress=False, device="cpu", measure_factors=False, max_epochs=15, n_latent=5
    )  # positions hardly matter where all cells are of one population
    adjust = ["sex"] if design.get("sex") else None
    de = ldvae.differential_expression(
        fit, adata, groupby="treatment", group1="treated", group2="control", sample_key="donor", adjust=adjust, delta=0
    )
    tested, changed = de["lfc_mean"].notna().to_numpy(), (adata.var["change"] != 0).to_numpy()
    pvalues = {"ldvae": de["pval"].to_numpy()}
    theirs = pseudobulk(adata, bool(design.get("sex")))
    if theirs is not None:
        pvalues |= {method: theirs[method].to_numpy() for method in theirs}
    rows = []
    for method, pvalue in pvalues.items():
        p = np.where(tested, pvalue, 1.0)
        called = np.zeros(N_GENES, dtype=bool)
        called[tested] = false_discovery_control(p[tested]) < 0.05
        at = (name, method, seed)
        rows.append(
            share(
                "studies",
                "donors: p < .05 of unchanged genes",
                *at,
                (p < 0.05)[tested & ~changed].sum(),
                (tested & ~changed).sum(),
            )
        )
        if not changed.any():
            rows.append(Row("studies", "donors: any call where nothing changes", *at, float(called.any())))
            continue
        rows.append(share("studies", "donors: realised FDR at 5%", *at, (called & ~changed).sum(), called.sum()))
        rows.append(share("studies", "donors: power at nominal 5%", *at, (called & changed).sum(), changed.sum()))
        order = np.argsort(p, kind="stable")
        enough = np.flatnonzero(np.cumsum(~changed[order]) / np.arange(1, N_GENES + 1) <= 0.05)
        n = enough[-1] + 1 if len(enough) else 0
        rows.append(share("studies", "donors: power at realised 5%", *at, changed[order][:n].sum(), changed.sum()))
    return rows


def responses(seed: int, pairs: bool, effect: float) -> list[Row]:
    """Four against four donors (or four, twice) with three populations, of which the first answers by `effect` more."""
    rng = np.random.default_rng(seed)
    base, std = rng.normal(-0.5, 1.6, N_GENES), 0.12 * np.sqrt(4 / rng.chisquare(4, N_GENES))
    change = np.where(rng.random(N_GENES) < 0.1, rng.choice([-1, 1], N_GENES) * rng.gamma(4, 0.2, N_GENES), 0)
    alone = np.where(rng.random(N_GENES) < 0.08, rng.choice([-1, 1], N_GENES) * rng.gamma(4, effect / 4, N_GENES), 0)
    identity = rng.normal(0, 0.5, (3, N_GENES)) * (rng.random((3, N_GENES)) < 0.2)
    own: dict[str, np.ndarray] = {}
    blocks, obs = [], []
    for treated in (1, 0):
        for i in range(4):
            name = f"d{i}" if pairs else f"{'ct'[treated]}{i}"
            own.setdefault(name, rng.normal(size=N_GENES) * std)
            for p in range(3):
                n = int(np.exp(rng.uniform(*np.log((20, 200)))))
                beyond = 0.7 * rng.normal(size=N_GENES) * std + treated * (change + alone * (p == 0))
                e = np.exp(base + identity[p] + own[name] + beyond)
                rate = e / e.sum() * 1200 * np.exp(rng.normal(0, 0.35, (n, 1)))
                blocks.append(sp.csr_matrix(rng.poisson(rng.gamma(3.3, rate / 3.3)).astype(np.float32)))
                obs += [(name, "treated" if treated else "control", f"P{p}")] * n
    frame = pd.DataFrame(obs, columns=["donor", "treatment", "population"], index=[f"C{i}" for i in range(len(obs))])
    var = pd.DataFrame(index=[f"G{j}" for j in range(N_GENES)])
    adata = ad.AnnData(sp.csr_matrix(sp.vstack(blocks)), obs=frame.astype("category"), var=var)
    fit = ldvae.fit_ldvae(adata, seed=0, progress=False, device="cpu", measure_factors=False, max_epochs=15, n_latent=5)
    found = ldvae.differential_response(
        fit, adata, groupby="treatment", group1="treated", group2="control", within="population", sample_key="donor",
        delta=0,
    )  # fmt: skip
    first = found[found["within"] == "P0"]
    called, planted, tested = first["is_de"].to_numpy(), alone != 0, first["pval"].notna().to_numpy()
    at = (("four pairs" if pairs else "four against four") + ("" if effect else ", all answer alike"), "ldvae", seed)
    null = (first["pval"].to_numpy() < 0.05)[tested & ~planted]
    rows = [share("studies", "responses: p < .05 of genes that answer alike", *at, null.sum(), len(null))]
    if not effect:
        return [*rows, Row("studies", "responses: any call where all answer alike", *at, float(found["is_de"].any()))]
    rows.append(share("studies", "responses: realised FDR at 5%", *at, (called & ~planted).sum(), called.sum()))
    return [*rows, share("studies", "responses: power at nominal 5%", *at, (called & planted).sum(), planted.sum())]
