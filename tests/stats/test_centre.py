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
    assert centre(estimate, std) == weighted_median(estimate, 1 / (std**2 + 0.02**2))


def test_a_few_deeply_counted_genes_do_not_set_the_centre():
    effects, std = np.repeat([0.0, 1.0], [97, 3]), np.repeat([0.1, 1e-4], [97, 3])
    assert weighted_median(effects, 1 / std**2) == 1.0
    assert centre(effects, std) == 0.0
