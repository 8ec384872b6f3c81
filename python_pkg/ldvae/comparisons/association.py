"""Which factors go with which groups, treatments or measurements: per factor and for all factors at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..stats.testing import bh
from .factor_tests import Columns, Result, contrasts, slopes

if TYPE_CHECKING:
    from ..counts.labels import Labels

__all__ = ["associate"]


def associate(
    scores: np.ndarray,
    factor_names: Sequence[str],
    key: str,
    values: Labels | np.ndarray,
    sample: Labels | None = None,
    within: Labels | None = None,
    adjust: Columns | None = None,
) -> dict[str, Any]:
    """Relate every factor to an annotation of the cells.

    A categorical key compares each level with all other cells (of two levels, the second with the first); a numeric
    key gives a slope. With samples, the sample is the replicate: scores are averaged per sample (and level) first,
    levels that vary within samples are compared within them, and variances are moderated over the factors. Without
    samples the p-values treat cells as independent: they describe these cells and say nothing of other donors or
    animals, however small they are.

    Parameters
    ----------
    scores
        Factor scores, (n_cells, K), in standard deviations of each factor.
    factor_names
        Their names, K.
    key, values
        Name of the annotation and its values: labels, or an array (n_cells,) of numbers. Cells without a value (of
        any of the annotations) are left out.
    sample
        Sample (donor, animal, culture) of each cell.
    within
        Repeat the analysis inside each of its levels.
    adjust
        Columns of the design for some samples (by number): what is adjusted for.

    Returns
    -------
    dict
        Columns of the table "association", K + 1 rows per level of `within` and level of `key`:

        * `factor`: its name, or "all" for Hotelling's T² of all factors at once, which no rotation of them changes;
        * `key`, `level` (numbers: "per standard deviation"),
          `within` ("all" without it), `unit` ("samples" or "cells");
        * `effect`: difference of mean scores, or slope per standard deviation of the key (that of all of
          `within`; of sample means, with samples), in standard deviations of the factor; `std` its standard error;
        * `statistic`, `pval`: t (moderated with samples, Welch's without), F for "all"; NaN where a side has fewer
          than two samples, or too few cells;
        * `padj`: Benjamini-Hochberg over all single factors of the call, and over all "all";
        * `auc`: probability that a cell of the level scores higher than another cell (ties count half);
        * `n_cells`: cells of the level (of the slope); `n_samples`: different samples the test rests on.

        A sample counts for a mean of at least five cells.

    Raises
    ------
    ValueError
        If the key has fewer than two levels or its numbers do not vary.
    """
    scores = np.asarray(scores, dtype=np.float64)
    used = np.isfinite(values) if isinstance(values, np.ndarray) else values.codes >= 0
    for labels in (sample, within):
        used = used if labels is None else used & (labels.codes >= 0)
    if isinstance(values, np.ndarray):
        analyse = slopes(key, values, used, sample, adjust)
    else:
        analyse = contrasts(key, values, used, adjust)

    columns: dict[str, list[np.ndarray]] = {}
    refused, n_results = [], 0
    for name, rows in _strata(used, within):
        results = analyse(scores[rows], rows, None if sample is None else sample.codes[rows])
        refused += [result.refused for result in results if result.refused]
        n_results += len(results)
        for result in results:
            for column, block in _rows(result, name, factor_names).items():
                columns.setdefault(column, []).append(block)
    table: dict[str, Any] = {column: np.concatenate(blocks) for column, blocks in columns.items()}
    if refused and len(refused) == n_results:
        raise ValueError(f"`{'sample_key' if adjust is None else 'adjust'}`: {refused[0]}.")
    if refused:
        checks.warn(f"{len(refused)} of {n_results} comparisons are not tested, the first because {refused[0]}.")
    omnibus = table["factor"] == "all"
    padj = np.empty(len(omnibus))
    padj[omnibus], padj[~omnibus] = bh(table["pval"][omnibus]), bh(table["pval"][~omnibus])
    return {**table, "padj": padj, "key": key, "unit": "cells" if sample is None else "samples"}


def _strata(used: np.ndarray, within: Labels | None) -> Iterator[tuple[str, np.ndarray]]:
    if within is None:
        yield "all", np.flatnonzero(used)
        return
    for code in np.unique(within.codes[used]):
        yield within.levels[code], np.flatnonzero(used & (within.codes == code))


def _rows(result: Result, within: str, factors: Sequence[str]) -> dict[str, np.ndarray]:
    """One result as rows of the table: the factors, then all of them together."""
    n_rows = len(factors) + 1
    return {
        "factor": np.array([*factors, "all"], dtype=object),
        "level": np.full(n_rows, result.level, dtype=object),
        "within": np.full(n_rows, within, dtype=object),
        "effect": np.append(result.effect, np.nan),
        "std": np.append(result.std, np.nan),
        "statistic": np.append(result.statistic, result.omnibus[0]),
        "pval": np.append(result.pvalue, result.omnibus[1]),
        "auc": np.append(result.auc, np.nan),
        "n_cells": np.full(n_rows, result.n_cells),
        "n_samples": np.full(n_rows, result.n_samples),
    }
