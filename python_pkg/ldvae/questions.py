"""The public functions that ask a fit about populations, groups and treatments of cells."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from . import checks
from .association import associate
from .contributions import contributions
from .counts import read_labels, read_values
from .differential import compare
from .fit import Fit, check_fit
from .groups import plan_comparisons
from .posterior import latent_moments, read_data, rebuild
from .programs import KINDS, Found, activity_columns, find_programs, loading_columns, program_columns
from .tables import factor_names, table, wide

__all__ = [
    "associate_factors", "differential_contributions", "differential_expression", "get_program_scores",
    "population_loadings", "population_programs",
]  # fmt: skip


def population_loadings(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    kind: str = "specific",
    reference: Any = None,
    sample_key: str | None = None,
    n_programs: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Loadings of each population: which genes make what it has of its own.

    A linear decoder has one matrix of loadings, with the same ranking of genes in every population. What differs
    between populations is where their cells lie, how they vary, and how their genes respond; `kind` says which is
    asked:

    * "between": what sets a population apart, its mean expression against that of the other populations;
    * "within": every program that varies from cell to cell inside it, those it shares with others included;
    * "specific": programs that vary inside it and, with less than half the variance, anywhere else;
    * "deviation": genes that answer a shared program differently in it than in the other populations.

    Programs within populations are learnt by a local count model: the factors of the fit give the shared programs,
    each loading is learnt on one half of a population's cells and measured on the other, and no gene takes part in
    the score that it is measured against. A shared program is called `shared_1`, ... in each population that has it,
    also with some other genes there ("deviation" says which). Only programs that are called (see `population_programs`)
    are listed.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes; they need not be the training cells.
    groupby
        Column of `adata.obs` with the populations; cells without a label take no part. If the populations were found by
        clustering the same counts, "between" is too optimistic: clusters differ by construction.
    kind
        As above. "between" needs 5 cells of a population, the others 30.
    reference
        Populations to compare with ("between", "specific", "deviation"); all others if None.
    sample_key
        Column of `adata.obs` with the biological samples (donors). Differences between samples are then taken out of
        the programs within populations, and are the error of "between".
    n_programs
        Most programs of a population's own to look for, one after the other.
    seed
        Of the halves of cells, folds of genes and, in populations of more than 3,000 cells, the subsample.

    Returns
    -------
    DataFrame
        `population, kind, program, gene, loading, std, lfsr, rank`; in each program the genes with lfsr below 0.05
        first, strongest first, then the others. `loading` is in log2 units: per standard deviation of the program's
        activity in the population or, for "between", of the change of mean expression. `std` is its posterior standard
        deviation, `lfsr` the probability that its sign is wrong or that it is zero. Genes seen too rarely to be tested
        are not listed.

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.

    References
    ----------
    Svensson et al. (2020), Bioinformatics 36(11), for the model; Stephens (2017), Biostatistics 18(2), for `lfsr`.
    """
    found = _programs(fit, adata, groupby, kind, reference, sample_key, n_programs, seed)
    return table("population_loadings", loading_columns(found, fit.genes))


