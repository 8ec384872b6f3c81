"""What batches add to a gene is told from the groups, taken out where it can be told, and said where it cannot."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

import ldvae
from ldvae import associate_factors, differential_contributions, differential_expression, population_loadings
from ldvae.comparisons.batches import BatchEffects, apart, linked, split_units, warn_populations_apart
from ldvae.counts.labels import Labels
from planted import fitted, simulate_groups

GROUP, BATCH = np.repeat([0, 1, 2], 2), np.tile([0, 1], 3)


def units(rng, truth, variance=0.02, shift=0.0):
    """Log means of three groups in two batches each."""
    level = rng.normal(0, 1, (3, truth.shape[1]))
    y = level[GROUP] + truth[BATCH] + shift + np.sqrt(variance) * rng.normal(size=(6, truth.shape[1]))
    return y, np.full_like(y, 1 / variance), level


def test_effects_are_found_with_their_errors():
    rng = np.random.default_rng(0)
    truth = np.where(rng.random(2000) < 0.3, rng.normal(0, 0.6, (2, 2000)), 0.02 * rng.normal(size=(2, 2000)))
    y, precision, _ = units(rng, truth)
    effects = BatchEffects(y, precision, GROUP, BATCH, np.array([0.5, 0.5]))
    difference = np.tile([[0.7], [-0.7]], 2000)
    error = (difference * (effects.effect - truth)).sum(0) / np.sqrt(effects.variance(difference))
    assert np.mean(np.abs(error) < 1.96) == pytest.approx(0.95, abs=0.02)
    assert np.abs(effects.effect.sum(0)).max() < 1e-10  # centred
    flat = (0.5 * (y[1::2] - y[::2]).mean(0) - 0.5 * np.diff(truth, axis=0)[0]) * 1.4
    shrunk = (difference * (effects.effect - truth)).sum(0)
    assert np.std(shrunk) < 0.85 * np.std(flat)  # most genes differ little, and lend that to each other
    large = np.abs(np.diff(truth, axis=0)[0]) > 1
    slope = stats.linregress(np.diff(truth[:, large], axis=0)[0], np.diff(effects.effect[:, large], axis=0)[0]).slope
    assert slope == pytest.approx(1, abs=0.03)  # and large effects are not drawn to zero


def test_what_moves_all_genes_of_a_unit_is_no_effect_of_batches():
    rng = np.random.default_rng(1)
    truth = 0.3 * rng.normal(size=(2, 1000))
    shift = rng.normal(0, 0.3, (6, 1))
    y, precision, _ = units(rng, truth, shift=shift)
    effects = BatchEffects(y, precision, GROUP, BATCH, np.array([0.5, 0.5]))
    found, wanted = (np.diff(e, axis=0)[0] for e in (effects.effect, truth))
    assert np.std(found - wanted - np.median(found - wanted)) < 0.12


def test_genes_that_nobody_counted_have_no_effect():
    rng = np.random.default_rng(2)
    y, precision, _ = units(rng, 0.3 * rng.normal(size=(2, 200)))
    precision[:, 0] = 0.0
    effects = BatchEffects(y, precision, GROUP, BATCH, np.array([0.5, 0.5]))
    assert np.abs(effects.effect[:, 0]).max() == 0.0


def test_nothing_is_taken_out_between_batches_that_no_group_links():
    rng = np.random.default_rng(3)
    group, batch = np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3])
    assert linked(group, batch, 4).tolist() == [0, 0, 1, 1]
    truth = rng.normal(0, 0.5, (4, 500))
    y = truth[batch] + 2.0 * group[:, None] + 0.1 * rng.normal(size=(4, 500))
    effects = BatchEffects(y, np.full_like(y, 100.0), group, batch, np.full(4, 0.25))
    assert np.abs(effects.effect[:2].sum(0)).max() < 1e-10 and np.abs(effects.effect[2:].sum(0)).max() < 1e-10
    between = np.repeat([[0.5], [0.5], [-0.5], [-0.5]], 500, axis=1)
    assert effects.variance(between).max() < 1e-10
    within = np.repeat([[1.0], [-1.0], [0.0], [0.0]], 500, axis=1)
    assert np.corrcoef((within * effects.effect).sum(0), truth[0] - truth[1])[0, 1] > 0.9


def test_groups_are_apart_where_a_share_of_their_cells_is_in_sets_of_their_own():
    sets = np.array([0, 0, 1, 1])
    assert apart(np.array([50, 50, 0, 0]), np.array([0, 0, 10, 90]), sets)
    assert not apart(np.array([100, 0, 0, 0]), np.array([0, 100, 0, 0]), sets)
    assert not apart(np.array([50, 0, 50, 0]), np.array([0, 51, 0, 49]), sets)


def test_units_are_split_by_batch():
    new, unit, part = split_units(np.array([0, 0, 1, -1, 1]), np.array([0, 1, 1, 0, 1]))
    assert new.tolist() == [0, 1, 2, -1, 2] and unit.tolist() == [0, 0, 1] and part.tolist() == [0, 1, 1]


def test_populations_apart_are_named():
    labels = Labels("type", ["A", "B", "C"], np.repeat([0, 1, 2, -1], 10))
    batch = Labels("batch", ["x", "y"], np.repeat([0, 0, 1, 1], 10))
    with pytest.warns(UserWarning, match="C against the others"):
        warn_populations_apart(labels, ["A", "B", "C"], None, batch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_populations_apart(labels, ["A"], ["B"], batch)
        warn_populations_apart(labels, ["A", "B", "C"], None, None)


def test_batches_are_taken_out_where_groups_have_unequal_shares_of_them():
    rng = np.random.default_rng(5)
    side = rng.choice(["x", "y"], 900)
    batch = (rng.random(900) < np.where(side == "x", 0.8, 0.2)).astype(int)
    adata, _ = simulate_groups(5, np.zeros(900, dtype=int), batch=batch)
    adata.obs["side"] = side
    fit = fitted(adata, batch_key="batch")
    for asked in (dict(groupby="side", group1="x"), dict(cells1=side == "x")):
        table = differential_expression(fit, adata, **asked)
        assert table["is_de"].sum() == 0 and (table["lfsr"] < 0.05).sum() <= 2
        assert differential_expression(fit, adata, batch_correction=False, **asked)["is_de"].sum() > 10
    between = population_loadings(fit, adata, groupby="side", kind="between")
    assert (between["lfsr"] < 0.05).sum() <= 2


def test_a_group_with_one_cell_in_a_batch_is_compared_like_without_it(fit, simulated):
    rows = np.flatnonzero(~((simulated.obs["population"] == "P0") & (simulated.obs["batch"] == "B1")))
    one = np.flatnonzero((simulated.obs["population"] == "P0") & (simulated.obs["batch"] == "B1"))[:1]
    groups = dict(groupby="population", group1="P0", group2="P1")
    without = differential_expression(fit, simulated[rows].copy(), **groups)
    found = differential_expression(fit, simulated[np.r_[rows, one]].copy(), **groups)
    tested = without["lfc_mean"].notna()
    assert found["lfc_mean"][tested].notna().all()
    assert (found["lfc_mean"] - without["lfc_mean"])[tested].abs().max() < 0.4


@pytest.fixture(scope="module")
def nested():
    """A treatment that moves forty genes; every sample is its own batch, or the treatment is."""
    adata = ldvae.simulate_counts(
        n_cells=900,
        n_genes=200,
        n_populations=2,
        n_samples=4,
        n_batches=1,
        treatment_effect=1.0,
        sample_std=0.1,
        seed=4,
    )
    return adata, {key: fitted(adata, batch_key=key) for key in ("sample", "treatment")} | {None: fitted(adata)}


@pytest.mark.parametrize("key", ["sample", "treatment"])
def test_batches_that_groups_do_not_share_erase_nothing(nested, key):
    adata, fits = nested
    asked = dict(groupby="treatment", group1="treated", group2="control")
    alone = differential_expression(fits[None], adata, **asked)
    said = f"Batches \\('{key}': .*\\) cannot be told from the groups.* as observed: treated against control"
    with pytest.warns(UserWarning, match=said):
        found = differential_expression(fits[key], adata, **asked)
    large = alone["is_de"] & (alone["lfc_mean"].abs() > 0.7)
    assert large.sum() > 15
    assert stats.linregress(alone["lfc_mean"][large], found["lfc_mean"][large]).slope == pytest.approx(1, abs=0.1)
    with pytest.warns(UserWarning, match="cannot be told"):
        parts = differential_contributions(fits[key], adata, **asked)
    whole = parts.groupby("gene", sort=False)["contribution"].sum().to_numpy()
    assert stats.linregress(alone["lfc_mean"][large], whole[large]).slope == pytest.approx(1, abs=0.25)
    with pytest.warns(UserWarning, match="cannot be told"):
        factors = associate_factors(fits[key], adata, key="treatment")
    assert factors["auc"].sub(0.5).abs().max() > 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        observed = differential_expression(fits[key], adata, batch_correction=False, **asked)
    np.testing.assert_allclose(observed["raw_mean1"], found["raw_mean1"])


def test_samples_as_replicates_need_no_word_on_batches_that_are_samples(nested):
    adata, fits = nested
    asked = dict(groupby="treatment", group1="treated", group2="control", sample_key="sample")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = differential_expression(fits["sample"], adata, **asked)
    assert found["is_de"].sum() > 5
    with pytest.warns(UserWarning, match="cannot be told"):
        differential_expression(fits["treatment"], adata, **asked)
