"""Two groups of samples: samples, not cells, are the replicates, and are paired where they can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .moderation import moderated_contrast

__all__ = ["SampleDesign", "sample_design", "two_groups"]


class SampleDesign(NamedTuple):
    """Two groups of samples, ready for a linear model.

    Attributes
    ----------
    y
        Responses, (n_rows, n_features): one row per sample of each group, or per pair its difference.
    design, contrast
        Design matrix (n_rows, n_coefficients) and the contrast of its coefficients that is group 1 minus group 2.
    n_samples
        Different samples that take part.
    paired
        Whether each row is a sample's difference between the groups.
    """

    y: np.ndarray
    design: np.ndarray
    contrast: np.ndarray
    n_samples: int
    paired: bool


def sample_design(
    y1: np.ndarray,
    samples1: Sequence[str],
    y2: np.ndarray,
    samples2: Sequence[str],
    names: tuple[str, str] = ("group1", "group2"),
) -> SampleDesign:
    """Decide how two groups of samples are to be compared; see `two_groups` for the arguments and the rule."""
    groups = [(np.asarray(y1, dtype=np.float64), list(samples1)), (np.asarray(y2, dtype=np.float64), list(samples2))]
    for name, (_, samples) in zip(names, groups, strict=True):
        if len(samples) < 2:
            count = f"{len(samples)} sample{'' if len(samples) == 1 else 's'}"
            raise ValueError(f"group '{name}' has {count}; a comparison with sample_key needs at least 2 per group")
    (y1, samples1), (y2, samples2) = groups
    rows1, rows2 = ({sample: row for row, sample in enumerate(samples)} for _, samples in groups)
    shared = [sample for sample in rows1 if sample in rows2]
    if len(shared) >= 2 and 2 * len(shared) > min(len(rows1), len(rows2)):
        # One coefficient per sample would use a sample found in one group up entirely: only pairs carry information.
        difference = y1[[rows1[s] for s in shared]] - y2[[rows2[s] for s in shared]]
        return SampleDesign(difference, np.ones((len(shared), 1)), np.ones(1), len(shared), True)
    design = np.zeros((len(samples1) + len(samples2), 2))
    design[: len(samples1), 0] = design[len(samples1) :, 1] = 1.0
    return SampleDesign(np.vstack([y1, y2]), design, np.array([1.0, -1.0]), len(rows1.keys() | rows2.keys()), False)


def two_groups(
    y1: np.ndarray,
    samples1: Sequence[str],
    y2: np.ndarray,
    samples2: Sequence[str],
    names: tuple[str, str] = ("group1", "group2"),
) -> dict[str, np.ndarray | int | bool]:
    """Compare two groups of samples, paired by sample where the samples allow it.

    Paired when at least two samples, and most samples of the smaller group, are in both groups (as when a treated
    and an untreated half of each donor are compared, or two cell types within donors); samples in one group only then
    drop out. Otherwise unpaired with a common variance; samples in both groups then make the test cautious.

    Parameters
    ----------
    y1, y2
        One value per sample and feature, (n_samples, n_features).
    samples1, samples2
        Names of the rows, different within a group.
    names
        Names of the groups, for the error message.

    Returns
    -------
    dict
        Arrays (n_features,) `effect` (group 1 minus group 2), `std`, `statistic`, `df`, `pvalue` as in
        `moderated_contrast`; `n_samples`, the number of different samples used; `paired`.

    Raises
    ------
    ValueError
        If a group has fewer than two samples.
    """
    comparison = sample_design(y1, samples1, y2, samples2, names)
    tested = moderated_contrast(comparison.y, comparison.design, comparison.contrast)
    return {**tested, "n_samples": comparison.n_samples, "paired": comparison.paired}
