"""Moderated linear models: statsmodels without moderation, simulated variances; Hotelling's test by its formula."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import polygamma
from statsmodels.multivariate.manova import MANOVA

from ldvae.stats.moderation import (
    _fit_contrast,
    _trigamma_inverse,
    hotelling,
    hotelling_design,
    moderated_contrast,
    squeeze_variance,
)
from ldvae.stats.replicates import sample_design

LEFT, RIGHT = ["a", "b", "c", "d"], ["e", "f", "g"]


@pytest.mark.parametrize("x", [1e-3, 0.1, 0.7, 3.0, 50.0, 1e5])
def test_trigamma_inverse_inverts_trigamma(x):
    assert _trigamma_inverse(float(polygamma(1, x))) == pytest.approx(x, rel=1e-6)


@pytest.mark.parametrize(("df", "d0", "s0"), [(4, 5.0, 0.3), (10, 2.0, 4.0), (10, 12.0, 1.0)])
def test_squeeze_variance_recovers_the_prior(df, d0, s0):
    rng = np.random.default_rng(0)
    true = d0 * s0 / rng.chisquare(d0, 50_000)
    observed = true * rng.chisquare(df, true.size) / df
    df_prior, prior, posterior = squeeze_variance(observed, df)
    assert df_prior == pytest.approx(d0, rel=0.1)
    assert prior == pytest.approx(s0, rel=0.03)
    np.testing.assert_allclose(posterior, (df_prior * prior + df * observed) / (df_prior + df))
    precision = 1 / true  # the posterior variance is one over the posterior mean precision
    assert np.mean((1 / posterior - precision) ** 2) < 0.8 * np.mean((1 / observed - precision) ** 2)


def test_squeeze_variance_pools_variances_that_are_all_alike():
    # chi2 quantiles in place of draws spread less than chance would have it
    observed = 2.0 * stats.chi2.ppf(np.linspace(0.05, 0.95, 40), 6) / 6
    df_prior, prior, posterior = squeeze_variance(observed, 6.0)
    assert df_prior == np.inf
    assert prior == pytest.approx(observed.mean())
    np.testing.assert_allclose(posterior, prior)
    degrees = np.repeat([4.0, 12.0], 20)
    assert squeeze_variance(observed, degrees)[1] == pytest.approx(np.average(observed, weights=degrees))


def test_squeeze_variance_of_one_feature_changes_nothing():
    df_prior, _, posterior = squeeze_variance(np.array([0.7]), 3.0)
    assert df_prior == 0 and posterior.tolist() == [0.7]
    df_prior, _, posterior = squeeze_variance(np.array([0.7, np.nan]), 3.0)
    assert df_prior == 0 and posterior[0] == 0.7 and np.isnan(posterior[1])
    assert squeeze_variance(np.zeros(4), 3.0)[2].tolist() == [0.0] * 4


def test_squeeze_variance_survives_a_zero():
    rng = np.random.default_rng(0)
    observed = rng.chisquare(4, 500) / 4
    clean = squeeze_variance(observed, 4)[1]
    assert squeeze_variance(np.append(observed, 0.0), 4)[1] == pytest.approx(clean, rel=0.1)


def test_caution_lowers_the_prior_df_and_fades_with_many_features():
    rng = np.random.default_rng(1)
    observed = 1.0 / rng.chisquare(8, 20_000) * rng.chisquare(4, 20_000)
    few = [squeeze_variance(observed[:10], 4, caution=c)[0] for c in (0.0, 1.0)]
    many = [squeeze_variance(observed, 4, caution=c)[0] for c in (0.0, 1.0)]
    assert few[1] < 0.7 * few[0]
    assert 0.93 * many[0] < many[1] < many[0]


def test_single_feature_is_an_ordinary_regression():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    design = np.column_stack([np.ones(12), x])
    contrast = np.array([0.0, 1.0, -1.0, 0.5])
    ours = moderated_contrast(y[:, None], design, contrast)
    theirs = sm.OLS(y, design).fit().t_test(contrast)
    assert ours["effect"][0] == pytest.approx(theirs.effect[0])
    assert ours["std"][0] == pytest.approx(theirs.sd[0, 0])
    assert ours["pvalue"][0] == pytest.approx(float(theirs.pvalue))
    assert ours["df"][0] == 8


def test_moderated_statistic_is_built_from_the_squeezed_variance():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(6, 40)) * np.exp(rng.normal(size=40))
    design = np.repeat(np.eye(2), 3, axis=0)
    ours = moderated_contrast(y, design, np.array([1.0, -1.0]))
    variance = (y[:3].var(0, ddof=1) + y[3:].var(0, ddof=1)) / 2
    df_prior, _, posterior = squeeze_variance(variance, 4, caution=1.0)
    np.testing.assert_allclose(ours["std"], np.sqrt(posterior * 2 / 3))
    np.testing.assert_allclose(ours["df"], 4 + df_prior)
    np.testing.assert_allclose(ours["statistic"], (y[:3].mean(0) - y[3:].mean(0)) / np.sqrt(posterior * 2 / 3))
    np.testing.assert_allclose(ours["pvalue"], 2 * stats.t.sf(np.abs(ours["statistic"]), 4 + df_prior))


def test_prior_df_never_exceeds_what_all_features_have():
    rng = np.random.default_rng(3)
    y = rng.normal(size=(6, 5))
    y /= np.sqrt((y[:3].var(0, ddof=1) + y[3:].var(0, ddof=1)) / 2)  # equal variances
    tested = moderated_contrast(y, np.repeat(np.eye(2), 3, axis=0), np.array([1.0, -1.0]))
    assert tested["df"][0] <= 20


def test_features_without_variance_or_values_are_not_tested_and_lend_nothing():
    rng = np.random.default_rng(4)
    y = rng.normal(size=(8, 12))
    design = np.repeat(np.eye(2), 4, axis=0)
    alone = moderated_contrast(y, design, np.array([1.0, -1.0]))
    constant, missing = np.full((8, 1), 0.1), np.full((8, 1), np.nan)
    tested = moderated_contrast(np.hstack([y, constant, missing]), design, np.array([1.0, -1.0]))
    np.testing.assert_allclose(tested["pvalue"][:12], alone["pvalue"])
    for name in ("std", "statistic", "df", "pvalue"):
        assert np.isnan(tested[name][12:]).all()


def test_a_feature_that_is_constant_but_for_rounding_is_not_tested():
    rng = np.random.default_rng(8)
    design = np.column_stack([np.ones(9), rng.normal(size=9)])
    y = np.column_stack([rng.normal(size=(9, 6)), np.full(9, 0.1) + 1e-17, 5.0 + 3.0 * design[:, 1]])
    tested = moderated_contrast(y, design, np.array([0.0, 1.0]))
    assert np.isnan(tested["pvalue"]).tolist() == [False] * 6 + [True] * 2
    assert tested["effect"][7] == pytest.approx(3.0)


def test_redundant_design_gives_the_same_and_an_unidentified_contrast_is_refused():
    rng = np.random.default_rng(5)
    y, design = rng.normal(size=(8, 20)), np.repeat(np.eye(2), 4, axis=0)
    redundant = np.column_stack([np.ones(8), design])
    full = moderated_contrast(y, design, np.array([1.0, -1.0]))
    np.testing.assert_allclose(moderated_contrast(y, redundant, np.array([0.0, 1.0, -1.0]))["pvalue"], full["pvalue"])
    with pytest.raises(ValueError, match="`contrast` must be estimable"):
        moderated_contrast(y, redundant, np.array([1.0, 0.0, 0.0]))


def test_saturated_model_has_an_effect_but_no_test():
    tested = moderated_contrast(np.array([[1.0], [3.0]]), np.eye(2), np.array([1.0, -1.0]))
    assert tested["effect"].tolist() == [-2.0] and np.isnan(tested["pvalue"]).all()


def hotelling_two_sample(y1: np.ndarray, y2: np.ndarray) -> tuple[float, float]:
    """The textbook formula."""
    (n1, d), n2 = y1.shape, len(y2)
    pooled = ((n1 - 1) * np.cov(y1.T) + (n2 - 1) * np.cov(y2.T)) / (n1 + n2 - 2)
    delta = y1.mean(0) - y2.mean(0)
    t2 = n1 * n2 / (n1 + n2) * delta @ np.linalg.solve(np.atleast_2d(pooled), delta)
    f = (n1 + n2 - d - 1) / ((n1 + n2 - 2) * d) * t2
    return f, stats.f.sf(f, d, n1 + n2 - d - 1)


def test_hotelling_is_the_textbook_statistic_with_enough_samples():
    rng = np.random.default_rng(0)
    y1, y2 = rng.normal(size=(9, 3)) + 0.5, rng.normal(size=(7, 3)) @ rng.normal(size=(3, 3))
    found = sample_design(np.repeat([1.0, 0.0], [9, 7]), [f"s{i}" for i in range(16)])
    ours = hotelling_design(np.vstack([y1, y2]), found.design, found.contrast)
    np.testing.assert_allclose(ours, hotelling_two_sample(y1, y2))


def test_hotelling_for_a_slope_agrees_with_manova():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=20), rng.normal(size=(20, 3))
    design = np.column_stack([np.ones(20), x])
    ours = hotelling_design(y, design, np.array([0.0, 1.0]))
    theirs = MANOVA(y, design).mv_test([("x", np.array([[0.0, 1.0]]))]).results["x"]["stat"]
    assert ours[0] == pytest.approx(theirs.loc["Wilks' lambda", "F Value"])
    assert ours[1] == pytest.approx(theirs.loc["Wilks' lambda", "Pr > F"])


def test_hotelling_of_one_feature_is_the_squared_t():
    rng = np.random.default_rng(2)
    y1, y2 = rng.normal(size=(4, 1)), rng.normal(size=(3, 1))
    found = sample_design(np.repeat([1.0, 0.0], [4, 3]), list("abcdefg"))
    f, p = hotelling_design(np.vstack([y1, y2]), found.design, found.contrast)
    t = stats.ttest_ind(y1[:, 0], y2[:, 0])
    assert f == pytest.approx(t.statistic**2)
    assert p == pytest.approx(t.pvalue)


@pytest.mark.parametrize(
    ("n1", "n2", "paired"), [(3, 3, False), (2, 5, False), (8, 7, False), (5, 5, True), (3, 3, True)]
)
def test_hotelling_is_exact_when_features_outnumber_samples(n1, n2, paired):
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(10, 10))
    names = [f"s{i}" for i in range(n1 + n2)]
    pvalues = []
    for _ in range(2000):
        y = rng.normal(size=(n1 + n2, 10)) @ mix + 5.0
        found = sample_design(np.repeat([1.0, 0.0], [n1, n2]), names[:n1] + (names[:n2] if paired else names[n1:]))
        assert found.paired == paired * n1
        pvalues.append(hotelling_design(y, found.design, found.contrast)[1])
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_hotelling_ignores_rotation_and_finds_an_effect():
    rng = np.random.default_rng(4)
    y = rng.normal(size=(12, 8))
    y[:6, 3] += 6.0
    design = np.repeat(np.eye(2), 6, axis=0)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    straight = hotelling_design(y, design, np.array([1.0, -1.0]))
    np.testing.assert_allclose(hotelling_design(y @ rotation, design, np.array([1.0, -1.0])), straight)
    assert straight[1] < 0.01


def test_hotelling_without_freedom_or_variation_is_missing():
    assert np.isnan(hotelling(np.ones(3), 1.0, np.eye(3), 0)).all()
    assert np.isnan(hotelling(np.zeros(3), 1.0, np.zeros((3, 3)), 5)).all()
    y = np.random.default_rng(5).normal(size=(10, 2))
    design = np.repeat(np.eye(2), 5, axis=0)
    redundant = np.column_stack([y, y.sum(1), np.full(10, 2.0)])  # rank two
    contrast = np.array([1.0, -1.0])
    np.testing.assert_allclose(hotelling_design(redundant, design, contrast), hotelling_design(y, design, contrast))


def test_contrast_scale_is_the_variance_of_the_effect():
    fit = _fit_contrast(np.zeros((7, 1)), np.repeat(np.eye(2), [4, 3], axis=0), np.array([1.0, -1.0]))
    assert fit.scale == pytest.approx(1 / 4 + 1 / 3)
    assert fit.df == 5
