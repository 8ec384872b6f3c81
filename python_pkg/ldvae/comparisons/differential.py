"""Differential expression between any two groups of cells, as a posterior over log2 fold changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import nbinom, norm
from scipy.stats import t as t_distribution

from ..counts.reader import Counts
from ..fit.cells import Cells
from ..fit.posterior import rebuild
from ..fit.record import Fit
from ..stats.centre import centre
from ..stats.replicates import NotEnough, SampleDesign, without_shifts
from ..stats.replicates import compare_samples as compare_rows
from ..stats.shrinkage import ash
from ..stats.testing import bh, log_odds, normal_equivalent, posterior_fdr
from ..tables import LN2
from .batches import warn_apart
from .means import Means
from .moments import HALF_COUNT, Group, counted
from .pairs import compare_pairs
from .plan import Comparison, Plan, leave_out
from .samples import Adjust, SampleRows, design_of, sample_rows, say

__all__ = ["Columns", "Settings", "compare", "contrast", "group_means", "sample_columns", "stacked"]

_MIN_COUNTS, _MIN_DETECTED = 10, 5  # a gene below either in both groups is not tested
_NULL_PENALTY = 3.0  # milder than for loadings: calls ask for more than a non-zero change, and intervals are reported
_FEW_CELLS = 50  # below, a group's mean is not normal on the log scale
_MIN_GENES = 100  # of fewer, most may have changed: what most do is then taken to be no change
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Counted:
    """What was counted in a group, as in `moments.Group`."""

    n: float
    count: np.ndarray
    detected: np.ndarray
    share: np.ndarray


_Observed = Group | _Counted


@dataclass(frozen=True)
class Settings:
    """How groups are compared: what `differential_expression` is told beside which cells."""

    estimand: str
    delta: float
    batch_correction: bool
    fdr_target: float
    n_samples: int
    seed: int
    adjust: Adjust | None = None


def compare(fit: Fit, cells: Cells, plan: Plan, settings: Settings, beyond: Counts | None = None) -> dict[str, Any]:
    """The columns of the table: all comparisons of the plan, all genes in each, those `beyond` the fit last."""
    comparisons = plan.comparisons
    if settings.estimand == "cell":
        found = compare_cells(fit, cells, plan, settings)
    elif plan.samples:
        comparisons, found = compare_samples(group_means(fit, cells, plan, settings, beyond), cells, plan, settings)
    else:
        found = compare_means(group_means(fit, cells, plan, settings, beyond), plan, settings)
    genes = fit.genes if beyond is None else np.concatenate([fit.genes, beyond.genes])
    columns = {"pval": np.nan, "padj": np.nan, "n_samples1": 0, "n_samples2": 0, "paired": 0}
    return columns | stacked(comparisons, found, genes)


def stacked(comparisons: list[Comparison], found: list[Columns], genes: np.ndarray) -> dict[str, Any]:
    """One table of all comparisons, with their names and genes."""
    names = {
        name: np.repeat(np.array([getattr(c, name) for c in comparisons], dtype=object), len(genes))
        for name in ("within", "group1", "group2")
    }
    columns = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
    return {**names, "gene": np.tile(genes, len(comparisons)), **columns}


def compare_means(means: Means, plan: Plan, settings: Settings) -> list[Columns]:
    """Log2 fold change of mean expression, cells as the units of sampling: one dict of columns per comparison.

    The estimate of each gene (`moments.pool`, at the average batch by `Means`) goes with its standard error through
    the mixture-prior empirical Bayes of `ash` over the genes of a comparison.
    """
    out = []
    for comparison in plan.comparisons:
        units1, units2 = comparison.units1, comparison.units2
        one, two = means.group(units1), means.group(units2)
        effect, std = contrast(one, two, means.extra([(units1, 1.0), (units2, -1.0)]))
        tested = is_tested(one, two)
        posterior = _posterior(np.where(tested, effect, np.nan), std, settings)
        out.append({**posterior, **_raw(one, two, [1e4 * np.exp(group.log_mean) for group in (one, two)])})
    return out


def group_means(fit: Fit, cells: Cells, plan: Plan, settings: Settings, beyond: Counts | None) -> Means:
    """Means of the plan's units; said is which comparisons batches make uncertain."""
    means = Means(
        fit, cells, plan.codes, len(plan.sample), correct=settings.batch_correction, seed=settings.seed,
        parts=plan.parts(), mixed=plan.mixed, beyond=beyond,
    )  # fmt: skip
    if cells.batch is not None and settings.batch_correction and not plan.samples:
        warn_apart([c.title for c in plan.comparisons if means.apart(c.units1, c.units2)], cells.batch)
    return means


