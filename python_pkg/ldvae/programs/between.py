"""What sets a population apart: its mean expression against that of the other populations."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ..checks import note, shown
from ..comparisons.means import Means
from ..comparisons.samples import Adjust
from ..counts.labels import Labels
from ..counts.reader import Counts
from ..fit.cells import Cells
from ..fit.record import Fit
from ..stats.replicates import NotEnough, SampleDesign, compare_samples
from ..stats.shrinkage import ash
from ..stats.testing import normal_equivalent, simes
from .program import Program

__all__ = ["between_programs"]

_MIN_CELLS = 5  # of a population (or of a sample in it): the mean of fewer is no mean
_MIN_COUNTS = 10.0  # of a gene in all populations compared


def between_programs(
    fit: Fit,
    cells: Cells,
    labels: Labels,
    samples: Labels | None,
    reference: list[str] | None,
    seed: int,
    adjust: Adjust | None = None,
    beyond: Counts | None = None,
) -> list[Program]:
    """Log mean expression of each population less the average over the reference populations, each counted alike.

    Means are those of `means.Means`: the model's, corrected by the counts, at the average batch. Their error is that
    of other cells of the same populations or, with samples, of other samples (moderated t on the differences within
    samples). The program's p-value combines those of the genes (Simes).

    Parameters
    ----------
    reference
        Names of populations; None: all others.
    adjust
        Covariates of samples: differences are those at their average.
    beyond
        Genes that the fit does not model; they come after its own.
    """
    n_cells = np.array([(labels.codes == i).sum() for i in range(len(labels.levels))])
    kept = [i for i in range(len(labels.levels)) if n_cells[i] >= _MIN_CELLS]
    if len(kept) < 2:
        raise ValueError(
            f"`groupby` must have at least two populations of {_MIN_CELLS} cells, and {labels.key!r} has {len(kept)}."
        )
    if len(kept) < len(labels.levels):
        small = [labels.levels[i] for i in range(len(labels.levels)) if i not in kept]
        note(f"Populations with fewer than {_MIN_CELLS} cells are left out: {shown(small)}.")
    n_samples = 1 if samples is None else len(samples.levels)
    codes = labels.codes * n_samples + (0 if samples is None else samples.codes)
    codes[(labels.codes < 0) | (False if samples is None else samples.codes < 0)] = -1
    means = Means(fit, cells, codes, len(labels.levels) * n_samples, correct=True, seed=seed, beyond=beyond)
    tested = means.found.sums["count"].sum(0) >= _MIN_COUNTS
    programs = []
    for i in kept:
        others = [j for j in kept if j != i and (reference is None or labels.levels[j] in reference)]
        if others:
            units = [np.arange(j * n_samples, (j + 1) * n_samples) for j in [i, *others]]
            effect, std = _by_cells(means, units) if samples is None else _by_samples(means, units, adjust)
            shrunk = ash(np.where(tested, effect, np.nan), std)
            pvalue = simes(2 * norm.sf(np.abs(effect / std)[tested]))
            program = Program(
                population=labels.levels[i],
                kind="between",
                name="between",
                loading=shrunk.mean,
                std=shrunk.std,
                lfsr=shrunk.lfsr,
                tested=tested,
                pvalue=pvalue,
                ratio=float("nan"),
                n_cells=int(n_cells[i]),
                share=1.0,
            )
            programs.append(program)
    return programs


def _by_cells(means: Means, units: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    own, *rest = (means.group(u) for u in units)
    effect = own.log_mean - np.mean([r.log_mean for r in rest], axis=0)
    reference = np.sum([r.variance_if(effect < 0) for r in rest], axis=0) / len(rest) ** 2
    extra = means.extra([(units[0], 1.0), *((u, -1 / len(rest)) for u in units[1:])])
    return effect, np.sqrt(own.variance_if(effect > 0) + reference + extra)


def _by_samples(means: Means, units: list[np.ndarray], adjust: Adjust | None) -> tuple[np.ndarray, np.ndarray]:
    """Differences within samples (`units`: of the population and of each other, the unit of every sample)."""
    differences, variances, kept = [], [], []
    for s, (own, *others) in enumerate(zip(*units, strict=True)):
        present = [j for j in others if means.n[j] >= _MIN_CELLS]
        if means.n[own] >= _MIN_CELLS and present:
            group, *rest = (means.group(np.array([j])) for j in [own, *present])
            differences.append(group.log_mean - np.mean([r.log_mean for r in rest], axis=0))
            variances.append(group.variance + np.sum([r.variance for r in rest], axis=0) / len(rest) ** 2)
            kept.append(s)
    if len(differences) < 2:
        raise ValueError(
            f"`sample_key` must have at least two samples with {_MIN_CELLS} cells of each population and of another; "
            f"one population has {len(differences)}; labels that tell samples apart are for differential_expression."
        )
    n = len(kept)
    columns = np.zeros((n, 0))
    if adjust is not None:
        try:
            columns = adjust.of(np.array(kept))
        except NotEnough as error:
            raise ValueError(f"`adjust`: {error}.") from None
    design = SampleDesign(
        np.column_stack([np.ones(n), columns]), np.eye(1, 1 + columns.shape[1])[0], np.ones(n, bool), n, 0, n, n
    )
    if columns.shape[1] and design.df < 2:
        raise ValueError(f"`adjust`: {n} samples with a population are too few for {columns.shape[1]} columns.")
    test = compare_samples(np.stack(differences), design, np.stack(variances))
    return test["effect"], normal_equivalent(test["std"], test["statistic"], test["df"])
