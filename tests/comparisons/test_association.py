"""Association: planted effects, nulls with donors, rotation, and scipy and scikit-learn on the same numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ldvae import associate_factors, get_latent
from ldvae.comparisons.association import associate
from ldvae.counts.labels import Labels
from ldvae.tables import table
from support import two_groups

N_FACTORS = 6
FACTORS = [f"Z_{k + 1}" for k in range(N_FACTORS)]


def labels(key: str, names: np.ndarray) -> Labels:
    levels, codes = np.unique(names, return_inverse=True)
    return Labels(key, [str(level) for level in levels], codes.astype(np.int64))


def run(scores, values, key="key", **kwargs) -> pd.DataFrame:
    return table("association", associate(scores, FACTORS, key, values, **kwargs))


def donors(rng: np.random.Generator, n_donors: int = 8, n_each: int = 40, std: float = 1.0):
    """Scores whose donors differ; the first half of the donors is treated."""
    donor = np.repeat(np.arange(n_donors), n_each)
    scores = rng.normal(size=(len(donor), N_FACTORS)) + std * rng.normal(size=(n_donors, N_FACTORS))[donor]
    treatment = labels("treatment", np.where(donor < n_donors // 2, "a", "b"))
    return scores, treatment, labels("donor", np.array([f"d{d}" for d in donor])), donor


def sample_means(scores: np.ndarray, donor: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return np.array([scores[keep & (donor == d)].mean(0) for d in np.unique(donor[keep])])


def test_rows_are_complete_and_in_order():
    rng = np.random.default_rng(0)
    scores, _, sample, _ = donors(rng, n_each=150)
    three = labels("type", rng.choice(["x", "y", "z"], len(scores)))
    within = labels("batch", rng.choice(["b0", "b1"], len(scores)))
    rows = run(scores, three, "type", sample=sample, within=within)
    assert len(rows) == 2 * 3 * (N_FACTORS + 1)
    assert rows["factor"].tolist() == [*FACTORS, "all"] * 6
    assert rows["level"].tolist() == np.tile(np.repeat(["x", "y", "z"], N_FACTORS + 1), 2).tolist()
    assert rows["within"].tolist() == np.repeat(["b0", "b1"], 3 * (N_FACTORS + 1)).tolist()
    assert set(rows["key"]) == {"type"} and set(rows["unit"]) == {"samples"}
    single = rows["factor"] != "all"
    assert rows.loc[single].notna().all(axis=None)
    assert rows.loc[~single, ["effect", "std", "auc"]].isna().all(axis=None)
    assert rows.loc[~single, ["statistic", "pval", "padj"]].notna().all(axis=None)
    first = (within.codes == 0) & (three.codes == 0)
    assert (rows.loc[:N_FACTORS, "n_cells"] == first.sum()).all()
    assert (rows["n_samples"] == 8).all()


def test_cells_of_two_levels_are_welchs_t_test_and_the_auc():
    rng = np.random.default_rng(1)
    group = rng.choice(["ctrl", "stim"], 300, p=[0.7, 0.3])
    scores = np.round(rng.normal(size=(300, N_FACTORS)), 1)  # with ties
    scores[group == "stim"] = 0.4 + 2 * scores[group == "stim"]
    rows = run(scores, labels("group", group))
    assert set(rows["level"]) == {"stim"} and set(rows["unit"]) == {"cells"} and set(rows["within"]) == {"all"}
    stim, ctrl = scores[group == "stim"], scores[group == "ctrl"]
    theirs = stats.ttest_ind(stim, ctrl, equal_var=False)
    single = rows.iloc[:N_FACTORS]
    np.testing.assert_allclose(single["statistic"], theirs.statistic)
    np.testing.assert_allclose(single["pval"], theirs.pvalue)
    np.testing.assert_allclose(single["effect"], stim.mean(0) - ctrl.mean(0))
    np.testing.assert_allclose(single["effect"] / single["std"], single["statistic"])
    expected = [roc_auc_score(group == "stim", scores[:, k]) for k in range(N_FACTORS)]
    np.testing.assert_allclose(single["auc"], expected)
    assert (rows["n_cells"] == (group == "stim").sum()).all() and (rows["n_samples"] == 0).all()


def test_cells_of_all_factors_together_are_hotellings_test():
    rng = np.random.default_rng(22)
    group = rng.choice(["x", "y"], 40)
    scores = rng.normal(size=(40, N_FACTORS)) + (group == "y")[:, None] * 0.3
    rows = run(scores, labels("group", group))
    x, y = scores[group == "x"], scores[group == "y"]
    pooled = ((len(x) - 1) * np.cov(x.T) + (len(y) - 1) * np.cov(y.T)) / 38
    delta = y.mean(0) - x.mean(0)
    t2 = len(x) * len(y) / 40 * delta @ np.linalg.solve(pooled, delta)
    f = (39 - N_FACTORS) / (38 * N_FACTORS) * t2
    assert rows.loc[N_FACTORS, "statistic"] == pytest.approx(f)
    assert rows.loc[N_FACTORS, "pval"] == pytest.approx(stats.f.sf(f, N_FACTORS, 39 - N_FACTORS))


@pytest.mark.parametrize("numeric", [True, False])
def test_cells_without_residual_variation_have_an_effect_but_no_test(numeric):
    rng = np.random.default_rng(23)
    number = np.where(np.arange(300) % 3 == 0, 0.1, 0.7)
    scores = rng.normal(size=(300, N_FACTORS))
    scores[:, 0] = 1 / 3 + number
    values = number if numeric else labels("group", np.where(number > 0.5, "high", "low"))
    rows = run(scores, values)
    assert rows.loc[0, "effect"] == pytest.approx(number.std(ddof=1) if numeric else -0.6)
    assert rows.loc[0, ["std", "statistic", "pval"]].isna().all()
    assert rows.loc[1 : N_FACTORS - 1, "pval"].notna().all()


def test_each_of_several_levels_is_compared_with_the_rest():
    rng = np.random.default_rng(2)
    group = rng.choice(["x", "y", "z"], 200)
    scores = rng.normal(size=(200, N_FACTORS)) + 100.0
    rows = run(scores, labels("group", group))
    for level in "xyz":
        theirs = stats.ttest_ind(scores[group == level], scores[group != level], equal_var=False)
        ours = rows[(rows["level"] == level) & (rows["factor"] != "all")]
        np.testing.assert_allclose(ours["pval"], theirs.pvalue)
        np.testing.assert_allclose(ours["auc"], [roc_auc_score(group == level, s) for s in scores.T])


def test_a_treatment_of_samples_is_tested_on_sample_means():
    rng = np.random.default_rng(3)
    scores, treatment, sample, donor = donors(rng)
    rows = run(scores, treatment, sample=sample)
    means = sample_means(scores, donor, np.ones(len(donor), dtype=bool))
    expected = two_groups(means[4:], list("efgh"), means[:4], list("abcd"))
    single = rows.iloc[:N_FACTORS]
    for ours, theirs in {"effect": "effect", "std": "std", "statistic": "statistic", "pval": "pvalue"}.items():
        np.testing.assert_allclose(single[ours], expected[theirs])
    assert (rows["n_samples"] == 8).all()


def test_a_key_that_varies_within_samples_is_paired_by_sample():
    rng = np.random.default_rng(4)
    scores, _, sample, donor = donors(rng, std=5.0)
    kind = rng.choice(["x", "y"], len(scores))
    scores[kind == "y", 0] += 1.0
    rows = run(scores, labels("kind", kind), sample=sample)
    y1, y2 = (sample_means(scores, donor, kind == k) for k in "yx")
    expected = two_groups(y1, list("abcdefgh"), y2, list("abcdefgh"))
    np.testing.assert_allclose(rows["pval"][:N_FACTORS], expected["pvalue"])
    assert rows.loc[0, "padj"] < 0.01 and rows.loc[0, "effect"] == pytest.approx(1.0, abs=0.3)
    assert rows.loc[N_FACTORS, "pval"] < 0.05


@pytest.mark.parametrize("with_samples", [True, False])
def test_a_planted_effect_is_found(with_samples):
    rng = np.random.default_rng(5)
    scores, treatment, sample, _ = donors(rng, std=0.2)
    scores[:, 2] -= 1.5 * treatment.codes
    rows = run(scores, treatment, sample=sample if with_samples else None)
    assert rows["padj"][:N_FACTORS].idxmin() == 2
    assert rows.loc[2, "padj"] < 1e-3 and rows.loc[2, "effect"] == pytest.approx(-1.5, abs=0.3)
    assert rows.loc[2, "auc"] < 0.25
    assert rows.loc[N_FACTORS, "pval"] < 0.01


def test_donors_that_differ_fool_the_cells_but_not_the_samples():
    rng = np.random.default_rng(6)
    cells, samples, omnibus = [], [], []
    for _ in range(150):
        scores, treatment, sample, _ = donors(rng, n_each=20)
        cells.append(run(scores, treatment)["pval"][:N_FACTORS])
        rows = run(scores, treatment, sample=sample)
        samples.append(rows["pval"][:N_FACTORS])
        omnibus.append(rows["pval"][N_FACTORS])
    cells, samples = np.concatenate(cells), np.concatenate(samples)
    assert np.mean(cells < 0.05) > 0.5
    assert stats.kstest(samples, "uniform").pvalue > 0.01
    assert stats.kstest(omnibus, "uniform").pvalue > 0.01


@pytest.mark.parametrize("paired", [False, True])
def test_p_values_are_uniform_when_nothing_differs(paired):
    rng = np.random.default_rng(7)
    single, omnibus = [], []
    for _ in range(200):
        scores, treatment, sample, _ = donors(rng, n_donors=5, n_each=24, std=0.5)
        if paired:
            treatment = labels("kind", rng.choice(["x", "y"], len(scores)))
        rows = run(scores, treatment, sample=sample)
        single.extend(rows["pval"][:N_FACTORS])
        omnibus.append(rows["pval"][N_FACTORS])
    assert stats.kstest(single, "uniform").pvalue > 0.01
    assert stats.kstest(omnibus, "uniform").pvalue > 0.01


def test_cell_p_values_are_uniform_when_cells_are_independent():
    rng = np.random.default_rng(8)
    rows = [run(rng.normal(size=(60, N_FACTORS)), labels("g", rng.choice(["x", "y"], 60))) for _ in range(200)]
    pval = np.array([r["pval"] for r in rows])
    assert stats.kstest(pval[:, :N_FACTORS].ravel(), "uniform").pvalue > 0.01
    assert stats.kstest(pval[:, N_FACTORS], "uniform").pvalue > 0.01


@pytest.mark.parametrize("with_samples", [True, False])
@pytest.mark.parametrize("numeric", [True, False])
def test_the_omnibus_ignores_rotation(with_samples, numeric):
    rng = np.random.default_rng(9)
    scores, treatment, sample, donor = donors(rng, n_donors=6)
    values = rng.normal(size=6)[donor] + 0.1 * rng.normal(size=len(donor)) if numeric else treatment
    rotation = np.linalg.qr(rng.normal(size=(N_FACTORS, N_FACTORS)))[0]
    kwargs = {"sample": sample} if with_samples else {}
    straight, rotated = run(scores, values, **kwargs), run(scores @ rotation + 3.0, values, **kwargs)
    np.testing.assert_allclose(
        straight.loc[N_FACTORS, ["statistic", "pval"]].astype(float),
        rotated.loc[N_FACTORS, ["statistic", "pval"]].astype(float),
        rtol=1e-6,
    )
    assert not np.allclose(straight["effect"][:N_FACTORS], rotated["effect"][:N_FACTORS], atol=0.01)


def test_slopes_of_cells_are_linear_regressions():
    rng = np.random.default_rng(10)
    age = rng.normal(50, 12, 120)
    scores = rng.normal(size=(120, N_FACTORS)) + 0.02 * age[:, None]
    rows = run(scores, age, "age")
    for k in range(N_FACTORS):
        theirs = stats.linregress(age / age.std(ddof=1), scores[:, k])
        assert rows.loc[k, "effect"] == pytest.approx(theirs.slope)
        assert rows.loc[k, "std"] == pytest.approx(theirs.stderr)
        assert rows.loc[k, "pval"] == pytest.approx(theirs.pvalue)
    assert (
        set(rows["level"]) == {"per standard deviation"} and rows["auc"].isna().all() and (rows["n_cells"] == 120).all()
    )


def test_slopes_of_samples_are_regressions_of_their_means():
    rng = np.random.default_rng(11)
    scores, _, sample, donor = donors(rng)
    age = rng.normal(50, 12, 8)[donor] + rng.normal(size=len(donor))
    one = table("association", associate(scores[:, :1], ["Z_1"], "age", age, sample))  # one factor: no moderation
    mean_age = sample_means(age[:, None], donor, donor >= 0)[:, 0]
    mean_score = sample_means(scores, donor, donor >= 0)[:, 0]
    theirs = stats.linregress(mean_age / mean_age.std(ddof=1), mean_score)
    assert one.loc[0, "effect"] == pytest.approx(theirs.slope)
    assert one.loc[0, "std"] == pytest.approx(theirs.stderr)
    assert one.loc[0, "pval"] == pytest.approx(theirs.pvalue)
    assert one.loc[1, "statistic"] == pytest.approx((theirs.slope / theirs.stderr) ** 2)
    assert one.loc[0, "n_samples"] == 8 and one.loc[0, "unit"] == "samples"


def test_slopes_within_levels_share_one_unit():
    rng = np.random.default_rng(12)
    within = labels("kind", np.repeat(["x", "y"], 200))
    age = np.where(within.codes == 0, rng.normal(0, 1, 400), rng.normal(0, 5, 400))
    scores = 0.3 * age[:, None] + 0.01 * rng.normal(size=(400, N_FACTORS))
    rows = run(scores, age, within=within)
    single = rows[rows["factor"] != "all"]
    np.testing.assert_allclose(single["effect"], 0.3 * age.std(ddof=1), rtol=0.01)


def test_within_is_the_analysis_of_those_cells_alone():
    rng = np.random.default_rng(13)
    scores, treatment, sample, _ = donors(rng, n_each=60)
    within = labels("kind", rng.choice(["x", "y"], len(scores)))
    both = run(scores, treatment, sample=sample, within=within)
    for code, name in enumerate("xy"):
        rows = within.codes == code
        alone = run(scores[rows], treatment.take(rows), sample=sample.take(rows))
        ours = both[both["within"] == name].reset_index(drop=True)
        for column in ("effect", "std", "statistic", "pval", "auc"):
            np.testing.assert_allclose(ours[column], alone[column])


def test_adjusted_over_the_factors_and_the_omnibus_apart():
    rng = np.random.default_rng(14)
    rows = run(rng.normal(size=(300, N_FACTORS)), labels("g", rng.choice(["x", "y", "z"], 300)))
    single = rows["factor"] != "all"
    for part in (rows[single], rows[~single]):
        np.testing.assert_allclose(part["padj"], stats.false_discovery_control(part["pval"]))


def test_levels_with_too_few_samples_or_cells_are_kept_without_a_test():
    rng = np.random.default_rng(15)
    scores, _, sample, donor = donors(rng)
    kind = np.where(donor == 0, "one_donor", rng.choice(["x", "y"], len(donor))).astype(object)
    kind[np.flatnonzero(donor == 3)[:4]] = "four_cells"
    rows = run(scores, labels("kind", kind), sample=sample)
    untested = rows[rows["level"].isin(["one_donor", "four_cells"])]
    assert len(untested) == 2 * (N_FACTORS + 1)
    assert untested[["effect", "std", "statistic", "pval", "padj"]].isna().all(axis=None)
    assert (untested["n_samples"] == 0).all()
    assert rows.loc[rows["level"] == "one_donor", "auc"].notna().sum() == N_FACTORS  # enough cells to describe
    assert rows.loc[rows["level"] == "four_cells", "auc"].isna().all()
    assert rows.loc[rows["level"] == "x", "pval"].notna().all()
    assert (rows.loc[rows["level"] == "x", "n_samples"] == 8).all()  # the one of one level says nothing
    few = run(scores, labels("kind", np.where(np.arange(len(donor)) < 4, "few", "rest")))
    assert few.loc[few["level"] == "rest", "pval"].isna().all()


def test_a_level_missing_from_a_part_is_kept_there():
    rng = np.random.default_rng(16)
    kind = np.repeat(["x", "y", "x"], 50)
    within = labels("batch", np.repeat(["b0", "b0", "b1"], 50))
    rows = run(rng.normal(size=(150, N_FACTORS)), labels("kind", kind), within=within)
    missing = rows[rows["within"] == "b1"]
    assert (missing["level"] == "y").all() and missing["pval"].isna().all() and (missing["n_cells"] == 0).all()
    slope = np.where(within.codes == 1, 3.0, rng.normal(size=150))
    rows = run(rng.normal(size=(150, N_FACTORS)), slope, within=within)
    assert rows.loc[rows["within"] == "b1", "pval"].isna().all()
    assert rows.loc[rows["within"] == "b0", "pval"].notna().all()


def test_samples_of_few_cells_do_not_count():
    rng = np.random.default_rng(17)
    scores, treatment, sample, donor = donors(rng)
    keep = (donor > 0) | (np.arange(len(donor)) < 4)
    rows = run(scores[keep], treatment.take(keep), sample=sample.take(keep))
    assert (rows["n_samples"] == 7).all()


def test_cells_without_a_label_are_left_out():
    rng = np.random.default_rng(18)
    scores, treatment, sample, _ = donors(rng)
    gone = rng.random(len(scores)) < 0.2
    without = Labels("treatment", treatment.levels, np.where(gone, -1, treatment.codes))
    expected = run(scores[~gone], treatment.take(~gone), sample=sample.take(~gone))
    pd.testing.assert_frame_equal(run(scores, without, sample=sample), expected)
    sampleless = Labels("donor", sample.levels, np.where(gone, -1, sample.codes))
    pd.testing.assert_frame_equal(run(scores, treatment, sample=sampleless), expected)
    age = np.where(gone, np.nan, rng.normal(size=len(scores)))
    pd.testing.assert_frame_equal(run(scores, age), run(scores[~gone], age[~gone]))


def test_a_level_that_no_cell_has_does_not_count():
    rng = np.random.default_rng(19)
    scores = rng.normal(size=(60, N_FACTORS))
    codes = rng.integers(0, 2, 60)
    rows = run(scores, Labels("kind", ["a", "b", "unused"], codes))
    assert set(rows["level"]) == {"b"}


@pytest.mark.parametrize("with_samples", [True, False])
def test_a_constant_factor_is_not_tested(with_samples):
    rng = np.random.default_rng(20)
    scores, treatment, sample, donor = donors(rng)
    kwargs = {"sample": sample} if with_samples else {}
    scores[:, 1] = 0.1
    for values in (treatment, rng.normal(size=8)[donor]):
        rows = run(scores, values, **kwargs)
        assert rows.loc[1, ["std", "statistic", "pval"]].isna().all()
        assert rows.loc[1, "effect"] == pytest.approx(0.0, abs=1e-12)
        assert rows.loc[[0, 2, 3, 4, 5, 6], "pval"].notna().all()


def test_a_key_that_says_nothing_is_refused():
    scores, _, sample, _ = donors(np.random.default_rng(21))
    one = labels("kind", np.full(len(scores), "x"))
    with pytest.raises(ValueError, match="`key` must name a column with at least 2 levels, but 'kind' has 'x'; name"):
        associate(scores, FACTORS, "kind", one)
    with pytest.raises(ValueError, match="at least 2 levels, but 'kind' has none; name another"):
        associate(scores, FACTORS, "kind", Labels("kind", ["x", "y"], np.full(len(scores), -1)))
    with pytest.raises(ValueError, match="`key` must name a column that varies between cells, which 'age' does not"):
        associate(scores, FACTORS, "age", np.full(len(scores), 0.1))
    alternating = np.tile([1.0, 2.0], len(scores) // 2)  # the same mean in every sample
    with pytest.raises(ValueError, match="varies between samples of at least 5 cells, which 'age' does not"):
        associate(scores, FACTORS, "age", alternating, sample)


def test_association_without_samples_is_that_of_the_scores(fit, simulated):
    found = associate_factors(fit, simulated, key="population")
    assert set(found["unit"]) == {"cells"} and set(found["within"]) == {"all"}
    scores, mine = get_latent(fit), (simulated.obs["population"] == "P1").to_numpy()
    row = found[(found["factor"] == "Z_1") & (found["level"] == "P1")].iloc[0]
    effect = scores["Z_1"][mine].mean() - scores["Z_1"][~mine].mean()
    assert row["effect"] == pytest.approx(effect, rel=1e-6)
    auc = stats.mannwhitneyu(scores["Z_1"][mine], scores["Z_1"][~mine]).statistic / (mine.sum() * (~mine).sum())
    assert row["auc"] == pytest.approx(auc, abs=1e-9)
    assert row["n_cells"] == mine.sum()


def test_association_finds_populations_and_the_treatment_by_samples(fit, simulated):
    groups = associate_factors(fit, simulated, key="population")
    assert (groups.loc[groups["factor"] == "all", "pval"] < 1e-10).all()
    found = associate_factors(fit, simulated, key="treatment", sample_key="sample", within="population")
    assert set(found["within"]) == {"P0", "P1", "P2"} and set(found["unit"]) == {"samples"}
    assert (found["n_samples"] == 6).all() and set(found["level"]) == {"treated"}
    shuffled = simulated.copy()
    shuffled.obs["coin"] = np.random.default_rng(0).choice(["a", "b"], 600)
    null = associate_factors(fit, shuffled, key="coin")
    assert null["pval"].min() > 1e-3
