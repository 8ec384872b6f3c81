"""Counts with planted truth, and quick fits of them."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from ldvae import fit_ldvae, simulate_counts
from ldvae.programs.local import Local
from ldvae.programs.population import Population
from ldvae.programs.setting import Setting


def simulate_groups(seed, groups, n_genes=400, library=700, batch=None, own=None):
    """NB counts of cells with `groups`; log expression = base + effect of the group + a program + batch + own shift.

    A third of the genes of every group but the first carry an effect, from a continuum around zero.
    """
    rng = np.random.default_rng(seed)
    n, n_groups = len(groups), int(groups.max()) + 1
    base = rng.normal(-0.5, 1.3, n_genes)
    effect = np.zeros((n_groups, n_genes))
    for g in range(1, n_groups):
        on = rng.random(n_genes) < 0.3
        effect[g, on] = 0.45 * np.clip(rng.standard_t(4, on.sum()), -4, 4)
    program = np.where(rng.random(n_genes) < 0.15, rng.normal(0, 0.5, n_genes), 0)
    score = rng.normal(size=(n, 1))
    eta = base + effect[groups] + score * program
    if batch is not None:
        eta = eta + rng.normal(0, 0.3, (int(batch.max()) + 1, n_genes))[batch]
    rho = np.exp(eta if own is None else eta + own)
    depth = library * np.exp(rng.normal(0, 0.35, n))
    mu = depth[:, None] * rho / rho.sum(1, keepdims=True)
    x = rng.poisson(mu * rng.gamma(3.3, 1 / 3.3, mu.shape)).astype(np.float32)
    mean = np.exp(base + effect[:, None] + rng.normal(size=(1, 2000, 1)) * program)
    mean = np.log2((mean / mean.sum(-1, keepdims=True)).mean(1))
    obs = pd.DataFrame({"group": pd.Categorical([f"P{g}" for g in groups])}, index=[f"c{i}" for i in range(n)])
    if batch is not None:
        obs["batch"] = pd.Categorical(batch.astype(str))
    return ad.AnnData(sp.csr_matrix(x), obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(n_genes)])), mean


def fitted(adata, **kwargs):
    """Its factors are those of the decoder, against which it can be held."""
    return fit_ldvae(
        adata, max_epochs=40, n_latent=6, n_hidden=32, measure_factors=False, progress=False, device="cpu", **kwargs
    )


def log_softmax(eta):
    eta = eta - eta.max(1, keepdims=True)
    return eta - np.log(np.exp(eta).sum(1, keepdims=True))


SETTINGS = dict(n_latent=15, max_epochs=12, progress=False, device="cpu")


def simulate_programs(**arguments):
    common = dict(n_cells=1200, n_genes=300, n_populations=4, program_size=25, smallest_share=0.18, n_batches=1)
    return simulate_counts(**{**common, **arguments})


def r_with(table, planted, population, program):
    rows = table[(table["population"] == population) & (table["program"] == program)]
    genes = [int(g[1:]) for g in rows["gene"]]
    return abs(np.corrcoef(rows["loading"], planted[genes])[0, 1])


def population(seed, name, loadings, n=250, library=800.0, shift=0.0, samples=None):
    """A population and its local model, with programs (genes × q) and a shift of log expression.

    The shift is one of all cells (genes) or of each (cells × genes). Activities are standard normal;
    `np.random.default_rng(seed).normal(size=(n, q))` are those of this seed.
    """
    rng = np.random.default_rng(seed)
    activity = rng.normal(size=(n, loadings.shape[1]))
    expression = np.exp(np.random.default_rng(0).normal(0, 0.8, len(loadings)) + activity @ loadings.T + shift)
    expression *= library * np.exp(rng.normal(0, 0.3, (n, 1))) / expression.sum(1, keepdims=True)
    x = rng.poisson(rng.gamma(4.0, expression / 4.0)).astype(np.float32)
    offset = np.broadcast_to(np.log(x.sum(1, keepdims=True)), x.shape)
    local = Local.build(x, offset, np.full(len(loadings), 4.0), samples)
    return Population(name, np.arange(n), np.arange(len(loadings)), local, samples)


def loading(seed, n_genes=200, size=20, positive=False):
    rng = np.random.default_rng(seed)
    out = np.zeros(n_genes)
    signs = np.ones(size) if positive else rng.choice([-1, 1], size)
    out[rng.choice(n_genes, size, replace=False)] = 0.8 * rng.uniform(0.5, 1.5, size) * signs
    return out


def setting(populations, small=None):
    return Setting(populations, 200, 0, small or {})
