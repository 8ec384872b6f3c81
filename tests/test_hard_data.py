"""Legal data at the edge of what there is: finite and sensible tables, or a sentence."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import ldvae
from support import UNMEASURED, all_stored, assert_finite, fingerprint

QUICK = dict(n_latent=3, n_hidden=8, max_epochs=30, batch_size=32, progress=False, device="cpu", seed=0)
# what the help says may be missing
MAY_BE_NAN = {
    "population_programs": ("share", "ratio_to_reference", "like_cosine", "share_of_samples", "pval", "padj"),
    "differential_expression": (
        "proba_de", "lfsr", "bayes_factor", "lfc_mean", "lfc_median", "lfc_std", "lfc_lower", "lfc_upper", "mean1",
        "mean2",
    ),
    "associate_factors": ("effect", "std", "statistic", "pval", "padj", "auc"),
}  # fmt: skip


@pytest.fixture(scope="module")
def easy():
    return ldvae.simulate_counts(
        n_cells=240, n_genes=40, n_populations=2, program_size=8, n_identity=8, n_batches=2, n_samples=4, seed=1
    )


def counts_of(adata, change):
    found = adata.copy()
    x = found.X.toarray()
    changed = change(x)
    found.X = sp.csr_matrix((x if changed is None else changed).astype(np.float32))
    return found


def answers(fit, adata, groupby="population"):
    """All tables of all questions, checked; what is refused is refused with a sentence."""
    before, found = fingerprint(adata), {}
    questions = {
        "get_history": lambda: ldvae.get_history(fit),
        "get_latent": lambda: ldvae.get_latent(fit, adata, inactive=True),
        "get_loadings": lambda: ldvae.get_loadings(fit, inactive=True),
        "get_loadings_uncertainty": lambda: ldvae.get_loadings_uncertainty(fit),
        "get_factors": lambda: ldvae.get_factors(fit),
        "get_expression": lambda: ldvae.get_expression(fit, adata, genes=fit.genes[:3].tolist(), n_samples=3),
        "population_loadings": lambda: ldvae.population_loadings(fit, adata, groupby=groupby, kind="between"),
        "population_programs": lambda: ldvae.population_programs(fit, adata, groupby=groupby, kind="within"),
        "specific": lambda: ldvae.population_programs(fit, adata, groupby=groupby, kind="specific"),
        "deviation": lambda: ldvae.population_loadings(fit, adata, groupby=groupby, kind="deviation"),
        "differential_expression": lambda: ldvae.differential_expression(fit, adata, groupby=groupby),
        "cells": lambda: ldvae.differential_expression(fit, adata, groupby=groupby, estimand="cell", n_samples=100),
        "differential_contributions": lambda: ldvae.differential_contributions(
            fit, adata, groupby=groupby, group1=None
        ),
        "associate_factors": lambda: ldvae.associate_factors(fit, adata, key=groupby),
    }
    nan = MAY_BE_NAN | {"specific": MAY_BE_NAN["population_programs"], "cells": MAY_BE_NAN["differential_expression"]}
    for name, question in questions.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                found[name] = question()
            except ValueError as error:
                found[name] = str(error)
                assert str(error).endswith(".")
                continue
        but = {"get_history": ("elbo_validation",), "get_factors": UNMEASURED} | nan
        assert_finite(found[name], but.get(name, ()))
    assert fingerprint(adata) == before
    return found


def all_answered(found, but=()):
    refused = {name: text for name, text in found.items() if isinstance(text, str) and name not in but}
    assert not refused, refused


def fold_changes(found):
    return found["differential_expression"]["lfc_mean"].dropna().abs()


def test_one_enormous_cell(easy):
    adata = counts_of(easy, lambda x: x.__setitem__(0, 1e6 * (x[0] > 0)))
    fit = ldvae.fit_ldvae(adata, **QUICK)
    found = answers(fit, adata)
    all_answered(found)
    calm = answers(ldvae.fit_ldvae(easy, **QUICK), easy)
    # one cell of 240 does not make the fold changes
    assert fold_changes(found).median() < 3 * fold_changes(calm).median() + 0.5


def test_zeros_that_a_sparse_matrix_stores_are_zeros(easy):
    stored, x = easy.copy(), easy.X.toarray()
    stored.X = all_stored(x)
    assert stored.X.has_canonical_format and stored.X.nnz == x.size and np.array_equal(stored.X.toarray(), x)
    before = stored.X.data.tobytes()
    found, wanted = (ldvae.fit_ldvae(adata, **QUICK).weights for adata in (stored, easy))
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert stored.X.data.tobytes() == before


def test_counts_up_to_a_million(easy):
    adata = counts_of(easy, lambda x: x.__setitem__((slice(None), 3), x[:, 3] * 200_000))
    assert adata.X.max() >= 1e6
    # one gene that is nearly all there is makes no factor, which takes five
    all_answered(answers(ldvae.fit_ldvae(adata, **QUICK), adata), but=("associate_factors",))


def test_genes_with_a_single_count_and_genes_without(easy):
    def change(x):
        x[:, :10] = 0
        x[np.arange(5), np.arange(5)] = 1

    adata = counts_of(easy, change)
    fit = ldvae.fit_ldvae(adata, **QUICK)
    found = answers(fit, adata)
    all_answered(found)
    de = found["differential_expression"].set_index("gene")
    rare = fit.genes[:10].tolist()
    assert de.loc[rare, "lfc_mean"].isna().all() and not de.loc[rare, "is_de"].any()
    assert not set(found["population_loadings"]["gene"]) & set(rare)


def test_constant_genes(easy):
    adata = counts_of(easy, lambda x: x.__setitem__((slice(None), slice(0, 5)), 7))
    all_answered(answers(ldvae.fit_ldvae(adata, **QUICK), adata))


def test_all_cells_equal(easy):
    adata = counts_of(easy, lambda x: np.repeat(x[:1] + 1, len(x), 0))
    fit = ldvae.fit_ldvae(adata, **QUICK)
    found = answers(fit, adata)
    assert not ldvae.get_factors(fit)["active"].any()
    assert found["associate_factors"] == "`fit` has no active factor, so there is nothing to associate."
    all_answered(found, ["associate_factors"])
    assert not found["differential_expression"]["is_de"].any()
    assert not found["population_programs"]["called"].any() and not found["specific"]["called"].any()
    assert fold_changes(found).max() < 0.2


def test_cells_of_extremely_different_depth(easy):
    rng = np.random.default_rng(0)
    depth = np.where(np.arange(240) % 2, 1, 1000)[:, None]
    adata = counts_of(easy, lambda x: np.maximum(rng.poisson(x * depth), np.eye(240, 40)))
    adata.obs["depth"] = np.where(np.arange(240) % 2, "low", "high")
    found = answers(ldvae.fit_ldvae(adata, **QUICK), adata)
    all_answered(found)


def test_two_cells_per_population_are_too_few_for_all_but_the_factors(easy):
    adata = easy.copy()
    adata.obs["population"] = [f"p{i // 2}" for i in range(adata.n_obs)]
    found = answers(ldvae.fit_ldvae(adata, **QUICK), adata)
    assert "populations of 5 cells" in found["population_loadings"]
    assert "at least 30 cells" in found["population_programs"] and "at least 30 cells" in found["specific"]
    assert found["differential_expression"].startswith(
        "There is nothing to compare, only groups with fewer than 3 cells"
    )
    asked = ["population_loadings", "population_programs", "specific", "deviation"]
    all_answered(found, [*asked, "differential_expression", "cells", "differential_contributions"])


def test_a_thousand_populations():
    rng = np.random.default_rng(0)
    adata = ad.AnnData(
        sp.csr_matrix(1 + rng.poisson(1, (5000, 8)).astype(np.float32)),
        obs=pd.DataFrame({"population": [f"p{i % 1000}" for i in range(5000)]}, index=[f"c{i}" for i in range(5000)]),
        var=pd.DataFrame(index=[f"g{j}" for j in range(8)]),
    )
    fit = ldvae.fit_ldvae(adata, **QUICK | {"max_epochs": 2, "batch_size": 512})
    de = ldvae.differential_expression(fit, adata, groupby="population")
    assert de["group1"].nunique() == 1000 and np.isfinite(de["raw_mean1"]).all()
    assert de["is_de"].mean() < 0.01  # there is nothing to find
    loadings = ldvae.population_programs(fit, adata, groupby="population", kind="between")
    assert loadings["population"].nunique() == 1000 and loadings["called"].mean() < 0.01


@pytest.mark.parametrize("n_latent", [1, 40])
def test_one_factor_and_as_many_as_genes(easy, n_latent):
    all_answered(
        answers(ldvae.fit_ldvae(easy, **QUICK | {"n_latent": n_latent}), easy), ["associate_factors"] * (n_latent == 40)
    )


def test_two_genes():
    rng = np.random.default_rng(0)
    adata = ad.AnnData(
        sp.csr_matrix(1 + rng.poisson(3, (100, 2)).astype(np.float32)),
        obs=pd.DataFrame({"population": ["a", "b"] * 50}, index=[f"c{i}" for i in range(100)]),
        var=pd.DataFrame(index=["g0", "g1"]),
    )
    answers(ldvae.fit_ldvae(adata, **QUICK), adata)


@pytest.mark.parametrize("decoder", ["linear", "nonlinear"])
def test_three_cells(easy, decoder):
    adata = easy[:3].copy()
    answers(ldvae.fit_ldvae(adata, decoder=decoder, validation_size=0, **QUICK), adata)


def test_a_batch_in_one_population_only_is_warned_of(easy):
    adata = easy.copy()
    adata.obs["lane"] = np.where(adata.obs["population"] == "P0", "L0", "L1")
    fit = ldvae.fit_ldvae(adata, batch_key="lane", **QUICK)
    with pytest.warns(UserWarning, match=r"^Batches \('lane': .* as observed: P0 against rest, P1 "):
        de = ldvae.differential_expression(fit, adata, groupby="population")
    assert_finite(de, MAY_BE_NAN["differential_expression"])
    for ask in (ldvae.population_loadings, ldvae.population_programs, ldvae.get_program_scores):
        with pytest.warns(UserWarning) as caught:
            ask(fit, adata, groupby="population", kind="between")
        assert len(caught) == 1
        assert "as observed: P0 against the others, P1 against the others." in str(caught[0].message)
        assert caught[0].filename == __file__


def test_batches_that_populations_share_are_no_reason_to_warn(easy):
    fit = ldvae.fit_ldvae(easy, batch_key="batch", **QUICK)
    adata = easy[(easy.obs["population"] == "P0") | (easy.obs["batch"] == "B0")].copy()  # B1 in P0 only, which has B0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ldvae.population_loadings(fit, adata, groupby="population", kind="between")
        ldvae.differential_expression(fit, adata, groupby="population")


def test_the_reference_is_what_counts(easy):
    adata = easy.copy()
    third = np.arange(adata.n_obs) % 3
    adata.obs["group"] = np.array(["a", "b", "c"])[third]
    adata.obs["lane"] = np.array(["L0", "L0", "L1"])[third]  # a and b share, c is alone
    fit = ldvae.fit_ldvae(adata, batch_key="lane", **QUICK)
    with pytest.warns(UserWarning, match="as observed: a against the others, b against the others, c against"):
        ldvae.population_loadings(fit, adata, groupby="group", kind="between")
    with pytest.warns(UserWarning, match="as observed: a against the others, b against the others"):
        ldvae.population_loadings(fit, adata, groupby="group", kind="between", reference=["c"])