def compare_samples(
    means: Means, cells: Cells, plan: Plan, settings: Settings
) -> tuple[list[Comparison], list[Columns]]:
    """The same with samples as the units of sampling: moderated t on log means of samples, paired where possible."""
    batches = settings.batch_correction and cells.batch is not None
    kept, out, refused, said = [], [], [], []
    for comparison in plan.comparisons:
        rows = sample_rows(means, plan, comparison)
        try:
            title = comparison.group1, comparison.group2
            design, unclear = design_of(rows, plan.samples, settings.adjust, title, comparison.slope, batches)
        except NotEnough as error:
            refused.append(str(error))
            continue
        columns = sample_columns(rows, design, comparison, plan, means, settings)
        kept.append(comparison)
        said.append((comparison.title, design, unclear))
        out.append(columns)
    say(said, cells.batch)
    leave_out(refused, len(kept))
    return kept, out


def sample_columns(
    rows: SampleRows, design: SampleDesign, comparison: Comparison, plan: Plan, means: Means, settings: Settings
) -> Columns:
    """The columns of one comparison of samples."""
    units1, units2 = comparison.units1, comparison.units2
    if comparison.slope:  # expression at the highest and at the lowest value
        value = plan.value[comparison.units1]
        units1, units2 = (comparison.units1[value == at] for at in (rows.x.max(), rows.x.min()))
    one, two = means.pooled(units1), means.pooled(units2)
    y = without_shifts(rows.y, rows.variance, design.design)
    test = compare_rows(y, design, rows.variance)
    effect, std, df = np.where(is_tested(one, two), test["effect"], np.nan), test["std"], test["df"]
    at, _ = _no_change(effect, std)
    posterior = _posterior(effect, normal_equivalent(std, (effect - at) / std, df), settings)
    pvalue = _treat(effect - at, std, df, settings.delta)
    posterior |= {"pval": pvalue, "padj": bh(pvalue)}
    posterior["is_de"] = posterior["padj"] < settings.fdr_target
    log2 = [rows.y[rows.x == at].mean(0) for at in (rows.x.max(), rows.x.min())]
    counts = {"n_samples1": design.n1, "n_samples2": design.n2, "paired": design.paired}
    repeated = {name: np.full(rows.y.shape[1], value) for name, value in counts.items()}
    return {**posterior, **_raw(one, two, [1e4 * np.exp2(y) for y in log2]), **repeated}


def compare_cells(fit: Fit, cells: Cells, plan: Plan, settings: Settings) -> list[Columns]:
    """Log2 fold change between random pairs of cells (`pairs.compare_pairs`)."""
    model, rng = rebuild(fit), np.random.default_rng(settings.seed)
    n = np.bincount(plan.codes[plan.codes >= 0]).astype(float)
    sums, _, _ = counted(cells.counts, plan.codes, len(n))
    out = []
    for comparison in plan.comparisons:
        rows = [plan.rows(units) for units in (comparison.units1, comparison.units2)]
        one, two = (_pooled(sums, n, u) for u in (comparison.units1, comparison.units2))
        found = compare_pairs(
            model, cells, *rows, delta=settings.delta, batch_correction=settings.batch_correction,
            n_samples=settings.n_samples, rng=rng,
        )  # fmt: skip
        tested = is_tested(one, two)
        means = [found.pop(name) for name in ("mean1", "mean2")]
        columns = {name: np.where(tested, values, np.nan) for name, values in found.items()}
        probability = columns["proba_de"]
        columns |= {"is_de": posterior_fdr(probability, settings.fdr_target), "bayes_factor": log_odds(probability)}
        out.append({**columns, **_raw(one, two, means)})
    return out


