#' Loadings of each population: which genes make what it has of its own
#'
#' A linear decoder has one matrix of loadings, with the same ranking of genes in every population. What differs between
#' populations is where their cells lie, how they vary, and how their genes respond; `kind` says which is asked:
#'
#' * `"between"`: what sets a population apart, its mean expression against that of the other populations;
#' * `"within"`: every program that varies from cell to cell inside it, those that others have too included;
#' * `"specific"`: programs that vary inside it and, with less than half the variance, anywhere else;
#' * `"deviation"`: genes that answer a program of several populations differently in it than in the others.
#'
#' Programs within populations are learnt from their counts by a local model: on one half of a population's cells, and
#' measured and tested on the other, over several halvings; no gene takes part in the score that it is measured against.
#' Programs of different populations that move the same genes have one name: `program_1` is the same program wherever it
#' is listed with the same `groupby`, `n_programs` and `seed` (`"deviation"` says which of its genes answer otherwise in
#' one population, [get_program_map()] where it varies at all). `population_loadings()` and `get_program_scores()` list
#' the programs that are called. `population_programs()` has a row for every program that was tested, and at least one
#' for every population (but for `"deviation"`): the program `rest` is what is left beyond the others, and did not
#' convince.
#'
#' @inheritParams get_factors
#' @param x Cells with counts of the fit's genes, as in [fit_ldvae()]; they need not be the training cells.
#'   `"between"` lists every gene of it.
#' @param groupby Column of cell data with the populations; of a Seurat object it may be left out, and is then `"ident"`,
#'   its identities. Cells without a label take no part. If the populations were found by clustering the same counts,
#'   `"between"` is too optimistic: clusters differ by construction ([split_counts()] is the remedy).
#' @param kind As above. `"between"` needs 5 cells of a population, the others 30. `"deviation"` has no scores.
#' @param reference Populations to compare with (`"between"`, `"specific"`, `"deviation"`); all others if `NULL`.
#' @param sample_key Column of cell data with the biological samples (donors). Differences between samples are then
#'   taken out of the programs within populations, and are the error of `"between"`.
#' @param adjust Columns of cell data that describe samples (sex, age, site), for `"between"` with `sample_key`:
#'   differences are those at their average.
#' @param assay Assay with the raw counts; by default that of the fit, if `x` has it, as in [fit_ldvae()].
#' @param n_programs Most programs to look for in the counts of one population, one after the other; those of other
#'   populations are looked for besides.
#' @param seed Of the halves of cells, folds of genes and, in populations of more than 3,000 cells, the subsample.
#' @param cell_data If `x` is a matrix, a data.frame with one row per cell.
#' @return A data.frame.
#' * `population_loadings()`: `population`, `kind`, `program`, `gene`, `loading`, `std`, `lfsr`, `rank`; in each program
#'   the genes with `lfsr` below 0.05 first, strongest first. `loading` is in log2 units: per standard deviation of the
#'   program's activity in the population or, for `"between"`, of the change of mean expression. `std` is its posterior
#'   standard deviation, `lfsr` the probability that its sign is wrong or that it is zero. Genes seen too rarely to be
#'   tested are not listed.
#' * `population_programs()`: `population`, `kind`, `program`; `called`, whether `padj` is below 0.05 and the effect
#'   large enough to speak of (within populations: five genes with `lfsr` below 0.05, and a tenth of the variance
#'   along the program beyond counting noise); `reason`, why it is not called, empty if it is; `variance`, sum of squared
#'   loadings; `share` of the variance of all programs of the population (`"within"`); `ratio_to_reference`, variance of
#'   the activity here over that in `reference_population`, which of the others is the most likely to have half of it
#'   (`"specific"`), or squared amplitude relative to the others (`"deviation"`); `like_population`, the population towards which the program moves
#'   the genes of its cells, and `like_cosine`, how closely: at 0.35 or more, of which a message tells, its cells may be
#'   on the way to the other population or mixed with it (wrong labels, doublets, ambient RNA, or a real continuum);
#'   `share_of_samples` with 30 cells of the population in which it varies (`NaN` without `sample_key`); `pval`: that
#'   genes vary together on cells that did not teach the program (`"within"`), also that no other population has half of
#'   its variance (`"specific"`), or that any gene differs (`"between"`, `"deviation"`); `padj`, Benjamini-Hochberg over
#'   the table; `n_cells`; `n_genes` with `lfsr` below 0.05; `top_up`, `top_down`, the strongest of them.
#' * `get_program_scores()`: `cell` (also the row names) and one column `<population>_<program>` for each called program, in
#'   letters, digits and underscores as formulas and Seurat want them (of cluster `0` `group_0_...`, of `CD4+ T`
#'   `CD4pos_T_...`): its activity, in standard deviations within the population, against the mean of the population
#'   (`NaN` where a population is too small for it); for `"between"`, the position of a cell between the reference (0) and the population (1).
#' * `get_program_map()`, one row per program and population: `program`, `population`; `variance` of the program's
#'   activity there times the sum of its squared loadings (log2 units squared), freed from counting noise (so that it may
#'   be negative where there is none) and measured with loadings that other cells taught, and its standard error `std`;
#'   `share` of the variance of all programs of the population; `pval`, that genes vary together, and `padj`; `active`,
#'   whether the program is called there; `n_genes` with `lfsr` below 0.05 there; `top_up`, `top_down`, the strongest of
#'   them.
#' @references
#' Svensson et al. (2020), Bioinformatics 36(11), for the model; Stephens (2017), Biostatistics 18(2), for `lfsr`.
#' @seealso [plot_programs()], [plot_program_map()], [top_genes()]
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, n_populations = 2, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   population_programs(fit, sce, groupby = "population", kind = "between")
#' }
#' @export
population_loadings <- function(fit, x, groupby, kind = "specific", reference = NULL, sample_key = NULL,
                                adjust = NULL, assay = NULL, n_programs = 5, seed = 0, cell_data = NULL, ...) {
  ask("population_loadings", as.list(environment()), ...)
}

#' @rdname population_loadings
#' @export
population_programs <- function(fit, x, groupby, kind = "specific", reference = NULL, sample_key = NULL,
                                adjust = NULL, assay = NULL, n_programs = 5, seed = 0, cell_data = NULL, ...) {
  ask("population_programs", as.list(environment()), ...)
}

#' @rdname population_loadings
#' @export
get_program_scores <- function(fit, x, groupby, kind = "specific", reference = NULL, sample_key = NULL,
                               assay = NULL, n_programs = 5, seed = 0, cell_data = NULL, ...) {
  ask("get_program_scores", as.list(environment()), ...)
}

#' @rdname population_loadings
#' @export
get_program_map <- function(fit, x, groupby, sample_key = NULL, assay = NULL, n_programs = 5, seed = 0,
                            cell_data = NULL, ...) {
  ask("get_program_map", as.list(environment()), ...)
}
