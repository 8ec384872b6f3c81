"""Samples as replicates: t tests, pairs, covariates, weights; p-values are uniform under the null."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from ldvae.stats.replicates import NotEnough, compare_samples, sample_design, without_shifts
from support import two_groups

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


def test_paired_single_feature_is_the_paired_t_test_in_any_order():
    rng = np.random.default_rng(1)
    y1, y2 = rng.normal(size=(4, 1)), rng.normal(size=(4, 1))
    order = [2, 0, 3, 1]
    ours = two_groups(y1, LEFT, y2[order], [LEFT[i] for i in order])
    theirs = stats.ttest_rel(y1[:, 0], y2[:, 0])
    assert ours["statistic"][0] == pytest.approx(theirs.statistic)
    assert ours["pvalue"][0] == pytest.approx(theirs.pvalue)


def design(samples1, samples2, adjust=None, **arguments):
    x = np.repeat([1.0, 0.0], [len(samples1), len(samples2)])
    return sample_design(x, [*samples1, *samples2], adjust, **arguments)


@pytest.mark.parametrize(
    ("samples1", "samples2", "paired", "n_samples", "df"),
    [
        ("abcd", "abcd", 4, 4, 3),
        ("abcdef", "abc", 3, 6, 2 + 3 - 1),  # d, e, f say nothing of the change, and cost one intercept
        ("abcd", "abxy", 2, 6, 4),
        ("abc", "axy", 1, 5, 3),
        ("ab", "xy", 0, 4, 2),
        ("abc", "xyz", 0, 6, 4),
    ],
)
def test_samples_of_both_groups_are_blocks_and_the_others_help(samples1, samples2, paired, n_samples, df):
    found = design(samples1, samples2)
    assert (found.paired, found.n_samples, found.pairs_lost) == (paired, n_samples, 0)
    assert (found.n1, found.n2, found.df) == (len(samples1), len(samples2), df)
    assert found.blocked.sum() == 2 * paired
    np.testing.assert_allclose(found.weights @ found.design, found.contrast, atol=1e-12)


def test_blocks_are_a_model_with_one_coefficient_per_pair():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(8, 1))
    found = design("abcd", "abxy")
    theirs = sm.OLS(y[:, 0], found.design).fit()
    ours = compare_samples(y, found, np.zeros((8, 1)))
    pairs = y[:2, 0] - y[4:6, 0]
    rest = y[2:4, 0].mean() - y[6:, 0].mean()
    assert (found.weights @ y)[0] == pytest.approx((pairs.mean() + rest) / 2)  # two pairs, two against two
    assert theirs.params[0] == pytest.approx((pairs.mean() + rest) / 2)
    assert ours["df"][0] == theirs.df_resid


def test_too_few_pairs_are_compared_like_other_samples():
    found = design("ab", "ab")
    assert (found.paired, found.pairs_lost, found.df) == (0, 2, 2)
    assert design("ab", "ab", many=True).paired == 2  # many features lend each other their variances


def test_pairs_help_where_samples_differ_and_others_add_to_them():
    rng = np.random.default_rng(3)
    n, effect, power = 400, 0.8, {}
    level = 2.0 * rng.normal(size=(6, n))
    y1, y2 = (level + 0.5 * rng.normal(size=(6, n)) + shift for shift in (effect, 0.0))
    for name, rows in {"three pairs": "abc", "six pairs": "abcdef"}.items():
        k = len(rows)
        power[name] = (two_groups(y1[:k], rows, y2[:k], rows)["pvalue"] < 0.05).mean()
    power["no pairs"] = (two_groups(y1[:3], "abc", y2[3:], "xyz")["pvalue"] < 0.05).mean()
    y2[3:] = 2.0 * rng.normal(size=(3, n)) + 0.5 * rng.normal(size=(3, n))
    power["three and three"] = (two_groups(y1, "abcdef", y2, "abcxyz")["pvalue"] < 0.05).mean()
    assert power["no pairs"] < 0.2 < 0.4 < power["three pairs"] < power["six pairs"]
    assert power["three and three"] > power["three pairs"] - 0.05


@pytest.mark.parametrize("samples2", ["abcd", "wxyz", "abyz"])
def test_p_values_are_uniform_when_nothing_differs(samples2):
    rng = np.random.default_rng(0)
    std = np.sqrt(5 / rng.chisquare(5, 20_000))
    level = {s: 1.5 * rng.normal(size=20_000) for s in "abcdwxyz"}
    y1, y2 = (np.array([rng.normal(size=20_000) + level[s] for s in samples]) * std for samples in ("abcd", samples2))
    pvalue = two_groups(y1, "abcd", y2, samples2)["pvalue"]
    # where pairs meet others, what samples differ by is an estimate, and a cautious one
    assert (0.038 if samples2 == "abyz" else 0.045) < (pvalue < 0.05).mean() < 0.055
    assert (pvalue < 0.005).mean() == pytest.approx(0.005, abs=0.002)


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


def known_unequally(rng, effect, n=4000):
    """Four against four samples, two of them on each side poorly known; true variances differ between features."""
    x = np.repeat([1.0, 0.0], 4)
    variance = np.tile([[0.02], [0.02], [0.6], [0.6]], (2, n)) * rng.uniform(0.5, 2, (8, n))
    between = 0.04 * 8 / rng.chisquare(8, n)
    y = effect * x[:, None] + np.sqrt(variance + between) * rng.normal(size=(8, n))
    return y, variance, sample_design(x, list("abcdwxyz"), many=True)


def test_samples_count_by_how_well_they_are_known():
    rng = np.random.default_rng(4)
    y, variance, found = known_unequally(rng, 0.0)
    pvalue = compare_samples(y, found, variance)["pvalue"]
    assert (pvalue < 0.05).mean() == pytest.approx(0.05, abs=0.012)
    assert (pvalue < 0.001).mean() < 0.004
    y, variance, found = known_unequally(rng, 0.6)
    weighed, alike = compare_samples(y, found, variance), compare_samples(y, found, np.zeros_like(y))
    assert (weighed["pvalue"] < 0.01).mean() > 1.5 * (alike["pvalue"] < 0.01).mean()
    assert np.std(weighed["effect"]) < 0.8 * np.std(alike["effect"])


def test_covariates_of_samples_are_adjusted_for():
    rng = np.random.default_rng(5)
    sex = np.array([0, 1, 1, 1, 0, 0, 0, 1], dtype=float)[:, None]
    effect = rng.normal(size=2000)
    y = 2 * sex * effect + 0.3 * rng.normal(size=(8, 2000))
    alone, adjusted = (compare_samples(y, design("abcd", "wxyz", a), np.zeros_like(y)) for a in (None, sex))
    assert (adjusted["pvalue"] < 0.05).mean() == pytest.approx(0.05, abs=0.015)
    assert np.std(adjusted["effect"]) < 0.5 * np.std(alone["effect"])
    theirs = sm.OLS(y[:, 0], np.column_stack([np.repeat([1, 0], 4), np.ones(8), sex])).fit()
    assert adjusted["effect"][0] == pytest.approx(theirs.params[0])


def test_what_samples_do_not_allow_is_said():
    with pytest.raises(NotEnough, match="group 'A' has 1 sample; a comparison with sample_key needs at least 2 per"):
        design("a", "wxyz", names=("A", "B"))
    with pytest.raises(NotEnough, match="group 'B' has 0 samples; a comparison"):
        design("abcd", "", names=("A", "B"))
    side = np.repeat([1.0, 0.0], 4)[:, None]
    with pytest.raises(NotEnough, match="differ in `adjust` as they do in what is compared"):
        design("abcd", "wxyz", side)
    rng = np.random.default_rng(0)
    with pytest.raises(NotEnough, match="4 samples are too few for the columns of `adjust`: 1 degrees"):
        design("ab", "yz", rng.normal(size=(4, 1)))
    with pytest.raises(NotEnough, match="a slope needs at least 3 samples"):
        sample_design(np.array([1.0, 2.0]), ["a", "b"], slope=True)


def test_a_slope_is_that_of_a_regression_within_samples_where_they_vary():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=6), rng.normal(size=(6, 1))
    found = sample_design(x, list("abcdef"), slope=True)
    ours, theirs = compare_samples(y, found, np.zeros_like(y)), stats.linregress(x, y[:, 0])
    assert ours["effect"][0] == pytest.approx(theirs.slope) and ours["pvalue"][0] == pytest.approx(theirs.pvalue)
    dose, donor = np.tile([0.0, 1.0, 2.0], 3), np.repeat(list("abc"), 3)
    y = 5 * np.repeat(rng.normal(size=3), 3) + 0.7 * dose
    found = sample_design(dose, donor.tolist(), slope=True)
    assert found.paired == 3 and (found.weights @ y) == pytest.approx(0.7)


def test_what_moves_all_features_of_a_sample_is_taken_out_and_the_change_is_not():
    rng = np.random.default_rng(7)
    found, variance = design("abcd", "wxyz"), np.full((8, 500), 0.01)
    change = np.where(rng.random(500) < 0.3, 1.0, 0.0)
    y = found.design[:, :1] * change + 0.1 * rng.normal(size=(8, 500))
    moved = y + rng.normal(size=(8, 1))
    clean = without_shifts(moved, variance, found.design)
    before, after = (compare_samples(v, found, variance) for v in (moved, clean))
    np.testing.assert_allclose(np.diff(before["effect"]), np.diff(after["effect"]), atol=0.15)  # up to one constant
    assert np.median(after["std"]) < 0.3 * np.median(before["std"])
    assert without_shifts(moved[:, :50], variance[:, :50], found.design) is not None
    np.testing.assert_array_equal(without_shifts(moved[:, :50], variance[:, :50], found.design), moved[:, :50])
