#' Loadings of each population: which genes make what it has of its own
#'
#' A linear decoder has one matrix of loadings, with the same ranking of genes in every population. What differs between
#' populations is where their cells lie, how they vary, and how their genes respond; `kind` says which is asked:
#'
#' * `"between"`: what sets a population apart, its mean expression against that of the other populations;
#' * `"within"`: every program that varies from cell to cell inside it, those it shares with others included;
#' * `"specific"`: programs that vary inside it and, with less than half the variance, anywhere else;
#' * `"deviation"`: genes that answer a shared program differently in it than in the other populations.
#'
#' Programs within populations are learnt by a local count model: the factors of the fit give the shared programs,
#' each loading is learnt on one half of a population's cells and measured on the other, and no gene takes part in the
#' score that it is measured against. A shared program is called `shared_1`, ... in each population that has it, also with
#' some other genes there (`"deviation"` says which). `population_loadings()` and `get_program_scores()` list the programs that are
#' called; `population_programs()` has a row for every program that was tested, so that each population has a p-value.
#'
#' @inheritParams get_factors
#' @param x Cells with counts of the fit's genes, as in [fit_ldvae()]; they need not be the training cells.
#' @param groupby Column of cell data with the populations (in a Seurat object `"ident"` are its identities); cells
#'   without a label take no part. If the populations were found by clustering the same counts, `"between"` is too
#'   optimistic: clusters differ by construction.
#' @param kind As above. `"between"` needs 5 cells of a population, the others 30. `"deviation"` has no scores.
#' @param reference Populations to compare with (`"between"`, `"specific"`, `"deviation"`); all others if `NULL`.
#' @param sample_key Column of cell data with the biological samples (donors). Differences between samples are then
#'   taken out of the programs within populations, and are the error of `"between"`.
#' @param n_programs Most programs of a population's own to look for, one after the other.
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
#'   along the program beyond counting noise; `"specific"`: nor is it a shared program whose genes answer differently
#'   here); `variance`, sum of squared loadings; `share` of the variance of all programs
#'   of the population (`"within"`); `ratio_to_reference`, variance of the activity here over its largest in another
#'   population (`"specific"`), or squared amplitude relative to the others (`"deviation"`); `pval`: that genes vary
#'   together on cells that did not teach the program (`"within"`), also that no other population has half of its
#'   variance (`"specific"`), or that any gene differs (`"between"`, `"deviation"`); `padj`, Benjamini-Hochberg over the
#'   table; `n_cells`; `n_genes` with `lfsr` below 0.05; `top_up`, `top_down`, the strongest of them.
#' * `get_program_scores()`: `cell` and one column `<population>_<program>` for each called program: its activity, in
#'   standard deviations within the population, against the mean of the population (`NaN` where a population is too
#'   small for it); for `"between"`, the position of a cell between the reference (0) and the population (1).
#' @references
#' Svensson et al. (2020), Bioinformatics 36(11), for the model; Stephens (2017), Biostatistics 18(2), for `lfsr`.
#' @seealso [plot_programs()], [top_genes()]
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, n_populations = 2, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   population_programs(fit, sce, groupby = "population", kind = "between")
#' }
#' @export
population_loadings <- function(fit, x, groupby, kind = "specific", reference = NULL, sample_key = NULL,
                                n_programs = 5, seed = 0, cell_data = NULL) {
  ask("population_loadings", as.list(environment()))
}

#' @rdname population_loadings
#' @export
population_programs <- function(fit, x, groupby, kind = "specific", reference = NULL, sample_key = NULL,
                                n_programs = 5, seed = 0, cell_data = NULL) {
  ask("population_programs", as.list(environment()))
}

#' @rdname population_loadings
#' @export
get_program_scores <- function(fit, x, groupby, kind = "specific", reference = NULL, sample_key = NULL,
                               n_programs = 5, seed = 0, cell_data = NULL) {
  ask("get_program_scores", as.list(environment()))
}
