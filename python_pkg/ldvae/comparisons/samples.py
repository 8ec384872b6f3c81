"""Rows of a linear model of samples: their means, how well they are known, and what is adjusted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import checks
from ..counts.labels import Labels, read_categories, read_values
from ..stats.replicates import NotEnough, SampleDesign, sample_design
from ..tables import LN2
from .batches import warn_apart
from .means import Means
from .plan import Comparison, Plan

__all__ = ["Adjust", "SampleRows", "design_of", "read_adjust", "sample_rows", "say"]


@dataclass(frozen=True)
class Adjust:
    """Covariates of samples: `columns` has a row for each sample, missing values where a sample has none."""

    keys: list[str]
    columns: np.ndarray
    category: np.ndarray

    def of(self, samples: np.ndarray) -> np.ndarray:
        """Columns of a design for some samples: numbers centred, categories as indicators of all levels but one."""
        parts = [np.zeros((len(samples), 0))]
        for key, values, categorical in zip(self.keys, self.columns.T, self.category, strict=True):
            own = values[samples]
            if not np.isfinite(own).all():
                raise NotEnough(f"a sample has no value of {key!r} (`adjust`)")
            parts.append((own[:, None] == np.unique(own)[1:]).astype(float) if categorical else own[:, None])
        columns = np.concatenate(parts, axis=1)
        spread = columns.std(0)
        return np.asarray((columns - columns.mean(0))[:, spread > 1e-12] / spread[spread > 1e-12])


@dataclass(frozen=True)
class SampleRows:
    """Log2 means of samples (rows × genes) with their sampling variances.

    `x` is 1 in the first group and 0 in the second, or the number whose slope is asked for; `sample` numbers the
    samples, `sets` the sets of batches that groups link.
    """

    y: np.ndarray
    variance: np.ndarray
    x: np.ndarray
    sample: np.ndarray
    sets: np.ndarray


def read_adjust(adata: Any, adjust: Any, sample: Labels | None) -> Adjust | None:
    """The columns of `adata.obs` that `adjust` names, one value per sample.

    Raises
    ------
    TypeError, ValueError
        Without samples, for an unknown column, or for one that varies within a sample.
    """
    keys = [] if adjust is None else checks.strings("adjust", adjust)
    if not keys:
        return None
    if sample is None:
        raise ValueError("`adjust` needs `sample_key`: its columns are about samples, such as sex, age or site.")
    columns, category = np.full((len(sample.levels), len(keys)), np.nan), np.zeros(len(keys), dtype=bool)
    for k, key in enumerate(keys):
        if key == sample.key:
            raise ValueError("`adjust` and `sample_key` must be different columns: samples are the replicates.")
        values = read_values(adata, key, "adjust")
        values = read_categories(adata, key, "adjust", values, len(sample.levels) // 2)
        category[k] = isinstance(values, Labels)
        of_cell = values.codes.astype(float) if isinstance(values, Labels) else values
        of_cell = np.where(of_cell < 0, np.nan, of_cell) if isinstance(values, Labels) else of_cell
        for i in range(len(sample.levels)):
            own = of_cell[sample.codes == i]
            own = np.unique(own[np.isfinite(own)])
            if len(own) > 1:
                raise ValueError(
                    f"`adjust`: {key!r} must be the same in all cells of a sample, and {sample.levels[i]!r} has "
                    "several values; what varies within samples belongs into the fit (`covariate_keys`)."
                )
            columns[i, k] = own[0] if len(own) else np.nan
    return Adjust(keys, columns, category)


def sample_rows(means: Means, plan: Plan, comparison: Comparison) -> SampleRows:
    """One row per sample with enough cells in a group; of a slope, per sample and value."""
    y, variance, x, sample, sets = [], [], [], [], []
    sides = [(comparison.units1, 1.0), (comparison.units2, 0.0)]
    if comparison.slope:
        at = plan.value[comparison.units1]
        sides = [(comparison.units1[at == value], float(value)) for value in np.unique(at)]
    for units, value in sides:
        for number, own in plan.samples_of(units, means.n).items():
            group = means.group(own)
            y.append(group.log_mean / LN2)
            variance.append(group.variance / LN2**2)
            x.append(value)
            sample.append(number)
            n = np.bincount(means.sets[means.part_of[own[0]]], means.n_of_batch[own].sum(0))
            sets.append(int(n.argmax()))
    n_genes = means.found.sums["count"].shape[1]
    return SampleRows(
        np.array(y).reshape(-1, n_genes), np.array(variance).reshape(-1, n_genes), np.array(x), np.array(sample, int),
        np.array(sets, int),
    )  # fmt: skip


def design_of(
    rows: SampleRows, samples: Sequence[str], adjust: Adjust | None, title: tuple[str, str], slope: bool, batches: bool
) -> tuple[SampleDesign, bool]:
    """The model of the rows, and whether batches cannot be told from what is compared.

    Batches that no group links are covariates of the samples: they are adjusted for where that is possible and leaves
    enough to estimate variances from. Where every sample is a batch, differences between samples are those of batches,
    and there is nothing to adjust for.
    """
    names = [samples[s] for s in rows.sample]
    columns = None if adjust is None else adjust.of(rows.sample)
    found = sample_design(rows.x, names, columns, names=title, slope=slope, many=True)
    levels = np.unique(rows.sets)
    if not batches or len(levels) < 2 or len(levels) >= len(np.unique(rows.sample)):
        return found, False
    sets = (rows.sets[:, None] == levels[1:]).astype(float)
    every = sets if columns is None else np.column_stack([columns, sets])
    try:
        return sample_design(rows.x, names, every, names=title, slope=slope, many=True), False
    except NotEnough:
        return found, not slope and not set(rows.sets[rows.x == 1]) & set(rows.sets[rows.x == 0])


def say(found: list[tuple[str, SampleDesign, bool]], batch: Labels | None) -> None:
    """What a user has to know of the models of some comparisons (titles, models, batches that cannot be told)."""
    lost = [title for title, design, _ in found if design.pairs_lost]
    if lost:
        checks.warn(
            f"Too few samples are in both groups to compare them with themselves, so they are compared like different "
            f"samples, which is cautious: {checks.shown(lost, 3)}."
        )
    if batch is not None:
        warn_apart([title for title, _, unclear in found if unclear], batch)
