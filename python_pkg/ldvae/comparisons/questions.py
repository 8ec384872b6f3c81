"""The public functions that ask which genes differ between groups of cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.labels import read_labels
from ..fit.cells import read_beyond, read_data
from ..fit.record import Fit, check_fit
from ..tables import table
from .differential import Settings, compare, group_means, stacked
from .plan import plan_comparisons
from .response import compare_responses
from .samples import read_adjust

__all__ = ["differential_expression", "differential_response"]


def differential_expression(
    fit: Fit,
    adata: Any,
    *,
    groupby: str | None = None,
    group1: Any = None,
    group2: Any = None,
    cells1: Any = None,
    cells2: Any = None,
    estimand: str = "mean",
    sample_key: str | None = None,
    within: str | None = None,
    adjust: Any = None,
    genes: str = "all",
    layer: str | None = None,
    delta: float = 0.25,
    batch_correction: bool = True,
    fdr_target: float = 0.05,
    n_samples: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Differential expression between groups of cells: log2 fold change of every gene, and what is known about it.

    ``estimand="mean"`` compares the mean expression of the two groups, as a share of the library: the model takes
    depth out, the counts correct it wherever it fits badly, and each gene's estimate is shrunk towards the
    change of most genes by as much as all genes together ask for. Its probabilities speak of other cells of the same
    samples. Cells of one sample are alike and so no replicates: for claims about conditions give `sample_key`, and
    samples become the unit.

    ``estimand="cell"`` is scvi-tools' `change` mode, which compares a random cell of one group with one of the other;
    its probability says how different single cells are and does not tend to 0 or 1 with more cells (about .4 for two
    halves of one population).

    Every gene of `adata` is compared, also those that the fit does not model: their means are from the counts alone.
    Groups found by clustering the same counts differ by construction: their probabilities are too optimistic
    (`split_counts` is the remedy). Of groups (samples, batches) with more than 5,000 cells the model decodes a random
    5,000; raw counts are those of all cells.

    Registered batches are taken out as far as groups tell: what differs between batches within groups. Where each side
    has batches of its own, the comparison is made as observed, with a message.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes; they need not be the training cells.
    groupby
        Column of `adata.obs` with the groups; cells without a label take no part. Numbers that do not vary within
        samples (age, dose), or are no whole numbers, have a slope in place of groups: `group1` is then the column,
        `group2` "per unit", and 1 and 2 in the names of columns are the highest and the lowest value.
    group1, group2
        One level or several, each compared with `group2`: another level, or all other labelled cells if None or "rest";
        "pairwise" compares every two levels (of `group1`, if given). With both None, every level against the rest.
    cells1, cells2
        In place of groups, two sets of cells: boolean masks, names, or a condition on columns of `adata.obs` such as
        "cell_type == 'B'"; `cells2` is all other cells if None.
    estimand
        "mean" or "cell".
    sample_key
        Column of `adata.obs` with the biological replicates (at least two per group, of at least five cells). Each is
        weighed by how well its mean is known. Samples with cells of both groups are compared with themselves, the
        others help.
    within
        Column of `adata.obs`: the comparisons are made in each of its levels separately.
    adjust
        Columns of `adata.obs` that describe samples (sex, age, site, chemistry), with `sample_key`: words or numbers,
        the same in all cells of a sample.
    genes
        "all" genes of `adata`, or only those of the "fit" (as always with ``estimand="cell"``).
    layer
        The layer of `adata` with the counts: "X" for `adata.X`, "raw" for `adata.raw`; where the fit took them if None.
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
        detected2`, share of cells with a count. With `sample_key`: `pval`, that the change is within `delta` of that of
        most genes (moderated t), `padj` (Benjamini–Hochberg over the genes), below `fdr_target` where `is_de`;
        `n_samples1, n_samples2`, and `paired`, how many are compared with themselves. Genes with fewer than 10 counts,
        or counts in fewer than 5 cells, in both groups are not tested (NaN, not called).

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.

    References
    ----------
    Stephens (2017), False discovery rates: a new deal. Biostatistics 18(2). Boyeau et al. (2023), An empirical Bayes
    method for differential expression analysis of single cells with deep generative models. PNAS 120(21). McCarthy &
    Smyth (2009), Testing significance relative to a fold-change threshold is a TREAT. Bioinformatics 25(6).
    """
    fit = check_fit(fit)
    checks.choice("estimand", estimand, ("mean", "cell"))
    if estimand == "cell" and sample_key is not None:
        raise ValueError("`sample_key` needs estimand='mean': pairs of cells have no samples to compare.")
    cells = read_data(fit, adata, layer)
    beyond = None
    if checks.choice("genes", genes, ("all", "fit")) == "all" and estimand == "mean":
        beyond = read_beyond(cells, adata, layer)
    n_genes = len(cells.fit.genes) + (0 if beyond is None else len(beyond.genes))
    plan = plan_comparisons(
        adata, groupby=groupby, group1=group1, group2=group2, cells1=cells1, cells2=cells2, sample_key=sample_key,
        within=within, n_genes=n_genes,
    )  # fmt: skip
    settings = Settings(
        estimand=estimand,
        delta=checks.number("delta", delta, 0),
        batch_correction=checks.boolean("batch_correction", batch_correction),
        fdr_target=checks.number("fdr_target", fdr_target, 0, 1),
        n_samples=checks.integer("n_samples", n_samples, 2, 10_000_000),
        seed=checks.integer("seed", seed, 0, 2**32 - 1),
        adjust=read_adjust(adata, adjust, None if sample_key is None else read_labels(adata, sample_key, "sample_key")),
    )
    return table("differential_expression", compare(cells.fit, cells, plan, settings, beyond))


