"""When programs are one and what is borrowed: Monte Carlo with slopes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae.programs.agreement import agreement, borrow, pool, signal


def truths(rng, r, n=1000):
    """Two sets of slopes of the same fifth of the genes, with correlation r there."""
    both = rng.normal(size=(n, 2)) @ np.array([[1.0, r], [0.0, np.sqrt(1 - r**2)]])
    return 0.5 * np.where(rng.random((n, 1)) < 0.2, both, 0.0).T


def measured(rng, slopes, least=0.1, most=0.4):
    std = rng.uniform(least, most, len(slopes))
    return slopes + std * rng.normal(size=len(slopes)), std**2


@pytest.mark.parametrize(("r", "tolerance"), [(1.0, 0.06), (0.8, 0.06), (-0.8, 0.06), (0.5, 0.08)])
def test_agreement_is_the_correlation_of_true_slopes(r, tolerance):
    found, noisy = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        first, second = (measured(rng, b) for b in truths(rng, r))
        found.append(agreement(first, second))
        noisy.append(np.corrcoef(first[0], second[0])[0, 1])
        assert agreement(second, first) == pytest.approx(found[-1])
        assert agreement(first, second, signal(first), signal(second)) == found[-1]
    assert np.mean(found) == pytest.approx(r, abs=tolerance)
    assert abs(np.mean(noisy)) < abs(r) - 2 * tolerance  # what noise makes of it
    assert np.abs(found).max() <= 1.0


def test_noise_agrees_with_nothing():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        first, second = (measured(rng, b) for b in truths(rng, 0.0))
        noise = [measured(rng, np.zeros(1000)) for _ in range(2)]
        assert agreement(first, noise[0]) == agreement(*noise) == 0.0
        assert abs(agreement(first, second)) < 0.3  # other genes: what their chance meetings make


def test_a_few_genes_that_move_far_agree():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = np.where(np.arange(1000) < 5, 1.0, 0.0)
        assert agreement(measured(rng, truth, 0.05, 0.15), measured(rng, truth, 0.05, 0.15)) > 0.7


def test_agreement_is_of_the_genes_that_both_test():
    rng = np.random.default_rng(1)
    slope, variance = measured(rng, truths(rng, 1.0)[0])
    other = measured(rng, slope)
    apart = np.arange(1000) < 985
    missing = np.where(apart, np.nan, variance)
    assert agreement((slope, missing), other) == 0.0  # fifteen are too few
    half = np.where(np.arange(1000) < 500, np.nan, 1.0)
    found = agreement((slope * half, variance * half), other)
    kept = slice(500, None)
    assert found == pytest.approx(agreement((slope[kept], variance[kept]), (other[0][kept], other[1][kept])), abs=0.02)


def test_signal_is_what_squares_hold_beyond_noise():
    rng = np.random.default_rng(2)
    truth = truths(rng, 1.0)[0]
    found = signal(measured(rng, truth, 0.3, 0.3))
    assert found.sum() == pytest.approx((truth**2).sum(), rel=0.25)
    assert (measured(rng, truth, 0.3, 0.3)[0] ** 2).sum() > 1.5 * (truth**2).sum()
    assert signal((np.full(30, np.nan), np.full(30, np.nan))).tolist() == [0.0] * 30


def test_a_pool_is_the_mean_by_precision_with_its_variance():
    rng = np.random.default_rng(3)
    variances = np.array([[0.01, 0.04, 0.25]] * 20_000).T
    draws = 1.5 + np.sqrt(variances) * rng.normal(size=variances.shape)
    slope, variance = pool(list(zip(draws, variances, strict=True)))
    assert slope.mean() == pytest.approx(1.5, abs=0.005)
    assert slope.var() == pytest.approx(variance[0], rel=0.04)
    assert np.ptp(variance) < 1e-12
    assert variance[0] < 0.01  # less than that of the best
    assert draws.mean(0).var() > 2 * variance[0]


def test_a_pool_takes_of_each_gene_what_is_tested():
    slope = np.array([1.0, 2.0, np.nan]), np.array([0.1, 0.2, np.nan])
    other = np.array([3.0, np.nan, np.nan]), np.array([0.1, np.nan, np.nan])
    found, variance = pool([slope, other])
    np.testing.assert_allclose(found, [2.0, 2.0, np.nan])
    np.testing.assert_allclose(variance, [0.05, 0.2, np.nan])
    np.testing.assert_allclose(pool([slope])[0], slope[0])


@pytest.mark.parametrize("amplitude", [1.0, 0.5, -1.5])
@pytest.mark.parametrize("deviation", [0.0, 0.1])
def test_borrowing_lowers_the_error_and_its_intervals_cover(amplitude, deviation):
    before, after, inside, drawn = [], [], [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        mu = truths(rng, 1.0)[0]
        truth = amplitude * mu + deviation * rng.normal(size=len(mu))
        own = measured(rng, truth, 0.1, 0.5)
        slope, variance = borrow(own, measured(rng, mu, 0.05, 0.2))
        clear = np.abs(mu) > 0.3
        before.append(np.mean((own[0] - truth) ** 2))
        after.append(np.mean((slope - truth) ** 2))
        inside.append(np.mean(np.abs(slope - truth) < 1.96 * np.sqrt(variance)))
        drawn.append((slope[clear] * mu[clear]).sum() / (mu[clear] ** 2).sum())
    assert np.mean(after) < (0.25 if deviation == 0 else 0.35) * np.mean(before)
    assert 0.91 < np.mean(inside) < 0.985
    assert np.mean(drawn) == pytest.approx(amplitude, rel=0.12)  # the others' slopes, at this one's amplitude


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_genes_that_answer_differently_keep_their_own_slope(share):
    inside, before, after = [], [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mu, own_genes = truths(rng, 1.0)[0], rng.random(1000) < share
        truth = mu + np.where(own_genes, rng.normal(0, 0.6, 1000), 0.0)
        own = measured(rng, truth, 0.05, 0.2)
        slope, variance = borrow(own, measured(rng, mu, 0.05, 0.2))
        far = own_genes & (np.abs(own[0] - mu) > 0.6)
        inside += (np.abs(slope - truth) < 1.96 * np.sqrt(variance))[far].tolist()
        before.append(np.mean((own[0] - truth) ** 2))
        after.append(np.mean((slope - truth) ** 2))
    assert np.mean(inside) > 0.9
    assert np.mean(after) < 0.6 * np.mean(before)


def test_nothing_is_borrowed_of_what_is_not_alike():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        mine = truths(rng, 0.0)[0]
        own = measured(rng, mine)
        assert borrow(own, measured(rng, np.zeros(1000))) is own
        few = np.where(np.arange(1000) < 15, 1.0, np.nan)
        assert borrow(own, (own[0] * few, own[1] * few)) is own


def test_little_is_borrowed_where_own_counts_say_more():
    rng = np.random.default_rng(4)
    mu = truths(rng, 1.0)[0]
    own = mu + 0.3 * rng.normal(size=1000), np.full(1000, 1e-6)
    slope, variance = borrow(own, measured(rng, mu, 0.05, 0.2))
    np.testing.assert_allclose(slope, own[0], atol=1e-3)
    assert (variance < 2e-6).all()


def test_a_gene_that_others_do_not_test_keeps_its_slope():
    rng = np.random.default_rng(5)
    mu = truths(rng, 1.0)[0]
    own, others = measured(rng, mu), measured(rng, mu)
    untested = np.arange(1000) < 100
    others = tuple(np.where(untested, np.nan, part) for part in others)
    slope, variance = borrow(own, others)
    assert np.array_equal(slope[untested], own[0][untested]) and np.array_equal(variance[untested], own[1][untested])
    assert not np.isclose(slope[~untested], own[0][~untested]).any()
