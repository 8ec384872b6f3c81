"""Programs within populations of real counts, and planted ones that are not as the model thinks.

Real counts are read as in `factors.py`. Seeds of the fit and of the halvings are the same.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from factors import BINS, read
from rows import Row, share
from sklearn.decomposition import NMF, PCA

import ldvae
from ldvae.counts.labels import read_labels
from ldvae.fit.cells import read_data
from ldvae.programs.setting import MIN_CELLS, prepare

Tables = dict[tuple[str, str], pd.DataFrame]


def fitted(a: ad.AnnData, seed: int) -> ldvae.Fit:
    """Programs need positions, not factors. Batches are registered where they are no condition."""
    batch = "batch" if "batch" in a.obs and "label_source" in a.obs else None
    settings = {"genes": "hv", "batch_key": batch, "progress": False, "device": "cpu", "measure_factors": False}
    return ldvae.fit_ldvae(a, seed=seed, **settings)


def within(fit: ldvae.Fit, a: ad.AnnData, seed: int, key: str = "cell_type") -> tuple[pd.DataFrame, Tables]:
    """Every program that was tested, and the genes of the called ones by population and name."""
    ask = {"groupby": key, "kind": "within", "seed": seed}
    loadings = ldvae.population_loadings(fit, a, **ask)
    found = {where: part.set_index("gene") for where, part in loadings.groupby(["population", "program"])}
    return ldvae.population_programs(fit, a, **ask), found


def permuted(folder: Path, name: str, seed: int, genes: str = "scanpy", every: int = 1) -> list[Row]:
    """Each gene's counts permuted among the cells of its population, in all populations or in every other one."""
    a, rng = read(folder, name, genes), np.random.default_rng(seed)
    x, types = a.X.toarray(), a.obs["cell_type"].astype(str).to_numpy()
    silent = np.unique(types)[seed % every :: every]
    for population in silent:
        rows = np.flatnonzero(types == population)
        x[rows] = rng.permuted(x[rows], axis=0)
    a.X = sp.csr_matrix(x)
    a = a[np.asarray(a.X.sum(1)).ravel() > 0].copy()
    table, _ = within(fitted(a, seed), a, seed)
    own = table[table["population"].isin(silent) & table["pval"].notna()]
    setting = f"{name}, {genes}" + ("" if every == 1 else ", beside populations that are not permuted")
    rows = [Row("programs, permuted", "p-value", setting, "ldvae", seed, p) for p in own["pval"]]
    return [*rows, Row("programs, permuted", "any called", setting, "ldvae", seed, float(own["called"].any()))]


