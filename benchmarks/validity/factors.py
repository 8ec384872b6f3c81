"""Factors of real counts: none in counts without co-expression, loadings that hold on unseen cells, seeds that agree.

Data: the files of LDVAE_DATA with their populations (`cell_type`); the 2,000 genes that scanpy takes by default, or
those of Seurat's variance stabilisation ("seurat", a quadratic in place of its loess).
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc
import scipy.sparse as sp
import torch
from rows import Row, share
from scipy.linalg import eigh
from sklearn.decomposition import PCA

import ldvae
from ldvae.counts.minibatches import SparseCounts
from ldvae.fit.directions import FOLDS
from ldvae.fit.helpers import place
from ldvae.fit.measured import measure_factors
from ldvae.fit.posterior import encode, rebuild
from ldvae.stats.centre import centre
from ldvae.stats.nb_regression import nb_regression

BINS = ((0, 30), (30, 60), (60, 120), (120, 500), (500, np.inf))


def read(folder: Path, name: str, genes: str = "scanpy") -> ad.AnnData:
    """Labelled cells, raw counts, `var["hv"]`."""
    a = ad.read_h5ad(folder / f"{name}.h5ad")
    a = a[a.obs["cell_type"].astype(str) != "Unassigned"].copy()
    a.X = sp.csr_matrix(a.X, dtype=np.float32)
    a.obs_names_make_unique()
    a.var_names_make_unique()
    b = a.copy()
    if genes == "all":
        a.var["hv"] = np.asarray((a.X > 0).sum(0)).ravel() >= 10
    elif genes == "seurat":
        mean = np.asarray(a.X.mean(0)).ravel()
        variance = np.asarray(a.X.power(2).mean(0)).ravel() - mean**2
        known = variance > 0
        line = np.polyfit(np.log10(mean[known]), np.log10(variance[known]), 2)
        sd = np.sqrt(10 ** np.polyval(line, np.log10(np.maximum(mean, 1e-9))))
        clipped = np.minimum((a.X.toarray() - mean) / sd, np.sqrt(a.n_obs))
        a.var["hv"] = np.argsort(np.argsort(-clipped.var(0))) < 2000
    else:
        sc.pp.normalize_total(b)
        sc.pp.log1p(b)
        sc.pp.highly_variable_genes(b, n_top_genes=min(2000, a.n_vars))
        a.var["hv"] = b.var["highly_variable"].to_numpy()
    return a


def _half(a: ad.AnnData) -> np.ndarray:
    """A random half of each population."""
    rng, half = np.random.default_rng(0), np.zeros(a.n_obs, bool)
    types = a.obs["cell_type"].astype(str).to_numpy()
    for population in np.unique(types):
        rows = rng.permutation(np.flatnonzero(types == population))
        half[rows[: len(rows) // 2]] = True
    return half


def fitted(a: ad.AnnData, seed: int) -> ldvae.Fit:
    return ldvae.fit_ldvae(a, genes="hv", seed=seed, progress=False, device="cpu")


def permuted(folder: Path, name: str, seed: int, genes: str = "scanpy") -> list[Row]:
    """Each gene's counts permuted among the cells of its population: P populations differ in P - 1 ways at most."""
    a, rng = read(folder, name, genes), np.random.default_rng(seed)
    x, types = a.X.toarray(), a.obs["cell_type"].astype(str).to_numpy()
    for population in np.unique(types):
        rows = np.flatnonzero(types == population)
        x[rows] = rng.permuted(x[rows], axis=0)
    a.X = sp.csr_matrix(x)
    a = a[np.asarray(a.X.sum(1)).ravel() > 0].copy()
    n = int(ldvae.get_factors(fitted(a, seed))["active"].sum())
    setting = f"{name}, {genes}"
    over = max(0, n - len(np.unique(types)) + 1)
    return [
        Row("factors, permuted", "active factors", setting, "ldvae", seed, n),
        Row("factors, permuted", "more than populations - 1", setting, "ldvae", seed, float(over > 0)),
    ]


