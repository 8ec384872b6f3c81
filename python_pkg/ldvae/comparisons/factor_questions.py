"""The public functions that ask which factors go with groups and treatments of cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.labels import read_labels, read_values
from ..fit.cells import read_data
from ..fit.posterior import factor_scores, rebuild
from ..fit.record import Fit, check_fit
from ..tables import factor_names, table
from .association import associate
from .batches import warn_apart
from .contributions import contributions
from .observed import observed_positions
from .plan import plan_comparisons
from .samples import read_adjust

__all__ = ["associate_factors", "differential_contributions"]


def associate_factors(
    fit: Fit,
    adata: Any,
    *,
    key: str,
    sample_key: str | None = None,
    within: str | None = None,
    adjust: Any = None,
    layer: str | None = None,
) -> pd.DataFrame:
    """Which factors go with which groups, treatments or measurements of cells.

    With `sample_key` the biological sample is the replicate: scores are averaged per sample (and level) first, levels
    that occur within samples are compared within them, and variances are moderated over the factors. Without it the
    p-values treat cells as independent; they describe these cells and say nothing about other donors or animals.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes.
    key
        Column of `adata.obs`: categories are each compared with all other cells (of two, the second with the first);
        numbers give a slope per standard deviation.
    sample_key
        Column of `adata.obs` with the biological samples.
    within
        Column of `adata.obs`: the analysis is repeated in each of its levels.
    adjust
        Columns of `adata.obs` that describe samples (sex, age, site), with `sample_key`; as in
        `differential_expression`.
    layer
        As in `differential_expression`.

    Returns
    -------
    DataFrame
        `factor` (active factors, and "all": Hotelling's T² of all of them, which no rotation changes), `key`,
        `level` (of numbers "per standard deviation"), `within`, `unit` ("samples" or "cells"), `effect` and its `std`
        (standard deviations of the factor), `statistic` (t, or F for "all"), `pval`, `padj` (Benjamini–Hochberg over
        all rows but "all"), `auc` of the cells' scores, `n_cells` and `n_samples`. Too few samples or cells: NaN.
    """
    fit = check_fit(fit)
    values = read_values(adata, key, "key")
    if isinstance(values, np.ndarray) and np.isinf(values).any():
        raise ValueError(
            f"`key`: the column {checks.brief(key)} has infinite values; replace them by NaN to leave those cells out."
        )
    sample = None if sample_key is None else read_labels(adata, sample_key, "sample_key")
    stratum = None if within is None else read_labels(adata, within, "within")
    covariates = read_adjust(adata, adjust, sample)
    cells = read_data(fit, adata, layer)
    fit = cells.fit
    active = np.flatnonzero(fit.factors["active"])
    if not len(active):
        raise ValueError("`fit` has no active factor, so there is nothing to associate.")
    positions, apart = observed_positions(rebuild(fit), cells, values)
    if apart and cells.batch is not None:
        warn_apart([f"levels of {key!r}"], cells.batch)
    scores = factor_scores(fit, positions, cells.variance, active)
    names = np.array(factor_names(fit.config.n_latent), dtype=object)[active].tolist()
    return table(
        "association",
        associate(scores, names, key, values, sample, stratum, None if covariates is None else covariates.of),
    )


def differential_contributions(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    group1: Any,
    group2: Any = None,
    sample_key: str | None = None,
    layer: str | None = None,
) -> pd.DataFrame:
    """Split the change of log expression between groups into what each factor contributes.

    A factor contributes its loading times the difference of the groups' mean scores; with a non-linear decoder, the
    gradient integrated along the straight line between the groups. What belongs to no factor is the row `remainder`:
    with a linear decoder the change of the normaliser (one constant for all genes), else also the curvature of the
    decoder. `inactive` is the sum over the directions of the latent that are no factors.

    With `sample_key` every biological sample has the same weight, however many cells it has, as in
    `differential_expression`: means are those of the samples' means, within samples where these are compared there.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes.
    groupby, group1, group2, sample_key, layer
        As in `differential_expression`.

    Returns
    -------
    DataFrame
        `gene, group1, group2, factor, contribution, jensen_gap`, long, in log2 units. The contributions of a gene sum
        to the model's difference in the mean of log2 expression; `jensen_gap` (the same in all rows of a gene) is what
        the log2 ratio of mean expression has beyond that, because groups differ in their spread.

    References
    ----------
    Sundararajan, Taly & Yan (2017), Axiomatic attribution for deep networks. ICML.
    """
    cells = read_data(check_fit(fit), adata, layer)
    fit = cells.fit
    active = fit.factors["active"]
    names = [name for name, yes in zip(factor_names(len(active)), active, strict=True) if yes]
    names += [*["inactive"] * (not active.all()), "remainder"]
    n_rows = len(fit.genes) * len(names)
    plan = plan_comparisons(
        adata, groupby=groupby, group1=group1, group2=group2, sample_key=sample_key, n_genes=n_rows // 4
    )
    comparisons, found = contributions(fit, cells, plan)
    n, n_genes = len(comparisons), len(fit.genes)
    repeat = {k: np.repeat([getattr(c, k) for c in comparisons], n_rows) for k in ("group1", "group2")}
    return table(
        "contributions",
        {
            "gene": np.tile(fit.genes, n * len(names)),
            **repeat,
            "factor": np.tile(np.repeat(names, n_genes), n),
            "contribution": np.concatenate([values.ravel() for values, _ in found]),
            "jensen_gap": np.concatenate([np.tile(gap, len(names)) for _, gap in found]),
        },
    )
