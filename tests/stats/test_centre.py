"""The centre of many effects, most of which are none."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae.stats.centre import centre, weighted_median


def test_weighted_median_is_the_median_of_repeated_values():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 10, 11):
        values, weights = rng.normal(size=n), rng.integers(1, 6, n)
        expected = np.median(np.repeat(values, weights))
        assert weighted_median(values, weights) == pytest.approx(expected)
        assert weighted_median(-values, weights) == pytest.approx(-expected)
        assert weighted_median(values, 0.1 * weights) == pytest.approx(expected)


def test_weighted_median_sees_an_even_split_in_spite_of_rounding():
    assert np.cumsum(np.full(10, 0.1))[-1] < 1.0
    assert weighted_median(np.arange(10.0), np.full(10, 0.1)) == 4.5


def test_weighted_median_works_on_rows_and_leaves_out_what_has_no_weight():
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=(5, 4, 9)), rng.random((5, 4, 9))
    rows = weighted_median(values, weights)
    assert rows.shape == (5, 4)
    assert rows[2, 3] == weighted_median(values[2, 3], weights[2, 3])
    assert weighted_median([1.0, 2.0, 3.0, np.nan, 9.0, 9.0, np.inf], [1, 1, 1, 5, 0, np.nan, 7]) == 2.0
    assert np.isnan(weighted_median([np.nan, 1.0], [1.0, 0.0]))
    assert np.isnan(weighted_median(np.zeros(0), np.zeros(0)))


def test_weighted_median_ignores_a_few_large_effects():
    rng = np.random.default_rng(9)
    truth = np.where(rng.random(2000) < 0.8, 0.0, rng.gamma(4, 0.15, 2000))
    std = np.exp(rng.normal(-2, 0.6, 2000))
    estimate = truth + std * rng.normal(size=2000)
    assert abs(weighted_median(estimate, 1 / std**2)) < 0.05 < truth.mean()
    assert abs(centre(estimate, std)) < 0.02


def test_a_few_deeply_counted_genes_do_not_set_the_centre():
    effects, std = np.repeat([0.0, 1.0], [97, 3]), np.repeat([0.1, 1e-4], [97, 3])
    assert weighted_median(effects, 1 / std**2) == 1.0
    assert abs(centre(effects, std)) < 1e-9


@pytest.mark.parametrize("side", [1, -1])
def test_the_centre_is_where_most_are_though_two_fifths_go_one_way(side):
    """A median is drawn along; the centre is that of the unchanged."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        std = rng.uniform(0.02, 0.1, 1000)
        truth = side * np.where(rng.random(1000) < 0.4, rng.gamma(4.0, 0.2, 1000), 0.0)
        effects = 0.3 + truth + std * rng.normal(size=1000)
        assert centre(effects, std) == pytest.approx(0.3, abs=0.02)
        for drawn in (np.median(effects), weighted_median(effects, 1 / std**2)):
            assert side * (drawn - 0.3) > max(0.02, 2 * side * (centre(effects, std) - 0.3))


def test_the_centre_moves_and_turns_with_the_effects():
    rng = np.random.default_rng(1)
    std = rng.uniform(0.05, 0.3, 400)
    effects = np.where(rng.random(400) < 0.3, 1.0, 0.0) + std * rng.normal(size=400)
    found = centre(effects, std)
    assert centre(-effects, std) == pytest.approx(-found, abs=1e-6)
    assert centre(effects + 2.5, std) == pytest.approx(found + 2.5, abs=1e-6)
    order = rng.permutation(400)
    assert centre(effects[order], std[order]) == pytest.approx(found, abs=1e-9)


def test_without_changes_the_centre_is_about_the_mean_by_precision():
    errors, best = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        std = rng.uniform(0.05, 0.3, 200)
        effects = std * rng.normal(size=200)
        errors.append(centre(effects, std))
        best.append(np.average(effects, weights=1 / std**2))
    assert np.std(errors) < 1.25 * np.std(best)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / 60**0.5


def test_what_is_not_known_does_not_count():
    effects, std = np.array([0.1, 0.1, 0.1, 5.0, 5.0, 5.0, 5.0]), np.array([0.1, 0.1, 0.1, np.nan, 0.0, -1.0, np.inf])
    assert centre(effects, std) == pytest.approx(0.1)
    assert centre(np.r_[effects[:3], [np.nan] * 4], np.full(7, 0.1)) == pytest.approx(0.1)
    assert (
        centre(np.full(3, np.nan), np.ones(3))
        == centre(np.ones(3), np.zeros(3))
        == centre(np.zeros(0), np.zeros(0))
        == 0.0
    )


def test_one_effect_is_its_own_centre():
    assert centre(np.array([0.7]), np.array([0.1])) == pytest.approx(0.7)
    assert -1 <= centre(np.array([-1.0, 1.0]), np.array([1e-3, 1e-3])) <= 1
