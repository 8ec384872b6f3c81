"""AnnData → Seurat → R functions: the same numbers as Python's."""

import pandas as pd

import ldvae


def test_seurat_gives_the_same_tables(session, fit, adata):
    session(
        "seurat <- SeuratObject::CreateSeuratObject(assay(sce, 'counts'), meta.data = as.data.frame(colData(sce))); "
        "from_seurat <- fit_ldvae(seurat, batch_key = 'batch', n_latent = 5, n_hidden = 32, max_epochs = 15, "
        "batch_size = 32, seed = 3, device = 'cpu', progress = FALSE)"
    )
    assert session("identical(from_seurat$weights, fit$weights)")[0]
    found = session.table("population_loadings(from_seurat, seurat, groupby = 'population', kind = 'between')")
    expected = ldvae.population_loadings(fit, adata, groupby="population", kind="between")
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-12)


def test_scores_and_loadings_arrive_in_seurat(session, fit, adata):
    session("added <- add_ldvae(seurat, from_seurat)")
    factors = ldvae.get_factors(fit)
    first = factors["factor"][factors["active"]].iloc[0]
    scores = [float(v) for v in session("SeuratObject::Embeddings(added[['ldvae']])[, 1]")]
    assert scores == ldvae.get_latent(fit, adata, embedding=True)[first].tolist()
    loadings = [float(v) for v in session("SeuratObject::Loadings(added[['ldvae']])[, 1]")]
    assert loadings == ldvae.get_loadings(fit)[first].tolist()
