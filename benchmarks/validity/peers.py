"""What others do for the same questions: scvi-tools, principal components, consensus NMF."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from anndata import AnnData
from recovery import SETTINGS, SIZE, auprc, log2_truth
from rows import Row
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA

import ldvae


def train_scvi(name: str, adata: AnnData, batch: str | None, max_epochs: int | None = None, **settings: Any) -> Any:
    """A trained model of scvi-tools, with its own defaults where nothing is said."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    import scvi
    import torch

    threads = torch.get_num_threads()
    scvi.settings.seed, scvi.settings.verbosity = 0, 40
    data, model = adata.copy(), getattr(scvi.model, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.setup_anndata(data, batch_key=batch)
        trained = model(data, **settings)
        trained.train(max_epochs=max_epochs, accelerator="cpu", enable_progress_bar=False, logger=False)
    torch.set_num_threads(threads)
    return trained


def normalised(adata: AnnData) -> np.ndarray:
    """log(1 + counts per 10,000)."""
    x = adata.X.toarray()
    return np.log1p(1e4 * x / x.sum(1, keepdims=True))


def linear_scvi(adata: AnnData, max_epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Centred loadings (genes × 10) and latent means (cells × 10) of LinearSCVI."""
    model = train_scvi("LinearSCVI", adata, "batch", max_epochs, n_latent=10)
    loadings = model.get_loadings().loc[adata.var_names].to_numpy()
    return loadings - loadings.mean(0), model.get_latent_representation()


def axes(loadings: np.ndarray, covariance: np.ndarray, n: int) -> np.ndarray:
    """Leading eigenvectors (genes × n) of W S Wᵀ; S need not be positive."""
    q, r = np.linalg.qr(loadings)
    values, vectors = np.linalg.eigh(r @ covariance @ r.T)
    return q @ vectors[:, np.argsort(-values)[:n]] * np.sqrt(np.maximum(np.sort(values)[::-1][:n], 0))


def programs_of(method: str, adata: AnnData, max_epochs: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each population: two programs that vary within it, and the one that is most its own."""
    populations = adata.obs["population"]
    members = {name: (populations == name).to_numpy() for name in populations.cat.categories}
    out = {}
    if method == "LinearSCVI, once":
        loadings, z = linear_scvi(adata, max_epochs)
        cov = {name: np.cov(z[rows].T) for name, rows in members.items()}
        for name in members:
            rest = [k for k in members if k != name]
            others = np.average([cov[k] for k in rest], axis=0, weights=[members[k].sum() for k in rest])
            out[name] = axes(loadings, cov[name], 2), axes(loadings, cov[name] - 2 * others, 1)
    elif method == "LinearSCVI per population":
        for name, rows in members.items():
            loadings, z = linear_scvi(adata[rows].copy(), max_epochs)
            own = axes(loadings, np.cov(z.T), 2)
            out[name] = own, own[:, :1]
    elif method == "PCA per population":
        x = normalised(adata)
        for name, rows in members.items():
            own = PCA(2, random_state=0).fit(x[rows]).components_.T
            out[name] = own, own[:, :1]
    elif method == "consensus NMF":
        loadings, usage = consensus_nmf(adata, 17)
        variance = {name: usage[rows].var(0) for name, rows in members.items()}
        for name in members:
            others = np.max([variance[k] for k in members if k != name], axis=0)
            within = np.argsort(-variance[name])[:2]
            specific = np.argmax(variance[name] - 2 * others)
            out[name] = loadings[:, within], loadings[:, [specific]]
    return out


def consensus_nmf(adata: AnnData, k: int, n_runs: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Gene scores (genes × k) and usages (cells × k), after Kotliar et al. (2019).

    `n_runs` factorisations of variance-scaled counts per 10,000, clustered spectra (the third farthest from their
    neighbours left out), medians of the clusters, refitted usages; scores are coefficients of standardised log
    expression on usages.
    """
    x = adata.X.toarray()
    x = 1e4 * x / x.sum(1, keepdims=True)
    scaled = x / np.maximum(x.std(0), 1e-9)
    settings: dict[str, Any] = {"solver": "mu", "beta_loss": "frobenius", "max_iter": 200, "tol": 1e-3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 200 steps were not enough for the last digit
        spectra = np.vstack(
            [NMF(k, init="random", random_state=r, **settings).fit(scaled).components_ for r in range(n_runs)]
        )
        spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
        distance = np.sort(np.linalg.norm(spectra[:, None] - spectra[None], axis=2), axis=1)[:, 1 : n_runs // 2].mean(1)
        spectra = spectra[distance <= np.quantile(distance, 2 / 3)]
        cluster = KMeans(k, n_init=10, random_state=0).fit_predict(spectra)
        medians = np.array([np.median(spectra[cluster == j], axis=0) for j in range(k)]) + 1e-12
        usage = np.full((len(scaled), k), scaled.mean() / k)
        for _ in range(200):  # multiplicative steps with the spectra fixed
            usage *= (scaled @ medians.T) / np.maximum(usage @ (medians @ medians.T), 1e-12)
    usage /= usage.sum(1, keepdims=True)
    y = normalised(adata)
    y = (y - y.mean(0)) / np.maximum(y.std(0), 1e-9)
    return np.linalg.lstsq(usage, y, rcond=None)[0].T, usage


def recovery(method: str, amplitude: float, seed: int, max_epochs: int = 100) -> list[Row]:
    """AUPRC as for ldvae, on the same data."""
    setting = "1 shared"
    adata = ldvae.simulate_counts(**SIZE, amplitude=amplitude, seed=seed, **SETTINGS[setting])
    truth = log2_truth(adata)
    shared = (truth["shared"] != 0).any(0)
    found = programs_of(method, adata, max_epochs)
    within, specific = [], []
    for name, (two, one) in found.items():
        own = truth["programs"][int(name[1:])] != 0
        within.append(auprc(np.abs(two).max(1), own, own | ~shared))
        specific.append(auprc(np.abs(one).max(1), own, np.ones_like(own)))
    at = (f"{setting}, amplitude {amplitude}", method, seed)
    return [
        Row("recovery", "within", *at, float(np.mean(within)), len(within)),
        Row("recovery", "specific", *at, float(np.mean(specific)), len(specific)),
    ]
