"""Likelihood of counts that no model has seen, against scvi-tools.

A tenth of the cells is left out of training. Half of the counts of each left-out cell (binomial thinning) is shown to
the encoder, and the other half is predicted: log p(other half | z), averaged over draws of z from the posterior, at the
library size of that half. All models have the same likelihood (negative binomial, one dispersion per gene), so their
numbers compare, in nats per cell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp
import torch
from rows import Row
from torch.distributions import NegativeBinomial

import ldvae

N_DRAWS = 20


def simulated(seed: int) -> ad.AnnData:
    """Programs, batches and markers as in `recovery`, smaller."""
    return ldvae.simulate_counts(n_cells=3000, n_genes=1000, n_populations=6, amplitude=0.8, seed=seed)


def real(folder: Path, name: str) -> ad.AnnData:
    """The 1,500 genes of real counts that vary most beyond their Poisson noise."""
    adata = ad.read_h5ad(folder / name)
    x = sp.csr_matrix(adata.X, dtype=np.float32)
    mean = np.asarray(x.mean(0)).ravel()
    excess = (np.asarray(x.power(2).mean(0)).ravel() - mean**2) / np.maximum(mean, 1e-9)
    kept = np.sort(np.argsort(-np.where(mean > 0.01, excess, 0))[:1500])
    out = ad.AnnData(x[:, kept], obs=adata.obs[[]].assign(batch="all"), var=adata.var[[]].iloc[kept])
    return out[np.asarray(out.X.sum(1)).ravel() >= 20].copy()


def split(adata: ad.AnnData, seed: int) -> tuple[ad.AnnData, ad.AnnData, ad.AnnData]:
    """Training cells, and two halves of the counts of the others."""
    rng = np.random.default_rng(seed)
    held = rng.random(adata.n_obs) < 0.1
    test = adata[held].copy()
    half = test.X.copy()
    half.data = rng.binomial(half.data.astype(int), 0.5).astype(np.float32)
    other = test.copy()
    other.X = sp.csr_matrix(test.X - half)
    test.X = half
    seen = np.asarray(half.sum(1)).ravel() > 0
    return adata[~held].copy(), test[seen].copy(), other[seen].copy()


def score(mu: np.ndarray, theta: np.ndarray, counts: ad.AnnData) -> np.ndarray:
    """log p(counts) per draw and cell; mu: draws × cells × genes, shares of the library."""
    x = torch.from_numpy(counts.X.toarray())
    library = x.sum(1, keepdim=True)
    t = torch.from_numpy(np.asarray(theta, dtype=np.float32))
    out = []
    for share in mu:
        log_mean = (torch.from_numpy(share) * library + 1e-10).log()
        counted = NegativeBinomial(total_count=t, logits=log_mean - t.log(), validate_args=False)
        out.append(counted.log_prob(x).sum(1).numpy())
    return np.array(out)


def averaged(log_p: np.ndarray) -> float:
    """Mean over cells of the log of the mean over draws."""
    top = log_p.max(0)
    return float((top + np.log(np.exp(log_p - top).mean(0))).mean())


def of_ldvae(train: ad.AnnData, shown: ad.AnnData, other: ad.AnnData, **settings: Any) -> float:
    """ldvae with its defaults, or with the number of factors of its peers."""
    from ldvae.fit.cells import read_data
    from ldvae.fit.expression import latent_draw
    from ldvae.fit.posterior import rebuild
    from ldvae.model.link import log_expression

    fit = ldvae.fit_ldvae(train, batch_key="batch", seed=0, progress=False, device="cpu", **settings)
    model, cells = rebuild(fit), read_data(fit, shown)
    rng, rows = np.random.default_rng(0), np.arange(shown.n_obs)
    design, mu = torch.from_numpy(cells.design), []
    with torch.no_grad():
        for _ in range(N_DRAWS):
            z = latent_draw(model, cells, rows, rng.standard_normal(cells.mean.shape))
            mu.append(log_expression(model.decode(z, design), model.config.closed).exp().numpy())
        theta = model.log_theta.exp().numpy()
    return averaged(score(np.array(mu), theta, other))


def of_scvi(name: str, train: ad.AnnData, shown: ad.AnnData, other: ad.AnnData, **settings: Any) -> float:
    """A model of scvi-tools with its default length of training."""
    from peers import train_scvi

    model = train_scvi(name, train, "batch", **settings)
    torch.manual_seed(0)
    mu = []
    for _ in range(N_DRAWS):
        drawn = model.get_normalized_expression(shown, n_samples=1, return_numpy=True, silent=True)
        mu.append(np.asarray(drawn, dtype=np.float32))
    theta = model.module.px_r.detach().exp().numpy()
    return averaged(score(np.array(mu), theta, other))


def run(name: str, seed: int, data: Path | None = None, peers: bool = True) -> list[Row]:
    """All models on one data set."""
    adata = simulated(seed) if data is None else real(data, name)
    parts = split(adata, seed)
    found = {"ldvae": of_ldvae(*parts), "ldvae, 10 factors": of_ldvae(*parts, n_latent=10)}
    found["ldvae, non-linear decoder"] = of_ldvae(*parts, decoder="nonlinear")
    if peers:
        found["LinearSCVI, 10 factors (default)"] = of_scvi("LinearSCVI", *parts)
        found["SCVI, 10 factors (default)"] = of_scvi("SCVI", *parts)
    return [Row("held-out", "log-likelihood per cell", name, method, seed, value) for method, value in found.items()]
