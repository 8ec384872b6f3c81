"""Two groups of samples: scipy's t tests, pairs where there are any, uniform p-values under the null."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from ldvae.stats.replicates import sample_design as compare
from ldvae.stats.replicates import two_groups

LEFT, RIGHT = ["a", "b", "c", "d"], ["e", "f", "g"]


def test_fewer_than_five_features_are_tested_each_by_itself():
    rng = np.random.default_rng(9)
    y, names = rng.normal(size=(6, 5)), list("abcxyz")
    four, five = (two_groups(y[:3, :k], names[:3], y[3:, :k], names[3:]) for k in (4, 5))
    np.testing.assert_allclose(four["pvalue"], stats.ttest_ind(y[:3, :4], y[3:, :4]).pvalue)
    assert (four["df"] == 4).all() and (five["df"] > 4).all()


def test_unpaired_single_feature_is_the_t_test():
    rng = np.random.default_rng(0)
    y1, y2 = rng.normal(size=(4, 1)), rng.normal(size=(3, 1)) + 1
    ours, theirs = two_groups(y1, LEFT, y2, RIGHT), stats.ttest_ind(y1[:, 0], y2[:, 0])
    assert ours["statistic"][0] == pytest.approx(theirs.statistic)
    assert ours["pvalue"][0] == pytest.approx(theirs.pvalue)
    assert ours["df"][0] == theirs.df
    assert ours["effect"][0] == pytest.approx(y1.mean() - y2.mean())
    assert ours["n_samples"] == 7 and ours["paired"] is False


def test_paired_single_feature_is_the_paired_t_test_in_any_order():
    rng = np.random.default_rng(1)
    y1, y2 = rng.normal(size=(4, 1)), rng.normal(size=(4, 1))
    order = [2, 0, 3, 1]
    ours = two_groups(y1, LEFT, y2[order], [LEFT[i] for i in order])
    theirs = stats.ttest_rel(y1[:, 0], y2[:, 0])
    assert ours["statistic"][0] == pytest.approx(theirs.statistic)
    assert ours["pvalue"][0] == pytest.approx(theirs.pvalue)
    assert ours["n_samples"] == 4 and ours["paired"] is True


def test_pairs_are_a_model_with_one_coefficient_per_sample():
    rng = np.random.default_rng(2)
    y1, y2 = rng.normal(size=(4, 1)), rng.normal(size=(3, 1))
    ours = two_groups(y1, LEFT, y2, ["b", "c", "z"])  # a, d and z are in one group only
    y = np.concatenate([y1, y2])[:, 0]
    design = np.zeros((7, 6))
    design[:4, 0] = 1
    for row, sample in enumerate([*LEFT, "b", "c", "z"]):
        design[row, 1 + "abcdz".index(sample)] = 1
    theirs = sm.OLS(y, design).fit()
    assert ours["effect"][0] == pytest.approx(theirs.params[0])
    assert ours["std"][0] == pytest.approx(theirs.bse[0])
    assert ours["df"][0] == theirs.df_resid == 1
    assert ours["n_samples"] == 2 and ours["paired"] is True


@pytest.mark.parametrize(
    ("samples1", "samples2", "paired", "n_samples"),
    [
        (["a", "b", "c", "d"], ["a", "b", "c", "d"], True, 4),
        (["a", "b", "c", "d", "e", "f"], ["a", "b"], True, 2),
        (["a", "b", "c"], ["a", "b", "x"], True, 2),
        (["a", "b", "c", "d"], ["a", "b", "x", "y"], False, 6),  # half is no majority
        (["a", "b", "c"], ["a", "x", "y"], False, 5),  # one pair is no replicate
        (["a", "b"], ["x", "y"], False, 4),
    ],
)
def test_the_analysis_is_paired_when_most_samples_are_in_both_groups(samples1, samples2, paired, n_samples):
    comparison = compare(np.zeros((len(samples1), 1)), samples1, np.zeros((len(samples2), 1)), samples2)
    assert comparison.paired is paired
    assert comparison.n_samples == n_samples


def test_too_few_samples_are_named():
    y = np.zeros((1, 3))
    with pytest.raises(ValueError, match="group 'A' has 1 sample; a comparison with sample_key needs at least 2 per"):
        two_groups(y, ["a"], np.zeros((4, 3)), LEFT, names=("A", "B"))
    with pytest.raises(ValueError, match="group 'B' has 0 samples; a comparison"):
        two_groups(np.zeros((4, 3)), LEFT, y[:0], [], names=("A", "B"))


@pytest.mark.parametrize("paired", [False, True])
def test_p_values_are_uniform_when_nothing_differs(paired):
    rng = np.random.default_rng(0)
    std = np.sqrt(5 / rng.chisquare(5, 20_000))
    y1, y2 = rng.normal(size=(4, 20_000)) * std, rng.normal(size=(4, 20_000)) * std
    tested = two_groups(y1, LEFT, y2, LEFT if paired else ["w", "x", "y", "z"])
    assert stats.kstest(tested["pvalue"], "uniform").pvalue > 0.01


def test_moderation_finds_more():
    rng = np.random.default_rng(1)
    std = np.sqrt(20 / rng.chisquare(20, 4000))
    y1, y2 = (rng.normal(size=(3, 4000)) + 2) * std, rng.normal(size=(3, 4000)) * std
    moderated = (two_groups(y1, ["a", "b", "c"], y2, ["x", "y", "z"])["pvalue"] < 0.01).mean()
    alone = (stats.ttest_ind(y1, y2).pvalue < 0.01).mean()
    assert moderated > 1.5 * alone


@pytest.mark.parametrize(("n", "spread"), [(2, 0.0), (2, 0.6), (3, 0.6), (4, 1.5)])
def test_ten_features_keep_the_level(n, spread):
    """As many as there are factors: estimating the prior from so few must not make the test bold."""
    rng = np.random.default_rng(0)
    pvalues = []
    for _ in range(1500):
        y = rng.normal(size=(2 * n, 10)) * np.exp(spread * rng.normal(size=10))
        names = [f"s{i}" for i in range(2 * n)]
        pvalues.append(two_groups(y[:n], names[:n], y[n:], names[n:])["pvalue"])
    assert np.mean(np.array(pvalues) < 0.05) < 0.06
    assert np.mean(np.array(pvalues) < 0.005) < 0.008
