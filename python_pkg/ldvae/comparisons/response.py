"""Which genes answer a treatment differently in one population: differences of differences, samples as the units."""

from __future__ import annotations

import numpy as np

from ..fit.cells import Cells
from ..stats.replicates import NotEnough
from .differential import Columns, Settings, sample_columns
from .means import Means
from .plan import Comparison, Plan, leave_out
from .samples import SampleRows, design_of, sample_rows, say

__all__ = ["compare_responses"]


def compare_responses(
    means: Means, cells: Cells, plan: Plan, settings: Settings, reference: list[str] | None
) -> tuple[list[Comparison], list[Columns]]:
    """Of each population (`within` of the plan) and comparison: its change less the average change of the others.

    Each sample's mean in the population, less the average of its means in the other populations, each of these less its
    own level over all samples, so that it does not matter which of them a sample has. What a sample adds to all its
    populations alike cancels. These differences are compared between the groups as means of samples are.
    """
    rows = [sample_rows(means, plan, comparison) for comparison in plan.comparisons]
    batches = settings.batch_correction and cells.batch is not None
    kept, out, refused, said = [], [], [], []
    for comparison, own in zip(plan.comparisons, rows, strict=True):
        others = [
            r
            for c, r in zip(plan.comparisons, rows, strict=True)
            if c.within != comparison.within
            and (c.group1, c.group2) == (comparison.group1, comparison.group2)
            and (reference is None or c.within in reference)
            and len(set(r.x)) > 1
        ]
        found, theirs = _against(own, others)
        try:
            if not len(found.x):
                raise NotEnough(f"no sample of {comparison.within!r} has cells of another population in the same group")
            title = comparison.group1, comparison.group2
            design, unclear = design_of(found, plan.samples, settings.adjust, title, comparison.slope, batches)
        except NotEnough as error:
            refused.append(str(error))
            continue
        kept.append(comparison)
        said.append((comparison.title, design, unclear))
        average = design.weights @ theirs
        columns = sample_columns(found, design, comparison, plan, means, settings)
        mean = {f"mean{i}": 1e4 * np.exp2(own.y[own.x == at].mean(0)) for i, at in ((1, own.x.max()), (2, own.x.min()))}
        here = design.weights @ (found.y + theirs)
        out.append({**columns, **mean, "response": here, "reference_response": average})
    say(said, cells.batch)
    leave_out(refused, len(kept))
    return kept, out


def _against(own: SampleRows, others: list[SampleRows]) -> tuple[SampleRows, np.ndarray]:
    """Rows of one population less the average of the others' rows of the same sample and group, and that average."""
    levels = [np.mean([r.y[r.x == at].mean(0) for at in np.unique(r.x)], axis=0) for r in others]
    y, variance, theirs, kept = [], [], [], []
    for i, (x, sample) in enumerate(zip(own.x, own.sample, strict=True)):
        same = [
            (r, level, np.flatnonzero((r.x == x) & (r.sample == sample)))
            for r, level in zip(others, levels, strict=True)
        ]
        same = [(r, level, at[0]) for r, level, at in same if len(at)]
        if same:
            average = np.mean([r.y[at] - level for r, level, at in same], axis=0)
            y.append(own.y[i] - average)
            variance.append(own.variance[i] + np.sum([r.variance[at] for r, _, at in same], axis=0) / len(same) ** 2)
            theirs.append(average)
            kept.append(i)
    shape = (-1, own.y.shape[1])
    rows = SampleRows(
        np.array(y).reshape(shape), np.array(variance).reshape(shape), own.x[kept], own.sample[kept], own.sets[kept]
    )
    return rows, np.array(theirs).reshape(shape)
