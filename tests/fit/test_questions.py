"""Tables that read a fit, and gene sets where gene-set tools look for them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from ldvae import add_ldvae, get_factors, get_history, get_latent, get_loadings, get_loadings_uncertainty, top_genes
from ldvae.tables import factor_names


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
        {"population": "A", "kind": "within", "program": "program_1", "gene": ["a", "b"], "loading": [1, 2]}
    )
    top_genes(long, gmt=str(tmp_path / "x.gmt"))
    assert (tmp_path / "x.gmt").read_text() == "A_within_program_1_up\tldvae\tb\ta\n"
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
    assert list(table.columns) == ["factor", "reliability", "pval", "variance_explained", "kl", "n_genes", "active"]
    assert table["factor"].tolist() == factor_names(6)
    assert table["variance_explained"].sum() == pytest.approx(1)
    n_active = int(table["active"].sum())
    assert table["active"].tolist() == [True] * n_active + [False] * (6 - n_active) and n_active > 0
    assert (np.diff(table["variance_explained"][:n_active]) <= 0).all()
    told = (table["n_genes"] >= 5) & (table["pval"] < 0.05) & (table["reliability"] >= 0.4)
    assert told[:n_active].all() and table.loc[n_active:, ["reliability", "pval", "kl"]].isna().all(axis=None)
    kl = -np.log(1 - table["reliability"][:n_active]) / 2
    assert np.allclose(table["kl"][:n_active], kl)
    long = get_loadings_uncertainty(fit)
    counted = long[long["lfsr"] < 0.05].groupby("factor").size().reindex(table["factor"][:n_active], fill_value=0)
    pd.testing.assert_series_equal(
        counted.reset_index(drop=True), table["n_genes"][:n_active], check_names=False, check_dtype=False
    )


@pytest.mark.parametrize(("read", "first", "rows"), [(get_latent, "cell", "cells"), (get_loadings, "gene", "genes")])
def test_only_active_factors_are_listed_unless_asked_for(fit, read, first, rows):
    active = get_factors(fit).query("active")["factor"].tolist()
    assert 0 < len(active) < 6
    every, found = read(fit, inactive=True), read(fit)
    assert list(every.columns) == [first, *factor_names(6)] and every[first].tolist() == getattr(fit, rows).tolist()
    pd.testing.assert_frame_equal(found, every[[first, *active]])
    with pytest.raises(TypeError, match="`inactive` must be True or False, not 1"):
        read(fit, inactive=1)


def test_latent_scores_have_unit_variance_with_their_uncertainty(decoded):
    fit = decoded
    scores = get_latent(fit, inactive=True)
    values, rotation = scores.iloc[:, 1:].to_numpy(), fit.factors["rotation"]
    assert np.allclose(values.mean(0), 0, atol=1e-5)
    total = values.var(0, ddof=1) + (fit.latent_variance @ rotation**2).mean(0)
    assert np.allclose(total, 1, atol=1e-4)


def test_measured_scores_have_unit_variance(fit):
    values = get_latent(fit).iloc[:, 1:].to_numpy()
    assert np.allclose(values.mean(0), 0, atol=1e-5) and np.allclose(values.var(0, ddof=1), 1, atol=1e-4)
    rest = get_latent(fit, inactive=True).iloc[:, 1 + values.shape[1] :].to_numpy()
    assert np.abs(values.T @ rest).max() < 1e-3 * len(values)  # what is left is uncorrelated with the factors


def test_loadings_times_scores_are_the_decoded_expression_less_the_noise_of_loadings(decoded):
    fit = decoded
    scores, loadings = (read(fit, inactive=True).iloc[:, 1:].to_numpy() for read in (get_latent, get_loadings))
    log2 = (fit.latent_mean - fit.latent_mean.mean(0)) @ fit.weights["loadings"].T / np.log(2)
    shrunk = scores @ loadings.T
    log2, shrunk = (v - v.mean(1, keepdims=True) for v in (log2, shrunk))  # the softmax forgets what all genes share
    assert np.corrcoef(shrunk.ravel(), log2.ravel())[0, 1] > 0.98
    assert np.polyfit(log2.ravel(), shrunk.ravel(), 1)[0] == pytest.approx(1, abs=0.1)


def test_uncertainty_is_the_long_form_of_the_active_loadings(fit):
    long, loadings = get_loadings_uncertainty(fit), get_loadings(fit).set_index("gene")
    active = get_factors(fit).query("active")["factor"].tolist()
    assert long["factor"].unique().tolist() == active and len(long) == 150 * len(active)
    for factor, rows in long.groupby("factor"):
        assert rows.set_index("gene")["loading"].equals(loadings[factor].rename("loading"))
    assert (long["std"] > 0).all() and long["lfsr"].between(0, 1).all()


def test_history_is_nats_per_cell(fit):
    history = get_history(fit)
    assert history["epoch"].tolist() == list(range(1, 16))
    assert np.allclose(history["elbo_train"], history["reconstruction"] - history["kl"])


def test_top_genes_of_a_wide_table(fit):
    loadings = get_loadings(fit)
    found = top_genes(loadings, n=4)
    assert list(found.columns) == ["gene", "factor", "loading"] and len(found) == 4 * (loadings.shape[1] - 1)
    for factor in loadings.columns[1:]:
        rows = found[found["factor"] == factor]
        order = loadings[factor].abs().sort_values(ascending=False).index[:4]
        assert rows["gene"].tolist() == loadings["gene"][order].tolist()
        assert rows["loading"].tolist() == loadings[factor][order].tolist()


def test_top_genes_of_a_long_table():
    long = pd.DataFrame(
        {"population": list("aaabbb"), "program": "P", "gene": list("uvwuvw"), "loading": [1, -3, 2.0, -1, 0.5, 2]}
    )
    found = top_genes(long, n=2)
    assert found["gene"].tolist() == ["v", "w", "w", "u"] and found["population"].tolist() == list("aabb")
    assert isinstance(found.index, pd.RangeIndex) and list(found.columns) == list(long.columns)
    assert len(top_genes(long, n=10.0)) == 6


@pytest.fixture
def compared():
    return pd.DataFrame(
        {
            "within": "all", "gene": list("uvwx"), "group1": "B", "group2": "rest", "lfc_mean": [3.0, -2, 1, np.nan],
            "lfc_std": [2.0, 0.5, 0.1, np.nan], "is_de": [False, True, True, False], "lfsr": [0.1, 0, 0, np.nan],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "genes"),
    [({}, "vwu"), ({"by": "evidence"}, "wvu"), ({"direction": "up"}, "wu"), ({"direction": "down", "n": None}, "v")],
)
def test_top_genes_of_a_comparison_begin_with_the_called(compared, arguments, genes):
    both = pd.concat([compared, compared.assign(group1="A")])
    found = top_genes(both, **arguments)
    assert found["gene"].tolist() == list(genes) * 2 and found["group1"].tolist() == sorted(found["group1"])[::-1]
    assert list(found.columns) == list(both.columns)


@pytest.mark.parametrize(
    ("least", "genes"), [({}, "vw"), ({"min_detected": 0}, "vwu"), ({"min_detected": 0.25}, "v"), ({"n": None}, "vw")]
)
def test_top_genes_of_a_comparison_are_found_in_enough_cells_of_the_side_where_they_are_higher(compared, least, genes):
    table = compared.assign(detected1=[0.05, 0.01, 0.2, 0.9], detected2=[0.9, 0.3, 0.0, 0.9])
    assert "".join(top_genes(table, **least)["gene"]) == genes


def test_top_genes_of_a_comparison_are_gene_sets(compared, tmp_path):
    top_genes(compared[compared["is_de"]], gmt=tmp_path / "x.gmt")
    assert (tmp_path / "x.gmt").read_text() == "all_B_rest_down\tldvae\tv\nall_B_rest_up\tldvae\tw\n"


def test_top_genes_says_what_is_wrong(fit):
    with pytest.raises(TypeError) as caught:
        top_genes(fit)
    assert str(caught.value) == (
        "`loadings` must be a table of get_loadings, get_loadings_uncertainty, population_loadings or "
        "differential_expression."
    )
    with pytest.raises(ValueError, match="`n` must be a whole number of at least 1, not 0"):
        top_genes(get_loadings(fit), n=0)


def test_cells_without_counts_of_the_modelled_genes_can_be_encoded(fit, simulated):
    new = simulated[:3].copy()
    new.X = sp.csr_matrix(np.eye(3, 150))
    assert np.isfinite(get_latent(fit, new).iloc[:, 1:]).all(axis=None)