def population_programs(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    kind: str = "specific",
    reference: Any = None,
    sample_key: str | None = None,
    n_programs: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Programs of each population, one row each: how strong, how sure, which genes.

    Every program that was tested has a row, also those that are not called, so that each population has a p-value.

    Parameters
    ----------
    fit, adata, groupby, kind, reference, sample_key, n_programs, seed
        As in `population_loadings`.

    Returns
    -------
    DataFrame
        `population, kind, program`; `called`, whether `padj` is below 0.05 and the effect large enough to speak of
        (within populations: five genes with lfsr below 0.05, and a tenth of the variance along the program beyond
        counting noise; "specific": nor is it a shared program whose genes answer differently here); `variance`, sum of
        squared loadings (log2²); `share` of the variance of all programs of the population ("within");
        `ratio_to_reference`, variance of the activity here over its largest in another population ("specific"), or
        squared amplitude relative to the others ("deviation"); `pval`: that genes vary together on cells that did not
        teach the program ("within"), also that no other population has half of its variance ("specific"), or that any
        gene differs ("between", "deviation"); `padj`, Benjamini–Hochberg over the table; `n_cells`; `n_genes` with lfsr
        below 0.05; `top_up`, `top_down`, the strongest of them.
    """
    found = _programs(fit, adata, groupby, kind, reference, sample_key, n_programs, seed)
    return table("population_programs", program_columns(found, fit.genes))


def get_program_scores(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    kind: str = "specific",
    reference: Any = None,
    sample_key: str | None = None,
    n_programs: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Activity of each called program in each cell.

    Parameters
    ----------
    fit, adata, groupby, kind, reference, sample_key, n_programs, seed
        As in `population_loadings`; "deviation" has no activity of its own and is refused.

    Returns
    -------
    DataFrame
        `cell` and one column `<population>_<program>` each: standard deviations of the activity in that program's
        population, scored in every cell of a population with a local model against its population's mean (NaN in
        others); for "between", the position of a cell between the reference (0) and the population (1).
    """
    if checks.choice("kind", kind, KINDS) == "deviation":
        raise ValueError(
            "`kind` must be 'between', 'within' or 'specific' for scores; deviations have no activity of their own."
        )
    found = _programs(fit, adata, groupby, kind, reference, sample_key, n_programs, seed)
    names, values = activity_columns(found, fit)
    return wide("cell", found.cells.counts.cells, names, values)


def _programs(fit: Fit, adata: Any, groupby: Any, kind: str, *arguments: Any) -> Found:
    """The programs, with a warning where a population shares no batch with those that it is compared with."""
    found = find_programs(check_fit(fit), adata, groupby, kind, *arguments)
    key, labels = fit.config.batch_key, found.labels
    if kind == "between" and key is not None:
        batch = read_labels(adata, key, "batch_key")
        seen = np.zeros((len(labels.levels), len(batch.levels)), dtype=bool)
        seen[labels.codes[labels.codes >= 0], batch.codes[labels.codes >= 0]] = True
        number = {p.population: labels.levels.index(p.population) for p in found.programs}
        others = [labels.levels.index(name) for name in found.reference or number]
        alone = [p for p, i in number.items() if not (seen[i] & seen[[j for j in others if j != i]].any(0)).any()]
        if alone:
            said = (
                "Populations share no level of {} with those they are compared with, so their difference may be that of"
            )
            warnings.warn(f"{said.format(repr(key))} the batches: {checks.shown(alone)}.", stacklevel=3)
    return found


def associate_factors(
    fit: Fit, adata: Any, *, key: str, sample_key: str | None = None, within: str | None = None
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

    Returns
    -------
    DataFrame
        `factor` (active factors, and "all": Hotelling's T² of all of them, which no rotation changes), `key, level,
        within`, `unit` ("samples" or "cells"), `effect` and its `std` (standard deviations of the factor), `statistic`
        (t, or F for "all"), `pval`, `padj` (Benjamini–Hochberg over all rows but "all"), `auc` of the cells' scores,
        `n_cells` and `n_samples`. Too few samples or cells: NaN.
    """
    fit = check_fit(fit)
    values = read_values(adata, key, "key")
    if isinstance(values, np.ndarray) and np.isinf(values).any():
        raise ValueError(
            f"`key`: the column {checks.brief(key)} has infinite values; replace them by NaN to leave those cells out."
        )
    sample = None if sample_key is None else read_labels(adata, sample_key, "sample_key")
    stratum = None if within is None else read_labels(adata, within, "within")
    data = read_data(fit, adata)
    z, _ = latent_moments(rebuild(fit), data.mean, data.variance)
    active = np.flatnonzero(fit.factors["active"])
    if not len(active):
        raise ValueError("`fit` has no active factor, so there is nothing to associate.")
    scores = (z - fit.factors["center"]) @ fit.factors["rotation"][:, active]
    names = np.array(factor_names(fit.config.n_latent), dtype=object)[active].tolist()
    return table("association", associate(scores, names, key, values, sample, stratum))


def differential_expression(
    fit: Fit,
    adata: Any,
    *,
    groupby: str | None = None,
    group1: Any = None,
    group2: str | None = None,
    cells1: Any = None,
    cells2: Any = None,
    estimand: str = "mean",
    sample_key: str | None = None,
    within: str | None = None,
    delta: float = 0.25,
    batch_correction: bool = True,
    fdr_target: float = 0.05,
    n_samples: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Differential expression between groups of cells: log2 fold change of every gene, and what is known about it.

    ``estimand="mean"`` compares the mean expression of the two groups, as a share of the library: the model takes
    batches and depth out, the counts correct it wherever it fits badly, and each gene's estimate is shrunk towards the
    change of most genes by as much as all genes together ask for. Its probabilities speak of other cells of the same
    samples. Cells of one sample are alike and so no replicates: for claims about conditions give `sample_key`, and
    samples become the unit.

    ``estimand="cell"`` is scvi-tools' `change` mode, which compares a random cell of one group with one of the other;
    its probability says how different single cells are and does not tend to 0 or 1 with more cells (about .4 for two
    halves of one population).

    Groups found by clustering the same counts differ by construction: their probabilities are too optimistic. Of groups
    (samples, batches) with more than 5,000 cells the model decodes a random 5,000; raw counts are those of all cells.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes; they need not be the training cells.
    groupby
        Column of `adata.obs` with the groups; cells without a label take no part.
    group1, group2
        One level or several, each compared with `group2`: another level, or all other labelled cells if None;
        "pairwise" compares every two levels (of `group1`, if given). With both None, every level against the rest.
    cells1, cells2
        In place of groups, two sets of cells: boolean masks or names; `cells2` is all other cells if None.
    estimand
        "mean" or "cell".
    sample_key
        Column of `adata.obs` with the biological replicates (at least two per group, of at least five cells). If most
        samples have cells of both groups, they are compared within samples.
    within
        Column of `adata.obs`: the comparisons are made in each of its levels separately.
    delta
        Log2 fold change that is large enough to matter.
    batch_correction
        Compare expression at the average of the registered batches, not in the batches where the cells were found.
    fdr_target
        Expected share of false calls among `is_de`, in each comparison.
    n_samples
        Pairs of cells drawn for ``estimand="cell"``.
    seed
        Of the draws.

    Returns
    -------
    DataFrame
        One row per comparison and gene. `within, gene, group1, group2`; `proba_de`, probability of a change beyond
        `delta` in one direction, other than that of most genes; `is_de`, the call; `lfsr`, probability that the sign of
        the change is wrong or that it is that of most genes; `bayes_factor`, natural log odds of `proba_de`; `lfc_mean,
        lfc_median, lfc_std, lfc_lower, lfc_upper`, posterior of the log2 fold change (95 % interval); `mean1, mean2`,
        estimated expression per 10,000; `raw_mean1, raw_mean2`, mean counts per 10,000 of the library; `detected1,
        detected2`, share of cells with a count. Genes with fewer than 10 counts, or counts in fewer than 5 cells, in
        both groups are not tested (NaN, not called).

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.

    References
    ----------
    Stephens (2017), False discovery rates: a new deal. Biostatistics 18(2). Boyeau et al. (2023), An empirical Bayes
    method for differential expression analysis of single cells with deep generative models. PNAS 120(21).
    """
    fit = check_fit(fit)
    checks.choice("estimand", estimand, ("mean", "cell"))
    if estimand == "cell" and sample_key is not None:
        raise ValueError("`sample_key` needs estimand='mean': pairs of cells have no samples to compare.")
    plan = plan_comparisons(
        adata, groupby=groupby, group1=group1, group2=group2, cells1=cells1, cells2=cells2, sample_key=sample_key,
        within=within, n_genes=len(fit.genes),
    )  # fmt: skip
    columns = compare(
        fit,
        adata,
        read_data(fit, adata),
        plan,
        estimand=estimand,
        delta=checks.number("delta", delta, 0),
        batch_correction=checks.boolean("batch_correction", batch_correction),
        fdr_target=checks.number("fdr_target", fdr_target, 0, 1),
        n_samples=checks.integer("n_samples", n_samples, 2, 10_000_000),
        seed=checks.integer("seed", seed, 0, 2**32 - 1),
    )
    return table("differential_expression", columns)


def differential_contributions(
    fit: Fit, adata: Any, *, groupby: str, group1: Any, group2: str | None = None
) -> pd.DataFrame:
    """Split the change of log expression between groups into what each factor contributes.

    A factor contributes its loading times the difference of the groups' mean scores; with a non-linear decoder, the
    gradient integrated along the straight line between the groups. What belongs to no factor is the row `remainder`:
    with a linear decoder the change of the normaliser (one constant for all genes), else also the curvature of the
    decoder.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes.
    groupby, group1, group2
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
    fit = check_fit(fit)
    names = [*factor_names(fit.config.n_latent), "remainder"]
    n_rows = len(fit.genes) * len(names)
    plan = plan_comparisons(adata, groupby=groupby, group1=group1, group2=group2, n_genes=n_rows // 4)
    found = contributions(fit, read_data(fit, adata), plan)
    n, n_genes = len(plan.comparisons), len(fit.genes)
    repeat = {k: np.repeat([getattr(c, k) for c in plan.comparisons], n_rows) for k in ("group1", "group2")}
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
