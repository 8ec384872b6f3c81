"""What a fit leaves in an AnnData is where scanpy looks for it, and gene sets where gene-set tools do."""

from __future__ import annotations

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from ldvae import add_ldvae, differential_expression, get_latent, top_genes


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


def test_views_are_read_like_their_copies(fit, simulated):
    view = simulated[100:200]
    assert view.is_view
    pd.testing.assert_frame_equal(get_latent(fit, view), get_latent(fit, view.copy()))
    assert add_ldvae(view, fit).n_obs == 100 and view.is_view


def test_top_genes_writes_gene_sets_up_and_down_apart(tmp_path):
    wide = pd.DataFrame({"gene": list("abcd"), "Z_1": [1.0, -3, 2, 0], "Z_2": [0, 0.5, 1, 4]})
    top_genes(wide, n=3, gmt=tmp_path / "x.gmt")
    assert (tmp_path / "x.gmt").read_text() == "Z_1_down\tldvae\tb\nZ_1_up\tldvae\tc\ta\nZ_2_up\tldvae\td\tc\tb\n"
    long = pd.DataFrame(
        {"population": "A", "kind": "within", "program": "own_1", "gene": ["a", "b"], "loading": [1, 2]}
    )
    top_genes(long, gmt=str(tmp_path / "x.gmt"))
    assert (tmp_path / "x.gmt").read_text() == "A_within_own_1_up\tldvae\tb\ta\n"
    top_genes(long.assign(gene=["a", "\udcff"]), gmt=tmp_path / "x.gmt")  # as h5py reads a byte that is no text
    assert (tmp_path / "x.gmt").read_bytes().count(b"\xff") == 1
    top_genes(long.astype({"population": "category"})[:0], gmt=tmp_path / "x.gmt")
    assert (tmp_path / "x.gmt").read_text() == ""
    with pytest.raises(TypeError, match=r"^`gmt` must be the name of a file, not 3\.$"):
        top_genes(wide, gmt=3)
    with pytest.raises(ValueError) as caught:
        top_genes(wide, gmt=tmp_path / "no" / "x.gmt")
    assert str(caught.value) == f"`gmt` must be in an existing folder, and {str(tmp_path / 'no')!r} is not one."
