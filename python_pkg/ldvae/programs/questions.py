"""The public functions that ask a fit about the programs of populations."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .. import checks
from ..fit.record import Fit
from ..tables import table, wide
from .columns import loading_columns, program_columns
from .find import KINDS, find_programs
from .map import map_columns
from .scores import activity_columns

__all__ = ["get_program_map", "get_program_scores", "population_loadings", "population_programs"]


def population_loadings(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    kind: str = "specific",
    reference: Any = None,
    sample_key: str | None = None,
    adjust: Any = None,
    layer: str | None = None,
    n_programs: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Loadings of each population: which genes make what it has of its own.

    A linear decoder has one matrix of loadings, with the same ranking of genes in every population. What differs
    between populations is where their cells lie, how they vary, and how their genes respond; `kind` says which is
    asked:

    * "between": what sets a population apart, its mean expression against that of the other populations;
    * "within": every program that varies from cell to cell inside it, those that others have too included;
    * "specific": programs that vary inside it and, with less than half the variance, anywhere else;
    * "deviation": genes that answer a program of several populations differently in it than in the others.

    Programs within populations are learnt from their counts by a local model: on one half of a population's cells, and
    measured and tested on the other, over several halvings; no gene takes part in the score that it is measured
    against. Programs of different populations that move the same genes have one name: `program_1` is the same program
    wherever it is listed with the same `groupby`, `n_programs` and `seed` ("deviation" says which of its genes answer
    otherwise in one population, `get_program_map` where it varies at all). Only programs that are called (see
    `population_programs`) are listed.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes; they need not be the training cells. "between" lists every gene of it.
    groupby
        Column of `adata.obs` with the populations; cells without a label take no part. If the populations were found by
        clustering the same counts, "between" is too optimistic: clusters differ by construction (`split_counts`).
    kind
        As above. "between" needs 5 cells of a population, the others 30.
    reference
        Populations to compare with ("between", "specific", "deviation"); all others if None.
    sample_key
        Column of `adata.obs` with the biological samples (donors). Differences between samples are then taken out of
        the programs within populations, and are the error of "between".
    adjust
        Columns of `adata.obs` that describe samples (sex, age, site), for "between" with `sample_key`: differences are
        those at their average.
    layer
        The layer of `adata` with the counts: "X" for `adata.X`, "raw" for `adata.raw`; where the fit took them if None.
    n_programs
        Most programs to look for in the counts of one population, one after the other; those of other populations are
        looked for besides.
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
    found = find_programs(fit, adata, groupby, kind, reference, sample_key, n_programs, seed, adjust, layer)
    return table("population_loadings", loading_columns(found))


def population_programs(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    kind: str = "specific",
    reference: Any = None,
    sample_key: str | None = None,
    adjust: Any = None,
    layer: str | None = None,
    n_programs: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Programs of each population, one row each: how strong, how sure, which genes.

    Every program that was tested has a row, also those that are not called, and every population has at least one (but
    for "deviation"): the program `rest` is what is left beyond the others, and did not convince.

    Parameters
    ----------
    fit, adata, groupby, kind, reference, sample_key, adjust, layer, n_programs, seed
        As in `population_loadings`.

    Returns
    -------
    DataFrame
        * `population, kind, program`;
        * `called`: whether `padj` is below 0.05 and the effect large enough to speak of (within populations: five genes
          with lfsr below 0.05, and a tenth of the variance along the program beyond counting noise);
        * `reason`: why it is not called, in a few words; empty if it is;
        * `variance`: sum of squared loadings (log2²), and `share` of the variance of all programs of the population
          ("within");
        * `ratio_to_reference`: variance of the activity here over that in `reference_population`, which of the others
          is the most likely to have half of it ("specific"); or squared amplitude relative to the others ("deviation");
        * `like_population, like_cosine`: the population towards which the program moves the genes of its cells, and the
          cosine of its loadings with the log fold change to it. A large one means cells on the way to the other
          population, or mixed with it: wrong labels, doublets, ambient RNA, or a real continuum. A message names those
          that are called with 0.35 or more;
        * `share_of_samples`: part of the samples with 30 cells of the population in which it varies (p-value below
          0.05); NaN without `sample_key`;
        * `pval`: that genes vary together on cells that did not teach the program ("within"), also that no other
          population has half of its variance ("specific"), or that any gene differs ("between", "deviation"); `padj`,
          Benjamini–Hochberg over the table;
        * `n_cells`; `n_genes` with lfsr below 0.05; `top_up`, `top_down`, the strongest of them.
    """
    found = find_programs(fit, adata, groupby, kind, reference, sample_key, n_programs, seed, adjust, layer)
    return table("population_programs", program_columns(found))


def get_program_scores(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    kind: str = "specific",
    reference: Any = None,
    sample_key: str | None = None,
    layer: str | None = None,
    n_programs: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Activity of each called program in each cell.

    Parameters
    ----------
    fit, adata, groupby, kind, reference, sample_key, layer, n_programs, seed
        As in `population_loadings`; "deviation" has no activity of its own and is refused.

    Returns
    -------
    DataFrame
        `cell` and one column `<population>_<program>` each: standard deviations of the activity in that program's
        population, scored in every cell of a population with a local model against its population's mean (NaN in
        others); for "between", the position of a cell between the reference (0) and the population (1). Names are
        letters, digits and underscores, as formulas and Seurat want them: of "0" `group_0_...`, of "CD4+ T"
        `CD4pos_T_...`.
    """
    if checks.choice("kind", kind, KINDS) == "deviation":
        raise ValueError(
            "`kind` must be 'between', 'within' or 'specific' for scores; deviations have no activity of their own."
        )
    found = find_programs(fit, adata, groupby, kind, reference, sample_key, n_programs, seed, layer=layer)
    names, values = activity_columns(found)
    return wide("cell", found.cells.counts.cells, names, values)


def get_program_map(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    sample_key: str | None = None,
    layer: str | None = None,
    n_programs: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Where each program varies: one row per program and population.

    Parameters
    ----------
    fit, adata, groupby, sample_key, layer, n_programs, seed
        As in `population_loadings`.

    Returns
    -------
    DataFrame
        `program, population`; `variance` of the program's activity there times the sum of its squared loadings (log2²),
        freed from counting noise (so that it may be negative where there is none) and measured with loadings that other
        cells taught, and its standard error `std`; `share` of the variance of all programs of the population; `pval`,
        that genes vary together, and `padj` (Benjamini–Hochberg over the table); `active`, whether the program is
        called there (see `population_programs`, kind "within"); `n_genes` with lfsr below 0.05 there; `top_up`,
        `top_down`, the strongest of them.
    """
    found = find_programs(fit, adata, groupby, "within", None, sample_key, n_programs, seed, layer=layer)
    return table("program_map", map_columns(found, found.cells.fit.genes))
