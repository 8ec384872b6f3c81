"""Tables that read a fit, and gene sets where gene-set tools look for them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ldvae import (
    add_ldvae,
    get_factors,
    get_latent,
    get_loadings_uncertainty,
    top_genes,
)
from ldvae.fit import factors


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


def test_the_table_of_factors(fit):
    table = get_factors(fit)
    assert list(table.columns) == ["factor", "variance_explained", "kl", "n_genes", "active"]
    assert table["factor"].tolist() == [f"Z_{k}" for k in range(1, 7)]
    assert table["variance_explained"].sum() == pytest.approx(1)
    n_active = int(table["active"].sum())
    assert table["active"].tolist() == [True] * n_active + [False] * (6 - n_active) and n_active > 0
    assert (np.diff(table["variance_explained"][:n_active]) <= 0).all()
    told = (table["n_genes"] >= factors._GENES) & (table["kl"] > 0.1)
    assert told[:n_active].all() and not told[n_active:].any()
    long = get_loadings_uncertainty(fit)
    counted = long[long["lfsr"] < 0.05].groupby("factor").size().reindex(table["factor"][:n_active], fill_value=0)
    pd.testing.assert_series_equal(
        counted.reset_index(drop=True), table["n_genes"][:n_active], check_names=False, check_dtype=False
    )
