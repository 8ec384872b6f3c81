"""An embedding becomes a fit: its own positions, our factors, and a decoder that answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

import ldvae


@pytest.fixture(scope="module")
def placed(simulated):
    adata = simulated.copy()
    x = adata.X.toarray()
    logs = np.log1p(1e3 * x / x.sum(1, keepdims=True))
    adata.obsm["X_pca"] = PCA(10, random_state=0).fit_transform(logs)
    return adata


@pytest.fixture(scope="module")
def of_pca(placed):
    return ldvae.from_latent(placed, use_rep="X_pca", batch_key="batch", progress=False)


def test_positions_are_the_embeddings_and_factors_those_of_a_fit(of_pca, placed, fit):
    assert np.array_equal(of_pca.latent_mean, placed.obsm["X_pca"].astype(np.float32))
    theirs, own = (ldvae.get_loadings(f).iloc[:, 1:].to_numpy() for f in (of_pca, fit))
    assert theirs.shape[1] >= 2
    r = np.abs(np.corrcoef(own.T, theirs.T)[: own.shape[1], own.shape[1] :]).max(1)
    assert np.median(r) > 0.9
    assert "positions of X_pca" in repr(of_pca)


def test_every_question_is_answered(of_pca, placed, fit):
    by = dict(groupby="population")
    own, theirs = (ldvae.differential_expression(f, placed, **by)["lfc_mean"].to_numpy() for f in (fit, of_pca))
    known = np.isfinite(own) & np.isfinite(theirs)
    assert np.corrcoef(own[known], theirs[known])[0, 1] > 0.97
    assert ldvae.population_programs(of_pca, placed, kind="within", **by)["called"].any()
    contributions = ldvae.differential_contributions(of_pca, placed, group1="P0", **by)
    assert np.isfinite(contributions["contribution"]).all()
    assert ldvae.associate_factors(of_pca, placed, key="population")["padj"].min() < 0.01
    assert ldvae.get_history(of_pca).empty
    assert ldvae.get_expression(of_pca, placed, genes=["G1"])["expression"].gt(0).all()


def test_it_survives_a_file_and_places_new_cells_by_their_own_embedding(of_pca, placed, tmp_path):
    ldvae.save_fit(of_pca, tmp_path / "fit")
    loaded = ldvae.load_fit(tmp_path / "fit")
    some = placed[100:150].copy()
    some.obs_names = "new" + some.obs_names  # training cells would have the positions of the fit
    latent = ldvae.get_latent(of_pca).iloc[100:150, 1:].to_numpy()
    np.testing.assert_allclose(ldvae.get_latent(loaded, some).iloc[:, 1:].to_numpy(), latent, atol=1e-5)
    some.obsm["X_pca"] = some.obsm["X_pca"][:, :3]
    with pytest.raises(ValueError, match=r"adata.obsm\['X_pca'\] must have the 10 dimensions of the fit, not 3\."):
        ldvae.get_latent(loaded, some)
    del some.obsm["X_pca"]
    with pytest.raises(ValueError, match=r"`use_rep` must name an embedding of adata\.obsm"):
        ldvae.get_latent(loaded, some)


@pytest.mark.parametrize("values", [np.full((600, 2), np.nan), np.array([["a"] * 2] * 600), np.zeros((600, 0))])
def test_what_is_no_embedding_is_refused(placed, values):
    adata = placed.copy()
    adata.obsm["X_bad"] = values
    with pytest.raises(ValueError, match="must hold finite numbers, cells × dimensions"):
        ldvae.from_latent(adata, use_rep="X_bad", progress=False)


def test_constant_positions_have_no_factor(placed):
    adata = placed.copy()
    adata.obsm["X_one"] = np.ones((600, 3))
    fit = ldvae.from_latent(adata, use_rep="X_one", progress=False)
    assert not ldvae.get_factors(fit)["active"].any() and ldvae.get_loadings(fit).shape == (150, 1)