def differential_response(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    within: str,
    sample_key: str,
    group1: Any = None,
    group2: Any = None,
    reference: Any = None,
    adjust: Any = None,
    genes: str = "all",
    layer: str | None = None,
    delta: float = 0.25,
    batch_correction: bool = True,
    fdr_target: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Which genes answer the treatment differently in one population than in the others.

    The response of a population is the change of its expression from `group2` to `group1`; compared is the response of
    each population with the average response of the others. Samples are the units: what a sample adds to all its
    populations alike cancels, and donors with cells of both groups are compared with themselves. The table is drawn by
    `plot_differential_expression`.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes.
    groupby, group1, group2
        The treatment: as in `differential_expression`; numbers (dose, age) give differences of slopes.
    within
        Column of `adata.obs` with the populations.
    sample_key
        Column of `adata.obs` with the biological samples.
    reference
        Populations whose average response each is compared with; all others if None.
    adjust, genes, layer, delta, batch_correction, fdr_target, seed
        As in `differential_expression`.

    Returns
    -------
    DataFrame
        One row per population (`within`), `gene` and comparison (`group1, group2`), with the columns of
        `differential_expression`, the log2 fold changes being differences of responses: `lfc_mean, lfc_median, lfc_std,
        lfc_lower, lfc_upper, proba_de, is_de, lfsr, bayes_factor, pval, padj`; `response`, `reference_response`, the
        log2 fold change of the population and the average one of the others, as estimated (neither shrunk nor centred);
        of the population's cells `mean1, mean2, raw_mean1, raw_mean2, detected1, detected2`; `n_samples1, n_samples2,
        paired`.

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.

    References
    ----------
    Crowell et al. (2020), muscat detects subpopulation-specific state transitions from multi-sample multi-condition
    single-cell transcriptomics data. Nature Communications 11:6077, for the question.
    """
    fit = check_fit(fit)
    cells = read_data(fit, adata, layer)
    fit = cells.fit
    beyond = read_beyond(cells, adata, layer) if checks.choice("genes", genes, ("all", "fit")) == "all" else None
    names = fit.genes if beyond is None else np.concatenate([fit.genes, beyond.genes])
    samples = read_labels(adata, sample_key, "sample_key")
    populations = read_labels(adata, within, "within")
    if reference is not None:
        reference = checks.strings("reference", reference)
        unknown = sorted(set(reference) - set(populations.levels))
        if unknown or not reference:
            known = checks.shown(populations.levels, 20)
            raise ValueError(
                f"`reference` must name levels of {within!r} ({known}), not {checks.shown(unknown) or 'none'}."
            )
    plan = plan_comparisons(
        adata, groupby=groupby, group1=group1, group2=group2, sample_key=sample_key, within=within, n_genes=len(names)
    )
    settings = Settings(
        estimand="mean",
        delta=checks.number("delta", delta, 0),
        batch_correction=checks.boolean("batch_correction", batch_correction),
        fdr_target=checks.number("fdr_target", fdr_target, 0, 1),
        n_samples=2,
        seed=checks.integer("seed", seed, 0, 2**32 - 1),
        adjust=read_adjust(adata, adjust, samples),
    )
    comparisons, found = compare_responses(
        group_means(fit, cells, plan, settings, beyond), cells, plan, settings, reference
    )
    return table("differential_response", stacked(comparisons, found, names))
