"""What a fit leaves in an AnnData is where scanpy looks for it."""

from __future__ import annotations

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from ldvae import add_ldvae, differential_expression


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
