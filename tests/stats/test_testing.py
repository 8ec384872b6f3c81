"""From p-values and probabilities to calls: against statsmodels, brute force and the tests themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as t_distribution
from statsmodels.stats.multitest import multipletests

from ldvae.stats.testing import bh, normal_equivalent, posterior_fdr


@pytest.mark.parametrize("n", [1, 2, 50])
def test_bh_agrees_with_statsmodels(n):
    p = np.random.default_rng(n).random(n) ** 3
    np.testing.assert_allclose(bh(p), multipletests(p, method="fdr_bh")[1])


def test_bh_ignores_missing_ones_and_keeps_ties():
    p = np.array([0.01, np.nan, 0.01, 0.5, 0.03, np.nan])
    expected = multipletests(p[np.isfinite(p)], method="fdr_bh")[1]
    np.testing.assert_allclose(bh(p)[np.isfinite(p)], expected)
    assert np.isnan(bh(p)[[1, 5]]).all()
    assert bh(p)[0] == bh(p)[2]
    assert bh(np.zeros(0)).shape == (0,)
    assert np.isnan(bh(np.full(2, np.nan))).all()


def brute_force_calls(probability: np.ndarray, target: float) -> np.ndarray:
    """The largest set {p >= threshold} whose mean of 1 - p is within the target."""
    best = np.zeros(probability.shape, dtype=bool)
    for threshold in probability[np.isfinite(probability)]:
        called = probability >= threshold
        if np.mean(1 - probability[called]) <= target + 1e-12 and called.sum() > best.sum():
            best = called
    return best


def test_posterior_fdr_calls_as_many_as_allowed():
    rng = np.random.default_rng(0)
    for target in (0.0, 0.01, 0.05, 0.2, 1.0):
        p = np.round(rng.beta(2, 0.3, 200), 2)  # with ties
        p[::17] = np.nan
        np.testing.assert_array_equal(posterior_fdr(p, target), brute_force_calls(p, target))


def test_posterior_fdr_keeps_its_promise_when_the_probabilities_are_right():
    rng = np.random.default_rng(1)
    p = rng.beta(0.5, 0.5, 100_000)
    right = rng.random(p.size) < p
    assert (~right)[posterior_fdr(p, 0.05)].mean() == pytest.approx(0.05, abs=0.005)


def test_posterior_fdr_treats_ties_alike_in_any_order():
    p = np.array([0.99, 0.9, 0.9, 0.9, 0.9, 0.2])
    called = posterior_fdr(p, 0.06)  # two of the four would fit
    assert called.tolist() == [True, False, False, False, False, False]
    assert posterior_fdr(np.full(7, 0.95), 0.05).all()
    assert not posterior_fdr(np.full(3, np.nan), 0.05).any()
    assert posterior_fdr(np.zeros(0), 0.05).shape == (0,)
    with pytest.raises(ValueError, match="`target` must be a number at least 0 and at most 1, not 5"):
        posterior_fdr(p, 5)


def test_normal_equivalent_has_the_p_value_of_the_t_test():
    std, t, df = np.array([0.2, 0.5, 0.1, 0.3]), np.array([2.0, -3.0, 0.0, 1e-5]), np.array([3.0, 8.0, 4.0, 2.0])
    equal = normal_equivalent(std, t, df)
    np.testing.assert_allclose(norm.sf(np.abs(t * std / equal)), t_distribution.sf(np.abs(t), df), rtol=1e-6)
    assert np.all(equal > std)
