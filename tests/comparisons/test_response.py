"""Responses that differ between populations: planted in one, absent everywhere, and samples that lack a population."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import differential_response
from planted import fitted, simulate_groups

ASK = dict(groupby="treatment", group1="treated", group2="control", within="population", sample_key="donor")


def study(seed, own, paired=False):
    """Eight donors (or four, each treated and not), three populations; P0 answers by `own` beyond the others."""
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(24), 50)  # of sample and population
    sample, population, n_donors = row % 8, row // 8, 4 if paired else 8
    treated, donor = sample % 2, sample // 2 if paired else sample
    shift = (0.15 * rng.normal(size=(n_donors, 400)))[donor] + 0.1 * rng.normal(size=(24, 400))[row]
    shift[:, :30] += 1.0 * treated[:, None]
    shift[:, 30:60] += own * (treated * (population == 0))[:, None]
    adata, _ = simulate_groups(seed, np.zeros(len(row), dtype=int), library=1500, own=shift)
    adata.obs["donor"] = [f"d{d}" for d in donor]
    adata.obs["treatment"] = np.where(treated, "treated", "control")
    adata.obs["population"] = [f"P{p}" for p in population]
    return adata


@pytest.mark.parametrize("paired", [False, True])
def test_genes_that_answer_in_one_population_are_found_there(paired):
    adata = study(1, 1.5, paired)
    found = differential_response(fitted(adata), adata, **ASK)
    first = found[found["within"] == "P0"].reset_index(drop=True)
    assert first["is_de"][30:60].sum() >= 20 and first["is_de"].drop(range(30, 60)).sum() <= 2
    np.testing.assert_allclose(np.median(first["lfc_mean"][30:60]), 1.5 / np.log(2), rtol=0.25)
    common = first["response"][:30] - first["response"][100:].median()
    assert np.median(common) == pytest.approx(1.0 / np.log(2), rel=0.25)  # which all populations share
    assert np.median(first["response"] - first["reference_response"]) == pytest.approx(
        first["lfc_mean"].median(), abs=0.1
    )
    assert (first["paired"] == (4 if paired else 0)).all()
    only = differential_response(fitted(adata), adata, reference=["P1"], **ASK)
    assert only.loc[only["within"] == "P0", "is_de"][30:60].sum() >= 15
    assert not only.loc[only["within"] == "P2", "is_de"].any()


def test_where_all_populations_answer_alike_nothing_is_called():
    pvalues, calls = [], 0
    for seed in (2, 3, 4):
        adata = study(seed, 0.0)
        found = differential_response(fitted(adata), adata, delta=0, **ASK)
        pvalues.append(found["pval"].dropna())
        calls += int(found["is_de"].sum())
    assert calls <= 3
    assert np.mean(np.concatenate(pvalues) < 0.05) < 0.07


def test_samples_without_a_population_take_part_in_the_others():
    adata = study(5, 1.5)
    adata = adata[~((adata.obs["donor"] == "d0") & (adata.obs["population"] == "P1"))].copy()
    found = differential_response(fitted(adata), adata, **ASK)
    assert set(found.loc[found["within"] == "P0", "n_samples2"]) == {4}
    assert set(found.loc[found["within"] == "P1", "n_samples2"]) == {3}
    assert found.loc[found["within"] == "P0", "is_de"][30:60].sum() >= 15


def test_what_is_wrong_is_said():
    adata = study(6, 0.0)
    fit = fitted(adata)
    with pytest.raises(ValueError, match=r"`reference` must name levels of 'population' .*, not 'P9'"):
        differential_response(fit, adata, reference=["P9"], **ASK)
    one = adata[adata.obs["population"] == "P0"].copy()
    with pytest.raises(ValueError, match="no sample of 'P0' has cells of another population"):
        differential_response(fit, one, **ASK)
