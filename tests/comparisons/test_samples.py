"""Samples as rows of a model: covariates, slopes, pairs, and what is said of them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from ldvae import associate_factors, differential_expression, population_loadings
from ldvae.comparisons.samples import Adjust, read_adjust
from ldvae.counts.labels import read_labels
from ldvae.stats.replicates import NotEnough
from planted import fitted, simulate_groups

N_DONORS = 12


@pytest.fixture(scope="module")
def donors():
    """Twelve donors of sixty cells; sex, age and treatment move genes of their own, age by 0.5 per ten years."""
    rng = np.random.default_rng(0)
    donor = np.repeat(np.arange(N_DONORS), 60)
    treated, female = np.arange(N_DONORS) % 2, np.arange(N_DONORS) // 2 % 2
    age = np.array([23, 31, 35, 40, 44, 47, 52, 55, 58, 63, 70, 78], float)[rng.permutation(N_DONORS)]
    shift = 0.1 * rng.normal(size=(N_DONORS, 400))
    shift[:, :20] += 1.2 * treated[:, None]
    shift[:, 20:50] += 1.5 * female[:, None]
    shift[:, 50:70] += 0.05 * (age[:, None] - 50)
    adata, _ = simulate_groups(3, np.zeros(len(donor), dtype=int), library=1500, own=shift[donor])
    adata.obs["donor"] = [f"d{i}" for i in donor]
    adata.obs["treatment"] = np.where(treated[donor], "treated", "control")
    adata.obs["sex"], adata.obs["age"] = np.where(female[donor], "f", "m"), age[donor]
    adata.obs["plate"] = donor % 3
    return fitted(adata), adata


def ask(donors, **arguments):
    fit, adata = donors
    return differential_expression(
        fit, adata, groupby="treatment", group1="treated", group2="control", sample_key="donor", **arguments
    )


def test_covariates_lower_the_error_of_the_genes_that_they_move(donors):
    alone, adjusted = ask(donors), ask(donors, adjust=["sex", "age"])
    sex_genes = slice(20, 50)
    assert np.median(adjusted["lfc_std"][sex_genes]) < 0.75 * np.median(alone["lfc_std"][sex_genes])
    assert adjusted["is_de"][:20].sum() >= 15 and adjusted["is_de"][20:].sum() <= 2
    assert (adjusted["n_samples1"] == 6).all() and (adjusted["paired"] == 0).all()
    one = ask(donors, adjust="sex")
    assert not one["lfc_mean"].equals(alone["lfc_mean"])
    fit, adata = donors
    with_sex = associate_factors(fit, adata, key="treatment", sample_key="donor", adjust=["sex"])
    assert not with_sex["pval"].equals(associate_factors(fit, adata, key="treatment", sample_key="donor")["pval"])


def test_a_number_that_belongs_to_donors_has_a_slope_per_unit(donors):
    fit, adata = donors
    found = differential_expression(fit, adata, groupby="age", sample_key="donor", delta=0.01)
    assert set(found["group1"]) == {"age"} and set(found["group2"]) == {"per unit"}
    assert found["is_de"][50:70].sum() >= 15 and found["is_de"].drop(range(50, 70)).sum() <= 2
    assert np.median(found["lfc_mean"][50:70]) == pytest.approx(0.05 / np.log(2), rel=0.2)
    assert (found["n_samples1"] == N_DONORS).all() and (found["n_samples2"] == 0).all()
    up = found["mean1"][50:70] / found["mean2"][50:70]
    np.testing.assert_array_less(4, np.median(up))  # at 78 against 23 years
    whole = adata.copy()
    whole.obs["age"] = adata.obs["age"].astype(int)
    again = differential_expression(fit, whole, groupby="age", sample_key="donor", delta=0.01)
    np.testing.assert_allclose(again["lfc_mean"], found["lfc_mean"])
    with pytest.raises(ValueError, match="`groupby`: 'age' holds numbers; their slope needs `sample_key`"):
        half = adata.copy()
        half.obs["age"] += 0.5
        differential_expression(fit, half, groupby="age")


def test_whole_numbers_that_name_something_are_categories(donors):
    fit, adata = donors
    with pytest.warns(UserWarning, match="`adjust`: the 3 whole numbers in 'plate' are taken as categories"):
        found = read_adjust(adata, "plate", read_labels(adata, "donor", "sample_key"))
    assert found.category.tolist() == [True]
    assert found.of(np.arange(N_DONORS)).shape == (N_DONORS, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_adjust(adata, ["age"], read_labels(adata, "donor", "sample_key")).category.tolist() == [False]
    clusters = differential_expression(fit, adata, groupby="plate", group1="0", sample_key="donor")
    assert set(clusters["group2"]) == {"rest"}


def test_what_cannot_be_adjusted_for_is_refused(donors):
    fit, adata = donors
    with pytest.raises(ValueError, match="`adjust` needs `sample_key`"):
        differential_expression(fit, adata, groupby="treatment", adjust=["sex"])
    with pytest.raises(ValueError, match="'depth' must be the same in all cells of a sample, and 'd0' has"):
        cells = adata.copy()
        cells.obs["depth"] = np.random.default_rng(0).normal(size=cells.n_obs)
        differential_expression(fit, cells, groupby="treatment", sample_key="donor", adjust=["depth"])
    with pytest.raises(ValueError, match="differ in `adjust` as they do in what is compared"):
        cells.obs["arm"] = cells.obs["treatment"]
        differential_expression(fit, cells, groupby="treatment", sample_key="donor", adjust=["arm"])
    with pytest.raises(ValueError, match="differ in `adjust` as they do in what is compared"):
        associate_factors(fit, cells, key="treatment", sample_key="donor", adjust=["arm"])
    with pytest.raises(ValueError, match="`adjust` and `sample_key` must be different"):
        differential_expression(fit, cells, groupby="treatment", sample_key="donor", adjust=["donor"])
    with pytest.raises(ValueError, match="`adjust` needs kind='between'"):
        population_loadings(fit, cells, groupby="treatment", kind="within", sample_key="donor", adjust=["sex"])
    missing = Adjust(["age"], np.array([[1.0], [np.nan]]), np.array([False]))
    with pytest.raises(NotEnough, match="a sample has no value of 'age'"):
        missing.of(np.array([0, 1]))


def test_few_pairs_are_said_and_many_features_keep_them(donors):
    fit, adata = donors
    cells = adata[np.isin(adata.obs["donor"], ["d0", "d1"])].copy()
    cells.obs["half"] = np.random.default_rng(0).choice(["a", "b"], cells.n_obs)
    found = differential_expression(fit, cells, groupby="half", group1="a", group2="b", sample_key="donor")
    assert (found["paired"] == 2).all() and found["pval"].notna().any() and not found["is_de"].any()


def test_genes_that_the_fit_does_not_model_are_compared_too(donors):
    _, adata = donors
    cells = adata.copy()
    cells.var["some"] = np.arange(400) >= 10  # the first ten genes that the treatment moves are not in the fit
    fit = fitted(cells, genes="some")
    asked = dict(groupby="treatment", group1="treated", group2="control")
    every = differential_expression(fit, cells, **asked)
    assert every["gene"].tolist() == [*cells.var_names[10:], *cells.var_names[:10]]
    whole = differential_expression(fitted(cells), cells, **asked).set_index("gene").loc[every["gene"]]
    np.testing.assert_allclose(every["raw_mean1"], whole["raw_mean1"], rtol=1e-5)
    assert np.abs(every["lfc_mean"][-10:].to_numpy() - whole["lfc_mean"][-10:].to_numpy()).max() < 0.15
    assert every["is_de"][-10:].all()
    assert np.median(every["lfc_std"][-10:].to_numpy() / whole["lfc_std"][-10:].to_numpy()) == pytest.approx(1, abs=0.3)
    assert differential_expression(fit, cells, genes="fit", **asked)["gene"].tolist() == list(cells.var_names[10:])
    assert (differential_expression(fit, cells, sample_key="donor", **asked)["is_de"][-10:]).sum() >= 8
    between = population_loadings(fit, cells, groupby="treatment", kind="between")
    treated = between[between["population"] == "treated"].set_index("gene")
    assert (treated["loading"].loc[list(cells.var_names[:10])] > 0.4).all()
