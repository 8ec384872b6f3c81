"""Shrinkage: planted truth, numerical integration, invariances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import norm

from ldvae.stats.shrinkage import _grid, _likelihood, _mixture_weights, _posterior, ash


def draw(seed: int, n: int = 2000, pi0: float = 0.9, shape: str = "normal") -> tuple[np.ndarray, ...]:
    """True effects, estimates and standard errors."""
    rng = np.random.default_rng(seed)
    effects = {
        "normal": rng.normal(0, 0.5, n),
        "heavy": 0.3 * rng.standard_t(3, n),
        "far": rng.choice([-1, 1], n) * rng.uniform(0.4, 1.2, n),
        "positive": rng.gamma(4, 0.15, n),
    }[shape]
    truth = np.where(rng.random(n) < pi0, 0.0, effects)
    std = np.exp(rng.normal(-2, 0.6, n))
    return truth, truth + std * rng.normal(size=n), std


@pytest.mark.parametrize("shape", ["normal", "heavy", "far", "positive"])
def test_calls_are_wrong_as_often_as_the_lfsr_says(shape):
    calls = wrong = expected = 0.0
    for seed in range(10):
        truth, estimate, std = draw(seed, shape=shape)
        shrunk = ash(estimate, std)
        called = shrunk.lfsr < 0.05
        calls += called.sum()
        wrong += (np.sign(shrunk.mean) != np.sign(truth))[called].sum()
        expected += shrunk.lfsr[called].sum()
    assert calls > 400  # 4 % of the entries or more: there is power
    assert wrong / calls <= 0.05
    # Among the calls the mean lfsr is their expected share of errors; three binomial standard errors either way.
    assert abs(wrong - expected) < 3 * np.sqrt(expected) + 5


def test_uncertain_entries_are_wrong_as_often_as_they_say():
    lfsr, wrong = [], []
    for seed in range(20):
        truth, estimate, std = draw(seed, pi0=0.5)
        shrunk = ash(estimate, std)
        lfsr.append(shrunk.lfsr)
        wrong.append(np.sign(estimate) != np.sign(truth))
    lfsr, wrong = np.concatenate(lfsr), np.concatenate(wrong)
    for low, high in [(0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9)]:
        bin_ = (lfsr >= low) & (lfsr < high)
        assert bin_.sum() > 300
        assert abs(wrong[bin_].mean() - lfsr[bin_].mean()) < 0.05


def test_nothing_is_found_where_nothing_is():
    rng = np.random.default_rng(0)
    calls, pi0 = 0, []
    for _ in range(30):
        std = np.exp(rng.normal(-2, 0.6, 2000))
        shrunk = ash(std * rng.normal(size=2000), std)
        calls += (shrunk.lfsr < 0.05).sum()
        pi0.append(shrunk.pi0)
    assert calls <= 3  # of 60,000
    assert np.mean(pi0) > 0.95


def test_pi0_and_posterior_means_approach_the_truth():
    truth, estimate, std = draw(0, n=20000, pi0=0.6)
    shrunk = ash(estimate, std)
    assert shrunk.pi0 == pytest.approx(0.6, abs=0.05)
    oracle_prior = 0.6 * norm.pdf(estimate, 0, std), 0.4 * norm.pdf(estimate, 0, np.hypot(std, 0.5))
    oracle = oracle_prior[1] / sum(oracle_prior) * estimate * 0.25 / (0.25 + std**2)
    error, best = np.mean((shrunk.mean - truth) ** 2), np.mean((oracle - truth) ** 2)
    assert (
        error < 1.01 * best < 0.5 * np.mean(std**2)
    )  # as good as knowing the prior, and far better than not shrinking


@pytest.mark.parametrize(("b", "se"), [(0.3, 0.2), (-0.7, 0.15), (0.01, 0.5), (2.5, 0.4)])
def test_posterior_is_the_integral(b, se):
    grid, weights = np.array([0.0, 0.2, 0.9]), np.array([0.5, 0.3, 0.2])
    b_, se_ = np.array([b]), np.array([se])
    mean, std, lfsr, lfdr = _posterior(b_, se_, grid, _likelihood(b_, se_, grid) * weights)

    def density(x: float) -> float:
        return norm.pdf(b, x, se) * sum(w * norm.pdf(x, 0, g) for w, g in zip(weights[1:], grid[1:], strict=True))

    def integral(f, low=-8.0, high=8.0):
        return quad(f, low, high, points=[p for p in (0.0, b) if low < p < high], limit=200, epsabs=1e-12)[0]

    zero = weights[0] * norm.pdf(b, 0, se)
    total = zero + integral(density)
    expected_mean = integral(lambda x: x * density(x)) / total
    expected_square = integral(lambda x: x * x * density(x)) / total
    negative, positive = integral(density, -8.0, 0.0) / total, integral(density, 0.0, 8.0) / total
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(expected_square - expected_mean**2), rtol=1e-6)
    np.testing.assert_allclose(lfdr, zero / total, rtol=1e-6)
    np.testing.assert_allclose(lfsr, zero / total + min(negative, positive), rtol=1e-6)


def test_probabilities_and_quantiles_are_those_of_the_posterior():
    _, estimate, std = draw(2, n=400, pi0=0.5)
    estimate[3] = np.nan
    shrunk = ash(estimate, std)
    values = (-0.2, 0.0, 0.2)
    below = [shrunk.below(value) for value in values]
    lower, upper = shrunk.quantiles(0.1, 0.9)
    assert np.isnan([below[0][3], lower[3], upper[3]]).all()
    components = list(zip(shrunk.prior_weight[1:], shrunk.prior_std[1:], strict=True))
    for i in (0, 1, 2, int(np.nanargmax(estimate)), int(np.nanargmin(estimate))):
        x = np.linspace(-6, 6, 400_001)
        prior = sum(w * norm.pdf(x, 0, g) for w, g in components)
        density = prior * norm.pdf(estimate[i], x, std[i]) * (x[1] - x[0])
        zero = shrunk.prior_weight[0] * norm.pdf(estimate[i], 0, std[i])
        total = density.sum() + zero
        for value, probability in zip(values, below, strict=True):
            expected = (density[x < value].sum() + zero * (value > 0)) / total
            assert probability[i] == pytest.approx(expected, abs=1e-4)
        cumulative = (np.cumsum(density) + zero * (x >= 0)) / total
        assert lower[i] == pytest.approx(x[np.argmax(cumulative >= 0.1)], abs=1e-3)
        assert upper[i] == pytest.approx(x[np.argmax(cumulative >= 0.9)], abs=1e-3)


def test_mixture_weights_maximise_the_penalised_likelihood():
    _, b, se = draw(3, n=300, pi0=0.7)
    likelihood = _likelihood(b, se, _grid(b, se)[::4])
    weights = _mixture_weights(likelihood, 10.0, 100)

    def loss(logits: np.ndarray) -> float:
        x = np.exp(logits - logits.max())
        x /= x.sum()
        return -np.log(likelihood @ x).sum() - 9.0 * np.log(x[0])

    best = min(minimize(loss, start, method="BFGS", tol=1e-9).fun for start in np.eye(len(weights))[:3])
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    assert -np.log(likelihood @ weights).sum() - 9.0 * np.log(weights[0]) <= best + 1e-4


def test_mixture_weights_meet_the_optimality_conditions_on_many_entries():
    for pi0 in (0.0, 0.3, 0.9, 1.0):
        _, b, se = draw(1, n=5000, pi0=pi0)
        likelihood = _likelihood(b, se, _grid(b, se))
        weights = _mixture_weights(likelihood, 10.0, 100)
        score = (likelihood / (likelihood @ weights)[:, None]).sum(0)
        score[0] += 9.0 / weights[0]
        assert score.max() / 5009 < 1 + 1e-6


def test_sign_and_scale_do_not_matter():
    _, estimate, std = draw(5)
    shrunk, flipped, scaled = ash(estimate, std), ash(-estimate, std), ash(1000 * estimate, 1000 * std)
    np.testing.assert_allclose(flipped.mean, -shrunk.mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(flipped.lfsr, shrunk.lfsr, rtol=1e-9)
    np.testing.assert_allclose(scaled.mean, 1000 * shrunk.mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scaled.std, 1000 * shrunk.std, rtol=1e-4)
    np.testing.assert_allclose(scaled.lfsr, shrunk.lfsr, rtol=1e-3, atol=1e-9)


def test_entries_that_were_not_measured_take_no_part():
    _, estimate, std = draw(6, n=500)
    clean = ash(estimate, std)
    bad_estimate = np.concatenate([estimate, [np.nan, np.inf, 3.0, 3.0, 3.0, 3.0]])
    bad_std = np.concatenate([std, [0.1, 0.1, 0.0, -1.0, np.inf, np.nan]])
    shrunk = ash(bad_estimate, bad_std)
    np.testing.assert_array_equal(shrunk.mean[:500], clean.mean)
    assert shrunk.pi0 == clean.pi0
    assert (shrunk.mean[500:] == 0).all()
    assert np.isnan(shrunk.std[500:]).all()
    assert (shrunk.lfsr[500:] == 1).all() and (shrunk.lfdr[500:] == 1).all()
    nothing = ash(np.full(3, np.nan), np.ones(3))
    assert nothing.pi0 == 1 and (nothing.lfsr == 1).all()
    assert ash(np.zeros(0), np.zeros(0)).mean.shape == (0,)


def test_shape_is_kept_and_lfsr_is_a_probability():
    _, estimate, std = draw(7, n=600)
    shrunk = ash(estimate.reshape(20, 30), std.reshape(20, 30))
    assert shrunk.mean.shape == shrunk.lfsr.shape == (20, 30)
    assert (shrunk.lfdr <= shrunk.lfsr).all() and (shrunk.lfsr <= 1).all() and (shrunk.lfdr >= 0).all()
    assert (np.abs(shrunk.mean) <= np.abs(estimate.reshape(20, 30))).all()
    np.testing.assert_allclose(shrunk.mean.ravel(), ash(estimate, std).mean)


def test_extreme_estimates_stay_finite():
    shrunk = ash(np.array([1e6, 0.0, 0.1, -0.1]), np.array([1e-3, 1.0, 0.1, 0.1]))
    assert np.isfinite(shrunk.mean).all() and shrunk.mean[0] == pytest.approx(1e6)
    assert shrunk.lfsr[0] < 1e-10
    assert ash(np.zeros(10), np.ones(10)).mean.tolist() == [0.0] * 10


def test_null_penalty_makes_it_more_cautious_and_is_checked():
    _, estimate, std = draw(8, n=100)
    assert ash(estimate, std, null_penalty=50).pi0 > ash(estimate, std, null_penalty=1).pi0
    with pytest.raises(ValueError, match=r"`null_penalty` must be a number at least 1, not 0\.5"):
        ash(estimate, std, null_penalty=0.5)
