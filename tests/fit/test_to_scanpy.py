"""What a fit leaves in an AnnData is where scanpy looks for it."""

from __future__ import annotations

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from ldvae import add_ldvae, differential_expression, get_factors, get_latent, get_loadings, get_program_scores


def test_add_ldvae_puts_differential_expression_where_scanpy_looks(fit, simulated, tmp_path):
    de = differential_expression(fit, simulated, groupby="population")
    found = add_ldvae(simulated, fit, de=de, groupby="population")
    found.write_h5ad(tmp_path / "x.h5ad")
    table = sc.get.rank_genes_groups_df(ad.read_h5ad(tmp_path / "x.h5ad"), "P1")
    wanted = de[de["group1"] == "P1"].set_index("gene").loc[table["names"]]
    for theirs, ours in [("logfoldchanges", "lfc_mean"), ("pvals", "lfsr"), ("pct_nz_group", "detected1")]:
        assert np.allclose(table[theirs], wanted[ours], rtol=1e-6, equal_nan=True)
    assert np.allclose(table["scores"], wanted["lfc_mean"] / wanted["lfc_std"], equal_nan=True)
    assert (table["scores"].dropna().diff().dropna() <= 0).all() and table["scores"].isna().sum() < 10
    surest = table.sort_values("pvals", kind="stable").dropna()
    assert np.allclose(surest["pvals_adj"], surest["pvals"].expanding().mean())
    with_log = found.copy()
    sc.pp.log1p(with_log)
    for draw in ("", "_dotplot", "_matrixplot", "_heatmap", "_stacked_violin", "_tracksplot", "_violin"):
        getattr(sc.pl, f"rank_genes_groups{draw}")(with_log, n_genes=3, show=False)
        plt.close("all")


DE_ERRORS = [
    (lambda de: de.drop(columns="lfsr"), {}, "`de` must be the table that differential_expression returns."),
    (lambda de: de, {"groupby": None}, "`de` needs `groupby`, the column of adata.obs whose groups it compares."),
    (lambda de: de, {"groupby": "batch"}, "`de` compares 'P0', 'P1', 'P2', no level of 'batch' ('B0', 'B1')."),
    (lambda de: de.assign(group2=de["group1"]), {},
     "`de` must compare each group once, and all with the same: scanpy keeps one list a group."),
]  # fmt: skip


@pytest.mark.parametrize(("change", "arguments", "sentence"), DE_ERRORS)
def test_add_ldvae_says_what_is_wrong_with_de(fit, simulated, change, arguments, sentence):
    genes = fit.genes.tolist()
    de = pd.DataFrame({"gene": genes * 3, "group1": np.repeat(["P0", "P1", "P2"], len(genes)), "group2": "rest"})
    de = change(de.assign(lfc_mean=1.0, lfc_std=1.0, lfsr=0.0))
    with pytest.raises((TypeError, ValueError)) as caught:
        add_ldvae(simulated, fit, **{"de": de, "groupby": "population"} | arguments)
    assert str(caught.value) == sentence


def test_add_ldvae_returns_a_changed_copy(fit, simulated):
    cells = simulated[100:200].copy()
    found = add_ldvae(cells, fit)
    active = get_factors(fit).query("active")["factor"].tolist()
    assert found is not cells and "X_ldvae" not in cells.obsm
    assert np.allclose(
        found.obsm["X_ldvae"], get_latent(fit, simulated, embedding=True)[active].to_numpy()[100:200], atol=1e-2
    )
    assert np.array_equal(found.varm["ldvae_loadings"], get_loadings(fit)[active].to_numpy())
    assert found.uns["ldvae"]["factors"].tolist() == active
    assert np.allclose(found.uns["ldvae"]["variance_explained"], get_factors(fit)["variance_explained"][: len(active)])
    assert (found.X != cells.X).nnz == 0


def test_add_ldvae_survives_a_file_and_marks_genes_that_were_not_modelled(simulated, few_genes, tmp_path):
    found = add_ldvae(simulated, few_genes)
    loadings = get_loadings(few_genes).set_index("gene")[list(found.uns["ldvae"]["factors"])]
    kept = found.var_names.isin(few_genes.genes)
    assert kept.sum() == 62 and np.isnan(found.varm["ldvae_loadings"][~kept]).all()
    assert np.array_equal(found.varm["ldvae_loadings"][kept], loadings.loc[found.var_names[kept]].to_numpy())
    found.write_h5ad(tmp_path / "x.h5ad")
    again = ad.read_h5ad(tmp_path / "x.h5ad")
    assert np.array_equal(again.obsm["X_ldvae"], found.obsm["X_ldvae"])
    assert again.uns["ldvae"]["decoder"] == "linear"


def test_add_ldvae_reads_a_backed_file(fit, simulated, tmp_path):
    simulated.write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    try:
        found = add_ldvae(backed, fit)
        assert not found.isbacked and backed.isbacked and "X_ldvae" not in backed.obsm
        assert np.allclose(found.obsm["X_ldvae"], add_ldvae(simulated, fit).obsm["X_ldvae"])
    finally:
        backed.file.close()


def test_cells_in_a_zarr_store_are_those_in_memory(fit, simulated, tmp_path):
    zarr = pytest.importorskip("zarr")
    simulated.write_zarr(tmp_path / "x.zarr")
    read = ad.read_zarr(tmp_path / "x.zarr")
    stored = ad.io.sparse_dataset(zarr.open(str(tmp_path / "x.zarr"), mode="r")["X"])
    wanted = add_ldvae(simulated, fit)
    for cells in (read, ad.AnnData(stored, read.obs, read.var)):
        found = add_ldvae(cells, fit)
        assert np.array_equal(found.obsm["X_ldvae"], wanted.obsm["X_ldvae"])
        assert np.array_equal(found.X.toarray(), simulated.X.toarray()) and "X_ldvae" not in cells.obsm
        de = differential_expression(fit, cells, groupby="population")
        pd.testing.assert_frame_equal(de, differential_expression(fit, simulated, groupby="population"))


def test_add_ldvae_takes_program_scores_along_by_name(fit, simulated):
    scores = get_program_scores(fit, simulated, groupby="population", kind="between")
    found = add_ldvae(simulated, fit, scores=scores.sample(frac=1, random_state=0))
    for column in scores.columns[1:]:
        assert found.obs[column].tolist() == scores[column].tolist()
    with pytest.raises(TypeError, match=r"^`scores` must be the table that get_program_scores returns\.$"):
        add_ldvae(simulated, fit, scores=scores.drop(columns="cell"))
    with pytest.warns(UserWarning, match=r"^`scores` lacks 597 of the 600 cells of `adata`: they get NaN\.$"):
        found = add_ldvae(simulated, fit, scores=scores[:3])
    assert found.obs[scores.columns[1]].isna().sum() == 597
