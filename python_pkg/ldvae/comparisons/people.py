"""What can be seen to be wrong about samples: labels that are none, persons counted twice or taken for each other."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd

from ..checks import shown, warn
from ..counts.labels import Labels, check_levels

__all__ = ["say_samples"]

# What does not change within a person, as columns are called.
_CONSTANT = (
    "sex",
    "gender",
    "age",
    "donor_age",
    "ethnicity",
    "self_reported_ethnicity",
    "genotype",
    "strain",
    "species",
)


def say_samples(adata: Any, sample: Labels, groups: Labels) -> None:
    """Warn of cells without a sample, of samples that are one per group, and of samples that are several people.

    Raises
    ------
    ValueError
        If samples are nearly single cells.
    """
    check_levels(sample, "sample_key")
    taken = groups.codes >= 0
    missing = int((taken & (sample.codes < 0)).sum())
    if missing:
        warn(f"{missing:,} of {int(taken.sum()):,} cells have no value of {sample.key!r} and take no part.")
    taken &= sample.codes >= 0
    pairs = np.unique(np.c_[sample.codes, groups.codes][taken], axis=0)
    once = len(pairs) == len(np.unique(pairs[:, 0]))
    if once and (alike := _same_but_for_group(pairs, sample, groups)):
        warn(
            f"Samples of {sample.key!r} seem to be parts of the same ones ({shown(alike, 4)}): give a column that "
            "names them alike in all groups, so that they are compared with themselves."
        )
    if not once:
        for column in [c for c in adata.obs if str(c).lower() in _CONSTANT and c not in (sample.key, groups.key)]:
            people = pd.Series(adata.obs[column].astype(str).to_numpy()[taken]).groupby(sample.codes[taken]).nunique()
            several = [sample.levels[i] for i in people.index[people > 1]]
            if several:
                warn(
                    f"Samples of {sample.key!r} with cells of several groups are compared with themselves, but "
                    f"{shown(several)} have several values of {str(column)!r}: are numbers of donors used twice?"
                )


def _same_but_for_group(pairs: np.ndarray, sample: Labels, groups: Labels) -> list[str]:
    """Samples whose names are the same without that of their group ("S1_B", "S1_T")."""
    known = defaultdict(list)
    for s, g in pairs:
        name, group = sample.levels[s], groups.levels[g]
        rest, n = re.subn(rf"(?<![^\W_]){re.escape(group)}(?![^\W_])", "", name, count=1)
        if n:
            known[rest.strip(" _-.:|/")].append((name, g))
    found = [names for rest, names in known.items() if rest and len({g for _, g in names}) > 1]
    return [name for names in found for name, _ in names] if len(found) > 1 else []
