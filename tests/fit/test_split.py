"""Counts in two parts: they add up, know nothing of each other, and give clusters an honest test."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import ldvae
from ldvae import population_loadings, split_counts
from planted import fitted


@pytest.fixture(scope="module")
def alike():
    """One population, in which nothing varies but counting."""
    adata = ldvae.simulate_counts(
        n_cells=900, n_genes=300, n_populations=1, n_shared=0, null_populations=["P0"], n_batches=1, seed=3
    )
    return adata, fitted(adata)


def correlation(parts):
    shares = [part.X.toarray() / part.X.sum(1) for part in parts]
    genes = np.flatnonzero(shares[0].mean(0) * 800 > 0.5)
    return np.mean([np.corrcoef(*(np.asarray(s)[:, j] for s in shares))[0, 1] for j in genes])


def test_parts_add_up_and_are_independent_with_the_dispersion_of_the_fit(alike):
    adata, fit = alike
    first, second = split_counts(adata, fit=fit)
    assert (first.X + second.X != adata.X).nnz == 0
    assert first.X.sum() / adata.X.sum() == pytest.approx(0.5, abs=0.01)
    assert list(first.obs) == list(adata.obs) and not first.obsm and not first.uns and adata.obsm
    assert abs(correlation((first, second))) < 0.03 < 0.2 < correlation(split_counts(adata))
    again, _ = split_counts(adata, fit=fit)
    other, _ = split_counts(adata, fit=fit, seed=1)
    assert (again.X != first.X).nnz == 0 and (other.X != first.X).nnz > 0
    third, _ = split_counts(adata, fit=fit, share=0.3)
    assert third.X.sum() / adata.X.sum() == pytest.approx(0.3, abs=0.01)


def test_clusters_of_one_part_do_not_differ_in_the_other(alike):
    adata, fit = alike

    def halves(counts):
        x = np.log1p(1e4 * counts.X.toarray() / counts.X.sum(1))
        u, _, _ = np.linalg.svd(np.asarray(x - x.mean(0)), full_matrices=False)
        return np.where(u[:, 0] > 0, "a", "b")

    first, second = split_counts(adata, fit=fit)
    calls = []
    for counts, groups in ((adata, halves(adata)), (second, halves(first))):
        asked = counts.copy()
        asked.obs["cluster"] = groups
        calls.append(int((population_loadings(fit, asked, groupby="cluster", kind="between")["lfsr"] < 0.05).sum()))
    assert calls[0] > 40 and calls[1] < 0.1 * calls[0]


def test_counts_of_a_layer_of_poisson_counts_and_of_cells_that_run_empty(alike):
    adata, _ = alike
    small = AnnData(np.zeros((3, 300), np.float32), var=adata.var)
    small.layers["counts"] = sp.csr_matrix(np.r_[[np.eye(1, 300)[0]], np.full((2, 300), 4.0)].astype(np.float32))
    with pytest.warns(UserWarning, match="1 cells have no count in one of the parts"):
        first, second = split_counts(small, layer="counts")
    assert first.obs_names.tolist() == second.obs_names.tolist() == ["1", "2"]
    poisson = fitted(adata, gene_likelihood="poisson")
    (a, _), (b, _) = split_counts(adata, fit=poisson), split_counts(adata)
    assert (a.X != b.X).nnz == 0


def test_what_is_wrong_is_said(alike):
    adata, fit = alike
    with pytest.raises(ValueError, match="`share` must be below 1"):
        split_counts(adata, share=1)
    with pytest.raises(TypeError, match="`fit` must be a Fit"):
        split_counts(adata, fit="fit")
    other = adata.copy()
    other.var_names = [f"x{i}" for i in range(300)]
    with pytest.raises(ValueError, match="`fit` has none of the genes"):
        split_counts(other, fit=fit)
    one = AnnData(np.eye(4, dtype=np.float32))
    with pytest.raises(ValueError, match="No cell has counts in both parts"):
        split_counts(one)