def contrast(one: Group, two: Group, extra: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Log2 fold change of each gene and its standard error.

    On the log scale a normal error misjudges small counts. The standard error is therefore the one with which a normal
    test has the evidence of the likelihood ratio of the two (overdispersed) counts, within a factor of two of the
    delta method's. `extra` is the variance of what batches add to the difference (natural log).
    """
    effect = one.log_mean - two.log_mean
    wald = np.sqrt(one.variance_if(effect > 0) + two.variance_if(effect < 0))
    exposure = one.exposure + two.exposure
    observed = [g.count + g.exposure / exposure for g in (one, two)]  # one count, shared so that it favours no group
    weight = [1 / np.maximum(g.rate_dispersion, 1e-12) for g in (one, two)]
    rate = sum(w * y for w, y in zip(weight, observed, strict=True)) / sum(
        w * g.exposure for w, g in zip(weight, (one, two), strict=True)
    )
    deviance = np.zeros_like(effect)
    for y, w, group in zip(observed, weight, (one, two), strict=True):
        deviance += 2 * w * (y * np.log(y / (group.exposure * rate)) - y + group.exposure * rate)
    root = np.sqrt(np.maximum(deviance, 0))
    same = (np.log(observed[0] / one.exposure) > np.log(observed[1] / two.exposure)) == (effect > 0)
    usable = same & (root > 1e-3)
    factor = np.where(usable, np.clip(np.abs(effect) / np.where(usable, root, 1.0) / wald, 0.5, 2.0), 1.0)
    std = factor * wald
    if min(one.n, two.n) < _FEW_CELLS:
        std = np.maximum(std, np.abs(effect) / _evidence_of_few(one, two, effect))
    return effect / LN2, np.sqrt(std**2 + extra) / LN2


def _evidence_of_few(one: Group, two: Group, effect: np.ndarray) -> np.ndarray:
    """Standard normal deviate with the tail probability of the smaller group's count, were it like the larger group.

    Cells vary as in the larger group, so the sum of a few has a negative binomial distribution; what the larger group
    leaves open of the mean widens it.
    """
    (few, many), up = ((one, two), effect > 0) if one.n <= two.n else ((two, one), effect < 0)
    expected = (few.count + HALF_COUNT) * np.exp(many.log_mean - few.log_mean)
    shape = 1 / np.maximum(many.spread / few.n + many.variance, 1e-6)
    success = shape / (shape + expected)
    tail = np.where(up, nbinom.sf(few.count - 1, shape, success), nbinom.cdf(few.count, shape, success))
    return np.maximum(norm.isf(np.clip(tail, 1e-300, 0.5)), 0.05)


def is_tested(one: _Observed, two: _Observed) -> np.ndarray:
    """Whether a gene has, in one of the groups, enough counts in enough cells to say anything."""
    enough = [(g.count >= _MIN_COUNTS) & (np.rint(g.detected * g.n) >= _MIN_DETECTED) for g in (one, two)]
    return enough[0] | enough[1]


def _no_change(effect: np.ndarray, std: np.ndarray) -> tuple[float, float]:
    """The change of the genes that do not change, and its standard error."""
    known = np.isfinite(effect) & (std > 0)
    if known.sum() < _MIN_GENES:
        return 0.0, 0.0
    # no less than the error of a mean, about that of a median
    return centre(effect, std), 1.2533 / math.sqrt((1 / std[known] ** 2).sum())


def _treat(effect: np.ndarray, std: np.ndarray, df: np.ndarray, delta: float) -> np.ndarray:
    """P-value of a change beyond `delta`: t test against the largest change that does not count (limma's treat)."""
    size = np.abs(effect)
    return np.asarray(t_distribution.sf((size - delta) / std, df) + t_distribution.sf((size + delta) / std, df))


def _posterior(effect: np.ndarray, std: np.ndarray, settings: Settings) -> Columns:
    """Shrink the effects of one comparison towards the change of most genes, and read the posterior off.

    Expression is a share of the library: what one gene gains, all others lose, so "no change" is not at zero but
    where the unchanged genes lie: at the mode (`centre`). Genes there keep that small change, and are never sure of
    its sign.
    """
    at, spread = _no_change(effect, std)
    shrunk = ash(effect - at, std, null_penalty=_NULL_PENALTY)

    def beyond(change: float) -> np.ndarray:
        """Probability of a change of at least this in one direction, that of most genes left out."""
        upper = 1 - shrunk.below(change - at) - (change <= at) * shrunk.lfdr
        lower = shrunk.below(-change - at) - (-change > at) * shrunk.lfdr
        return np.clip(np.maximum(upper, lower), 0, 1)

    probability = beyond(settings.delta)
    lower, median, upper = shrunk.quantiles(0.025, 0.5, 0.975) + at
    return {
        "proba_de": probability,
        "is_de": posterior_fdr(probability, settings.fdr_target),
        "lfsr": 1 - beyond(0.0),
        "bayes_factor": log_odds(probability),
        "lfc_mean": np.where(np.isfinite(shrunk.std), shrunk.mean + at, np.nan),
        "lfc_median": median,
        "lfc_std": np.hypot(shrunk.std, spread),
        "lfc_lower": lower - 1.96 * spread,
        "lfc_upper": upper + 1.96 * spread,
    }


def _raw(one: _Observed, two: _Observed, means: list[np.ndarray]) -> Columns:
    out: Columns = {}
    for i, (group, mean) in enumerate(zip((one, two), means, strict=True), start=1):
        out |= {f"mean{i}": mean, f"raw_mean{i}": 1e4 * group.share, f"detected{i}": group.detected}
    return out


def _pooled(sums: dict[str, np.ndarray], n: np.ndarray, units: Any) -> _Counted:
    n_cells, each = n[units].sum(), {name: values[units].sum(0) for name, values in sums.items()}
    return _Counted(n_cells, each["count"], each["detected"] / n_cells, each["share"] / n_cells)