def unseen(folder: Path, name: str, seed: int) -> list[Row]:
    """Loadings against regressions in a fifth of the cells, held out of everything, on scores without the gene."""
    a = read(folder, name)
    order = np.random.default_rng(1000 + seed).permutation(a.n_obs)
    new, old = np.sort(order[: a.n_obs // 5]), np.sort(order[a.n_obs // 5 :])
    z = fitted(a[old].copy(), seed).latent_mean.astype(float)
    x, library = a.X[:, a.var["hv"].to_numpy()].tocsr(), np.asarray(a.X.sum(1)).ravel().astype(float)
    found = measure_factors(x[old], library[old], np.zeros((len(old), 0)), z, seed=seed)
    loading, std, lfsr = found.loadings / np.log(2), found.std / np.log(2), found.lfsr
    slope, error = _regressed(x, library, found.scores, old, new, seed)
    count = np.broadcast_to(np.asarray(x[old].sum(0)).reshape(-1, 1), loading.shape)
    sure, rows = lfsr < 0.05, []
    for low, high in BINS:
        own = sure & (count >= low) & (count < high)
        weight = 1 / error[own] ** 2
        ratio = float((weight * slope[own] * loading[own]).sum() / max((weight * loading[own] ** 2).sum(), 1e-300))
        setting = f"{name}, counts {low:g} to {high:g}"
        rows.append(Row("factors, unseen cells", "replicate at", setting, "ldvae", seed, ratio, float(own.sum())))
        inside = (np.abs(loading - slope) <= 1.96 * np.hypot(std, error)) & own
        against = own & (slope * np.sign(loading) < -2 * error)
        rows.append(share("factors, unseen cells", "intervals cover", setting, "ldvae", seed, inside.sum(), own.sum()))
        rows.append(share("factors, unseen cells", "opposite", setting, "ldvae", seed, against.sum(), own.sum()))
    return rows


def _regressed(
    x: sp.csr_matrix, library: np.ndarray, scored: np.ndarray, old: np.ndarray, new: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and errors (genes × factors, log2 per SD of the factor) in new cells, placed by helpers of old ones."""
    rng = np.random.default_rng(seed)
    n, n_genes = x.shape
    target = np.zeros((n, scored.shape[1]))
    target[old] = scored
    fold = rng.permutation(np.arange(n_genes) % FOLDS)
    folds = [np.flatnonzero(fold == f) for f in range(FOLDS)]
    is_new = np.isin(np.arange(n), new)
    depth = np.log(library) - np.log(library).mean()
    half = np.stack([np.isin(np.arange(FOLDS), rng.permutation(FOLDS)[: FOLDS // 2]) for _ in range(6)])
    subsets = np.concatenate([~np.eye(FOLDS, dtype=bool), half, ~half])
    nuisance = np.column_stack([np.ones(n), depth, depth**2])
    # one split: all old cells teach, the new ones are placed
    placed = place(x, library, nuisance, target, folds, subsets, [is_new], rng, False)[:, is_new]
    scores, u, v = placed[:FOLDS], placed[FOLDS : FOLDS + 6], placed[FOLDS + 6 :]
    agreed = (u * v).sum((0, 1)) / ((u**2 + v**2).sum((0, 1)) / 2)
    more = 2 * (FOLDS - 1) / FOLDS
    reliability = more * agreed / (1 + (more - 1) * agreed)
    scores = scores / scores.std(1, keepdims=True) * np.sqrt(np.maximum(reliability, 0.05))
    slope, error = np.zeros((n_genes, target.shape[1])), np.zeros((n_genes, target.shape[1]))
    columns, at = x[new].tocsc(), slice(1, None)
    for f, genes in enumerate(folds):
        d = np.column_stack([np.ones(len(new)), scores[f]])
        prior = np.r_[0, np.full(target.shape[1], 1.0)]
        found = nb_regression(columns[:, genes].toarray().T, d, library[new], prior, np.arange(len(new)) % 2 == 0)
        full = np.linalg.inv(found.information.sum(0) + np.diag(np.r_[1e-6, np.full(target.shape[1], 1e-3)]))
        step = (full @ found.gradient.sum(0)[..., None])[:, at, 0]
        robust = (full @ found.scatter @ full).diagonal(0, 1, 2)[:, at]
        slope[genes] = (found.coefficient[:, at] + step) / np.log(2)
        error[genes] = np.sqrt(np.maximum(full.diagonal(0, 1, 2)[:, at], robust)) / np.log(2)
    for k in range(slope.shape[1]):
        slope[:, k] -= centre(slope[:, k], error[:, k])
    return slope, error


def seeds(folder: Path, name: str) -> list[Row]:
    """Three fits that differ in their seed: does every active factor come back?"""
    a = read(folder, name)
    fits = [fitted(a, s) for s in range(3)]
    tables = [ldvae.get_loadings(f).set_index("gene").to_numpy() for f in fits]
    best = np.concatenate([_alike(x, y) for x, y in permutations(tables, 2)])
    return [
        share("factors, seeds", "come back at |r| >= .8", name, "ldvae", 0, (best >= 0.8).sum(), len(best)),
        Row("factors, seeds", "median |r|", name, "ldvae", 0, float(np.median(best))),
        Row("factors, seeds", "active factors", name, "ldvae", 0, float(np.mean([t.shape[1] for t in tables]))),
    ]


def halves(folder: Path, name: str) -> list[Row]:
    """Two fits, each of half of the cells of every population: the same factors from other cells?

    Over all genes, most of which are too rare in half of the cells to say anything, and over those with 200 counts.
    """
    a = read(folder, name)
    first = _half(a)
    tables = [ldvae.get_loadings(fitted(a[m].copy(), 0)).set_index("gene").to_numpy() for m in (first, ~first)]
    rows = [Row("factors, halves", "active factors", name, "ldvae", 0, float(np.mean([t.shape[1] for t in tables])))]
    counts = np.asarray(a.X[:, a.var["hv"].to_numpy()].sum(0)).ravel()
    for measure, genes in (("median |r|", counts > 0), ("median |r|, genes with 200 counts", counts >= 200)):
        own = [t[genes] for t in tables]
        best = np.concatenate([_alike(*own), _alike(*own[::-1])])
        rows.append(Row("factors, halves", measure, name, "ldvae", 0, float(np.median(best)), len(best)))
    return rows


def latents(folder: Path, name: str) -> list[Row]:
    """Our latent, principal components and, of pbmc3k where scvi-tools is, SCVI and LinearSCVI: the same factors?

    Their two trainings take minutes a set, hence one.
    """
    a = read(folder, name)
    own = ldvae.get_loadings(fitted(a, 0)).set_index("gene").to_numpy()
    logs = a[:, a.var["hv"]].copy()
    sc.pp.normalize_total(logs)
    sc.pp.log1p(logs)
    a.obsm["X_pca"] = PCA(30, random_state=0).fit_transform(logs.X.toarray())
    others = {"principal components": ldvae.from_latent(a, use_rep="X_pca", genes="hv", progress=False)}
    try:
        import scvi
    except ImportError:
        scvi = None
    for kind in ("SCVI", "LinearSCVI") if scvi and name == "pbmc3k" else ():
        scvi.settings.seed = 0
        b, model = a[:, a.var["hv"]].copy(), getattr(scvi.model, kind)
        model.setup_anndata(b)
        trained = model(b, n_latent=10)
        trained.train(max_epochs=120, accelerator="cpu", enable_progress_bar=False, logger=False)
        a.obsm["X_scvi"] = trained.get_latent_representation()
        others[kind] = ldvae.from_latent(a, use_rep="X_scvi", genes="hv", progress=False)
    rows = []
    for kind, fit in others.items():
        best = _alike(own, ldvae.get_loadings(fit).set_index("gene").to_numpy())
        rows.append(Row("factors, other latents", "median |r|", f"{name}, {kind}", "ldvae", 0, float(np.median(best))))
    return rows


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest |r| of each column of a with one of b."""
    if not a.shape[1] or not b.shape[1]:
        return np.zeros(a.shape[1])
    return np.abs(np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :]).max(1)


def gain(folder: Path, name: str, genes: str = "scanpy") -> list[Row]:
    """What positions say of genes that did not make them, in cells that taught nothing: nats per cell.

    Each half of the cells teaches, the other is placed by three quarters of the genes; the last quarter's genes (400 in
    all, with 60 counts) are regressed on the positions in half of these cells and scored in the rest, over their mean.
    "weighted": each direction by how far halves of the genes agree on it.
    """
    a = read(folder, name, genes)
    half = _half(a)
    x, library = a.X[:, a.var["hv"].to_numpy()].tocsr(), np.asarray(a.X.sum(1)).ravel().astype(float)
    relative = x.toarray() / library[:, None]
    kinds = {
        "30 components of square roots": (np.sqrt(relative * np.median(library)), 30),
        "30 components of logarithms": (np.log1p(1e4 * relative), 30),
        "12 components of logarithms": (np.log1p(1e4 * relative), 12),
    }
    makers = {k: [_components(y, n, m) for m in (half, ~half)] for k, (y, n) in kinds.items()}
    makers["ldvae"] = [_encoder(a[m].copy(), x, library) for m in (half, ~half)]
    setting, out = f"{name}, {genes}", []
    for method, own in makers.items():
        for label, weigh in (("plain", False), ("weighted", True)):
            value = _gain(x, library, half, own, weigh)
            out.append(Row("factors, gain", f"nats per cell, {label}", setting, method, 0, value))
    return out


def _components(y: np.ndarray, n: int, rows: np.ndarray):
    pca = PCA(n, random_state=0).fit(y[rows])
    mean, w = pca.mean_, pca.components_.T

    def positions(keep: np.ndarray) -> np.ndarray:
        return (y[:, keep] - mean[keep]) @ w[keep] @ np.linalg.inv(w[keep].T @ w[keep] + 0.02 * np.eye(n))

    return positions


def _encoder(a: ad.AnnData, x: sp.csr_matrix, library: np.ndarray):
    fit = ldvae.fit_ldvae(a, genes="hv", seed=0, progress=False, device="cpu", measure_factors=False)
    model = rebuild(fit)

    def positions(keep: np.ndarray) -> np.ndarray:
        part = sp.csr_matrix(x @ sp.diags(keep.astype(np.float32)), dtype=np.float32)
        part.eliminate_zeros()
        design = np.zeros((len(library), 0), np.float32)
        z, _ = encode(model, SparseCounts(part, library, design, torch.device("cpu")))
        return (z - fit.factors["center"]) @ fit.factors["rotation"]

    return positions


def _gain(x: sp.csr_matrix, library: np.ndarray, half: np.ndarray, makers: list, weigh: bool) -> float:
    counts = x.toarray()
    asked = np.flatnonzero(counts.sum(0) >= 60)
    asked = np.isin(np.arange(x.shape[1]), np.random.default_rng(0).permutation(asked)[:400])
    rng, total = np.random.default_rng(2), 0.0
    fold = rng.permutation(np.arange(x.shape[1]) % 4)
    depth = np.log(library)
    for positions, cells in zip(makers, (np.flatnonzero(~half), np.flatnonzero(half)), strict=True):
        cut = rng.random(len(cells)) < 0.5
        d = np.column_stack([np.ones(len(cells)), depth[cells], depth[cells] ** 2])

        def residual(keep: np.ndarray, positions=positions, cells=cells, d=d) -> np.ndarray:
            z = positions(keep)[cells]
            return z - d @ np.linalg.lstsq(d, z, rcond=None)[0]

        for j in range(4):
            z = residual(fold != j)
            if weigh:
                z = z @ _weights(residual, fold != j, z)
            z = np.clip(z / z.std(0).max(), -5, 5)
            y, size = counts[np.ix_(cells, asked & (fold == j))], library[cells]
            for teach, score in ((cut, ~cut), (~cut, cut)):
                total += _likelier(y, size, z, teach, score)
    return total / len(library)


def _weights(residual, keep: np.ndarray, z: np.ndarray) -> np.ndarray:
    rng, genes = np.random.default_rng(5), np.flatnonzero(keep)
    cross = total = np.zeros(())
    for _ in range(3):
        first = np.isin(np.arange(len(keep)), rng.permutation(genes)[: len(genes) // 2])
        u, v = residual(first), residual(keep & ~first)
        cross, total = cross + u.T @ v, total + (u.T @ u + v.T @ v) / 2
    total = total + 1e-3 * np.trace(total) / len(total) * np.eye(len(total))
    values, axes = eigh((cross + cross.T) / 2, total)
    return axes / (z @ axes).std(0) * np.maximum(values, 0)


def _likelier(y: np.ndarray, size: np.ndarray, z: np.ndarray, teach: np.ndarray, score: np.ndarray) -> float:
    """Negative binomial log-likelihood gained over each gene's mean, by regressions with ridge 20."""
    d = np.column_stack([np.ones(len(z)), z])
    prior = np.r_[1e-3, np.full(z.shape[1], 20.0)]
    found = nb_regression(y[teach].T, d[teach], size[teach], prior, np.arange(teach.sum()) % 2 == 0)
    share_of = y[teach].sum(0) / size[teach].sum() + 1e-8
    plain, mu = (
        np.outer(size[teach], share_of),
        np.exp(np.clip(d[score] @ found.coefficient.T, -30, 3)) * size[score, None],
    )
    theta = np.clip((plain**2).sum(0) / np.maximum(((y[teach] - plain) ** 2 - y[teach]).sum(0), 1e-9), 0.05, 1e3)

    def value(m: np.ndarray) -> float:
        m = np.maximum(m, 1e-12)
        return float((y[score] * np.log(m / (m + theta)) - theta * np.log(m + theta)).sum())

    return value(mu) - value(np.outer(size[score], share_of))