def halved(a: ad.AnnData, seed: int) -> np.ndarray:
    """A random half of the cells of each population."""
    rng, half = np.random.default_rng(seed), np.zeros(a.n_obs, bool)
    types = a.obs["cell_type"].astype(str).to_numpy()
    for population in np.unique(types):
        rows = rng.permutation(np.flatnonzero(types == population))
        half[rows[: len(rows) // 2]] = True
    return half


def halves(folder: Path, name: str, seed: int) -> list[Row]:
    """Programs of one half of the cells: do they vary in the other, with the same genes, and does it find them too?

    Of a population 1,000 cells at most.
    """
    a = read(folder, name)
    rng = np.random.default_rng(seed)
    own = a.obs.groupby("cell_type", observed=True).indices.values()
    a = a[np.sort(np.concatenate([rng.permutation(rows)[:1000] for rows in own]))].copy()
    first = halved(a, seed)
    parts = [a[first].copy(), a[~first].copy()]
    fits = [fitted(p, 0) for p in parts]
    found = [within(f, p, 0)[1] for f, p in zip(fits, parts, strict=True)]
    other = fitted(parts[0], 1)
    again = {"seed of the fit": within(other, parts[0], 0)[1], "seeds of fit and halves": within(other, parts[0], 1)[1]}

    def row(measure: str, values: list[float], method: str = "ldvae") -> Row:
        return Row(
            "programs, halves", measure, name, method, seed, float(np.median(values)) if values else 0.0, len(values)
        )

    best = [r for own, other in permutations(found) for r in matches(own, other)]
    rows = [
        row("median best |r|", best),
        Row("programs, halves", "called", name, "ldvae", seed, len(best)),
        Row("programs, halves", "called with |r| >= .5", name, "ldvae", seed, float(np.sum(np.array(best) >= 0.5))),
    ]
    for what, tables in again.items():
        back = np.array(matches(found[0], tables))
        measure = f"back with other {what}, |r| >= .8"
        rows.append(share("programs, halves", measure, name, "ldvae", seed, (back >= 0.8).sum(), len(back)))
    for method in ("PCA", "NMF"):
        peer = [components(p, method) for p in parts]
        rows.append(row("median best |r|", [r for own, o in permutations(peer) for r in matches(own, o)], method))
    return rows + _unseen(name, seed, [(found[i], fits[i], parts[1 - i]) for i in (0, 1)])


def matches(own: Tables, other: Tables) -> list[float]:
    """The largest |r| of each program with one of the same population."""
    out = []
    for (population, _), mine in own.items():
        best = 0.0
        for (where, _), theirs in other.items():
            genes = mine.index.intersection(theirs.index)
            if where == population and len(genes) > 20:
                r = np.corrcoef(mine.loc[genes, "loading"], theirs.loc[genes, "loading"])[0, 1]
                best = max(best, abs(float(np.nan_to_num(r))))
        out.append(best)
    return out


def components(a: ad.AnnData, method: str, n: int = 3) -> Tables:
    """Loadings of principal components or of non-negative factors, population by population."""
    out: Tables = {}
    genes = a.var_names[a.var["hv"]]
    for population, rows in a.obs.groupby("cell_type", observed=True).indices.items():
        if len(rows) < MIN_CELLS:
            continue
        x = a[rows][:, genes].X.toarray()
        y = np.log1p(1e4 * x / np.maximum(x.sum(1, keepdims=True), 1))
        model = PCA(n, random_state=0) if method == "PCA" else NMF(n, init="nndsvda", max_iter=500, random_state=0)
        loadings = model.fit(y).components_
        if method == "NMF":  # all its factors have the mean expression, which agrees between any two
            mean = np.column_stack([np.ones(y.shape[1]), y.mean(0)])
            loadings = loadings - (mean @ np.linalg.lstsq(mean, loadings.T, rcond=None)[0]).T
        for k, loading in enumerate(loadings):
            out[str(population), str(k)] = pd.DataFrame({"loading": loading}, index=genes)
    return out


def _unseen(setting: str, seed: int, asked: list[tuple[Tables, ldvae.Fit, ad.AnnData]]) -> list[Row]:
    """Sure genes and their programs in cells of which nothing was learnt."""
    parts, vary, called = [], 0, 0
    for found, fit, a in asked:
        cells = read_data(fit, a)
        for p in prepare(fit, cells, read_labels(a, "cell_type", "groupby"), None, 0).populations:
            own = [table for (population, _), table in found.items() if population == p.name]
            if not own:
                continue
            names = fit.genes[p.genes]
            loading = np.stack([t["loading"].reindex(names).fillna(0.0) for t in own], 1) * np.log(2)
            lfsr = np.stack([t["lfsr"].reindex(names).fillna(1.0) for t in own], 1)
            local = p.local.given(loading)
            fitted_here = local.regress(local.null.left_out, local.null.size)
            counts = p.local.x.sum(0).numpy()
            for k in range(len(own)):
                sure, others = lfsr[:, k] < 0.05, np.delete(loading, k, 1)
                column = p.local.given(others).variance_test(local.nuisance[:, k])
                vary, called = vary + (column.pvalue < 0.05), called + 1
                parts.append(
                    np.c_[fitted_here.centred(k)[sure], fitted_here.se[sure, k], loading[sure, k], counts[sure]]
                )
    rows = [share("programs, unseen cells", "vary together", setting, "ldvae", seed, vary, called)]
    slope, error, loading, counts = np.concatenate(parts).T if parts else np.zeros((4, 0))
    for low, high in BINS:
        own = (counts >= low) & (counts < high)
        weight = loading[own] / error[own] ** 2
        ratio = float((weight * slope[own]).sum() / max((weight * loading[own]).sum(), 1e-300))
        where = f"{setting}, counts {low:g} to {high:g}"
        rows.append(Row("programs, unseen cells", "replicate at", where, "ldvae", seed, ratio, float(own.sum())))
    against = slope * np.sign(loading) < -1.96 * error
    return [*rows, share("programs, unseen cells", "opposite", setting, "ldvae", seed, against.sum(), len(against))]


KNOWN = {
    "pbmc3k": {
        "HLA class II against S100A8/A12": ("CD14+ Mono", "HLA-DQA1 HLA-DPB1", "S100A8 S100A12"),
        "FCGR3A against S100A8": ("FCGR3A+ Mono", "FCGR3A", "S100A8 LGALS2"),
        "GZMB against GZMK and LTB": ("CD8 T", "GZMB GZMH FGFBP2", "LTB GZMK IL7R"),
        "CD56 bright against dim": ("NK", "GZMK", "GZMB SPON2"),
        "memory or plasma against naive": ("B", "CD27 IGJ", "TCL1A FCER2"),
        "plasma cells": ("B", "IGJ TNFRSF17", ""),
        "interferon": ("Memory CD4 T", "IFIT1 IFIT3 ISG15", ""),
        "platelets": ("CD14+ Mono", "PPBP PF4", ""),
        "cell cycle": ("DC", "MKI67 TYMS", ""),
    },
    "kang_ifnb": {
        f"interferon, {population}": (population, "ISG15 IFIT1 IFIT3", "")
        for population in ("B", "CD14 Mono", "CD16 Mono", "CD4 Naive T", "CD4 Memory T", "CD8 T", "DC", "NK")
    },
}


def biology(folder: Path, name: str) -> list[Row]:
    """Programs that are known of these cells: called in their population, with the named genes on the same side?"""
    a = read(folder, name)
    found = within(fitted(a, 0), a, 0)[1]
    rows, named = [], set()
    for label, (population, up, down) in KNOWN[name].items():
        hits = []
        for (where, program), loadings in found.items():
            side = np.sign(loadings["loading"]) * (loadings["lfsr"] < 0.05)
            there = [[side.get(g, 0) for g in genes.split()] for genes in (up, down)]
            if where == population and any(
                any(s == sign for s in there[0]) and (not down or any(s == -sign for s in there[1]))
                and not any(s == -sign for s in there[0])
                for sign in (1, -1)
            ):  # fmt: skip
                hits.append(program)
        rows.append(Row("programs, biology", label, name, "ldvae", 0, float(bool(hits))))
        named |= set(hits[:1]) if label.startswith("interferon") else set()
    if name == "kang_ifnb":
        rows.append(Row("programs, biology", "names of the interferon program", name, "ldvae", 0, len(named)))
    return rows


SMALL = {"n_cells": 2400, "n_genes": 700, "n_populations": 4, "smallest_share": 0.2}
FLAGGED = 0.35  # cosine from which a message names a program


def mixtures(seed: int) -> list[Row]:
    """4 % of labels wrong, 5 % doublets: is what is called pointed out? And programs that are real: are they not?"""
    rows = []
    everywhere = [f"P{i}" for i in range(SMALL["n_populations"])]
    for what in ("4 % wrong labels", "5 % doublets", "planted programs"):
        null = [] if what == "planted programs" else everywhere
        a = ldvae.simulate_counts(**SMALL, n_shared=0, null_populations=null, seed=seed)
        rng, labels = np.random.default_rng(seed), a.obs["population"].astype(str).to_numpy()
        if what == "4 % wrong labels":
            wrong = rng.random(len(labels)) < 0.04
            labels[wrong] = rng.choice(everywhere, wrong.sum())
        elif what == "5 % doublets":
            x = a.X.toarray().astype(int)
            doublet = np.flatnonzero(rng.random(len(labels)) < 0.05)
            other = rng.choice(len(labels), len(doublet))
            x[doublet] = rng.binomial(x[doublet], 0.6) + rng.binomial(x[other], 0.4)
            a.X = sp.csr_matrix(x, dtype=np.float32)
        a.obs["label"] = labels
        table, _ = within(_simulated(a), a, 0, "label")
        called = table[table["called"]]
        flagged = (called["like_cosine"] >= FLAGGED).sum()
        rows.append(share("programs, mixtures", "called and pointed out", what, "ldvae", seed, flagged, len(called)))
    return rows


def one_sided(seed: int, size: int) -> list[Row]:
    """A shared program that moves many genes one way: sure genes that are not in it, or have its sign wrong."""
    null = [f"P{i}" for i in range(SMALL["n_populations"])]
    a = ldvae.simulate_counts(**SMALL, program_size=size, amplitude=0.4, null_populations=null, seed=seed)
    truth = a.uns["truth"]["shared"][0]
    _, found = within(_simulated(a), a, 0, "population")
    false = called = 0
    for table in found.values():
        sure = table[table["lfsr"] < 0.05]
        real = truth[a.var_names.get_indexer(sure.index)]
        turn = np.sign((real * sure["loading"]).sum())
        false, called = false + int((turn * np.sign(sure["loading"]) != np.sign(real)).sum()), called + len(sure)
    setting = f"{size} of 700 genes one way"
    return [share("programs, one-sided", "false discoveries", setting, "ldvae", seed, false, called)]


ACTIVITIES = {
    "bimodal": lambda rng, n: np.where(rng.random(n) < 0.3, 1.0, 0.0) + 0.1 * rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "rare": lambda rng, n: (rng.random(n) < 0.1) * 1.0,
}


def activities(seed: int, shape: str) -> list[Row]:
    """Programs whose activity is not normal, shared by four populations: intervals of called genes, false genes."""
    rng, n, n_genes = np.random.default_rng(seed), 600, 700
    base = rng.normal(-0.5, 1.2, n_genes)
    loading = np.zeros(n_genes)
    genes = rng.choice(np.argsort(base)[n_genes // 2 :], 60, replace=False)
    loading[genes] = 0.8 * rng.uniform(0.5, 1.5, 60) * rng.choice([-1, 1], 60)
    counts, labels, truth = [], [], {}
    for population in ("A", "B", "C", "D"):
        t = ACTIVITIES[shape](rng, n)
        sd = t.std()
        truth[population] = loading / np.log(2)
        identity = np.where(rng.random(n_genes) < 0.1, rng.normal(0, 0.8, n_genes), 0.0)
        expression = np.exp(base + identity + np.outer((t - t.mean()) / sd, loading))
        depth = 1500 * np.exp(rng.normal(0, 0.35, (n, 1)))
        mean = depth * expression / expression.sum(1, keepdims=True)
        counts.append(rng.poisson(rng.gamma(3.3, mean / 3.3)))
        labels += [population] * n
    a = ad.AnnData(sp.csr_matrix(np.concatenate(counts), dtype=np.float32), obs=pd.DataFrame({"label": labels}))
    a.obs_names, a.var_names = [f"c{i}" for i in range(a.n_obs)], [f"G{i}" for i in range(n_genes)]
    _, found = within(_simulated(a), a, 0, "label")
    inside = false = called = 0
    for (population, _), table in found.items():
        sure = table[table["lfsr"] < 0.05]
        real = truth[population][a.var_names.get_indexer(sure.index)]
        real = real * (np.sign((real * sure["loading"]).sum()) or 1.0)
        inside += int((np.abs(sure["loading"] - real) <= 1.96 * sure["std"]).sum())
        false, called = false + int((real * sure["loading"] <= 0).sum()), called + len(sure)
    return [
        share("programs, activities", "coverage, called genes", shape, "ldvae", seed, inside, called),
        share("programs, activities", "false discoveries", shape, "ldvae", seed, false, called),
        share(
            "programs, activities", "populations with the program", shape, "ldvae", seed, len({p for p, _ in found}), 4
        ),
    ]


def _simulated(a: ad.AnnData) -> ldvae.Fit:
    key = "batch" if "batch" in a.obs else None
    return ldvae.fit_ldvae(a, batch_key=key, seed=0, progress=False, device="cpu", measure_factors=False)
