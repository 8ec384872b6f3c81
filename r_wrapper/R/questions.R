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
                                n_programs = 3, seed = 0, cell_data = NULL) {
  ask("population_loadings", as.list(environment()))
}

#' @rdname population_loadings
#' @export
population_programs <- function(fit, x, groupby, kind = "specific", reference = NULL, sample_key = NULL,
                                n_programs = 3, seed = 0, cell_data = NULL) {
  ask("population_programs", as.list(environment()))
}

#' @rdname population_loadings
#' @export
get_program_scores <- function(fit, x, groupby, kind = "specific", reference = NULL, sample_key = NULL,
                               n_programs = 3, seed = 0, cell_data = NULL) {
  ask("get_program_scores", as.list(environment()))
}

#' Which factors go with which groups, treatments or measurements of cells
#'
#' With `sample_key` the biological sample is the replicate: scores are averaged per sample (and level) first, levels
#' that occur within samples are compared within them, and variances are moderated over the factors. Without it the
#' p-values treat cells as independent; they describe these cells and say nothing about other donors or animals.
#'
#' @inheritParams population_loadings
#' @param key Column of cell data: categories are each compared with all other cells (of two, the second with the
#'   first); numbers give a slope per standard deviation.
#' @param sample_key Column of cell data with the biological samples.
#' @param within Column of cell data: the analysis is repeated in each of its levels.
#' @return A data.frame: `factor` (active factors, and `"all"`: Hotelling's T2 of all of them, which no rotation
#'   changes), `key`, `level`, `within`, `unit` (`"samples"` or `"cells"`), `effect` and its `std` (standard deviations
#'   of the factor), `statistic` (t, or F for `"all"`), `pval`, `padj` (Benjamini-Hochberg over all rows but `"all"`),
#'   `auc` of the cells' scores, `n_cells` and `n_samples`. Too few samples or cells: `NaN`.
#' @seealso [plot_association()]
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, n_samples = 6, treatment_effect = 1, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   associate_factors(fit, sce, key = "treatment", sample_key = "sample")
#' }
#' @export
associate_factors <- function(fit, x, key, sample_key = NULL, within = NULL, cell_data = NULL) {
  ask("associate_factors", as.list(environment()))
}

#' Differential expression between any two sets of cells
#'
#' Log2 fold change of every gene, and what is known about it.
#'
#' `estimand = "mean"` compares the mean expression of the two groups, as a share of the library: the model takes
#' batches and depth out, the counts correct it wherever it fits badly, and each gene's estimate is shrunk towards the
#' change of most genes by as much as all genes together ask for. Its probabilities speak of other cells of the same
#' samples. Cells of one sample are alike and so no replicates: for claims about conditions give `sample_key`, and
#' samples become the unit.
#'
#' `estimand = "cell"` compares a random cell of one group with one of the other (as scvi-tools does in its `change`
#' mode); its probability says how different single cells are and does not tend to 0 or 1 with more cells.
#'
#' Groups found by clustering the same counts differ by construction: their probabilities are too optimistic. Of groups
#' (samples, batches) with more than 5,000 cells the model decodes a random 5,000; raw counts are those of all cells.
#'
#' @inheritParams population_loadings
#' @param groupby Column of cell data with the groups; cells without a label take no part.
#' @param group1,group2 One level or several, each compared with `group2`: another level, or all other labelled cells
#'   if `NULL`; `"pairwise"` compares every two levels (of `group1`, if given). With both `NULL`, every level against
#'   the rest.
#' @param cells1,cells2 In place of groups, two sets of cells: `TRUE` and `FALSE` for each, names, or numbers; `cells2`
#'   is all other cells if `NULL`.
#' @param estimand `"mean"` or `"cell"`.
#' @param sample_key Column of cell data with the biological replicates (at least two per group, of at least five
#'   cells). If most samples have cells of both groups, they are compared within samples.
#' @param within Column of cell data: the comparisons are made in each of its levels separately.
#' @param delta Log2 fold change that is large enough to matter.
#' @param batch_correction Compare expression at the average of the registered batches, not in the batches where the
#'   cells were found.
#' @param fdr_target Expected share of false calls among `is_de`, in each comparison.
#' @param n_samples Pairs of cells drawn for `estimand = "cell"`.
#' @param seed Of the draws.
#' @return A data.frame with one row per comparison and gene: `within`, `gene`, `group1`, `group2`; `proba_de`,
#'   probability of a change beyond `delta` in one direction, other than that of most genes; `is_de`, the call; `lfsr`,
#'   probability that the sign of the change is wrong or that it is that of most genes; `bayes_factor`, natural log odds
#'   of `proba_de`; `lfc_mean`, `lfc_median`, `lfc_std`, `lfc_lower`, `lfc_upper`, posterior of the log2 fold change
#'   (95 % interval); `mean1`, `mean2`, estimated expression per 10,000; `raw_mean1`, `raw_mean2`, mean counts per 10,000
#'   of the library; `detected1`, `detected2`, share of cells with a count. Genes with fewer than 10 counts, or counts in
#'   fewer than 5 cells, in both groups are not tested (`NaN`, not called).
#' @references
#' Stephens (2017), False discovery rates: a new deal. Biostatistics 18(2). Boyeau et al. (2023), An empirical Bayes
#' method for differential expression analysis of single cells with deep generative models. PNAS 120(21).
#' @seealso [plot_differential_expression()], [differential_contributions()]
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   de <- differential_expression(fit, sce, groupby = "population", group1 = "P0")
#'   head(de[de$is_de, c("gene", "lfc_mean", "lfc_lower", "lfc_upper", "lfsr")])
#' }
#' @export
differential_expression <- function(fit, x, groupby = NULL, group1 = NULL, group2 = NULL, cells1 = NULL,
                                    cells2 = NULL, estimand = "mean", sample_key = NULL, within = NULL, delta = 0.25,
                                    batch_correction = TRUE, fdr_target = 0.05, n_samples = 5000, seed = 0,
                                    cell_data = NULL) {
  ask("differential_expression", as.list(environment()))
}

#' Which factors are behind a fold change
#'
#' Splits the change of log expression between groups into what each factor contributes: its loading times the
#' difference of the groups' mean scores; with a non-linear decoder, the gradient integrated along the straight line
#' between the groups. What belongs to no factor is the row `remainder`: with a linear decoder the change of the
#' normaliser (one constant for all genes), else also the curvature of the decoder.
#'
#' With `sample_key` every biological sample has the same weight, however many cells it has, as in
#' [differential_expression()]: means are those of the samples' means, within samples where these are compared there.
#'
#' @inheritParams differential_expression
#' @return A data.frame: `gene`, `group1`, `group2`, `factor`, `contribution`, `jensen_gap`, long, in log2 units. The
#'   contributions of a gene sum to the model's difference in the mean of log2 expression; `jensen_gap` (the same in all
#'   rows of a gene) is what the log2 ratio of mean expression has beyond that, because groups differ in their spread.
#' @references
#' Sundararajan, Taly and Yan (2017), Axiomatic attribution for deep networks. ICML.
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   head(differential_contributions(fit, sce, groupby = "population", group1 = "P0"))
#' }
#' @export
differential_contributions <- function(fit, x, groupby, group1, group2 = NULL, sample_key = NULL, cell_data = NULL) {
  ask("differential_contributions", as.list(environment()))
}

#' Where the model puts each cell, and the expression it expects
#'
#' @inheritParams population_loadings
#' @param x Cells to encode, as in [fit_ldvae()]; for `get_latent()` the training cells if `NULL`. Genes are aligned by
#'   name.
#' @param genes Names of genes.
#' @param n_samples Draws from the posterior of each cell that are averaged.
#' @param library_size Expression is per this many counts.
#' @param seed Of the draws.
#' @return A data.frame. `get_latent()`: `cell` and its score on each factor, `Z_1` ... `Z_K` (mean 0 and, with the
#'   posterior's own variance, variance 1 over the training cells). `get_expression()`: `cell`, `gene`, `expression`,
#'   denoised and at the average batch, long: all cells of the first gene, then the next.
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   head(get_latent(fit))
#'   head(get_expression(fit, sce, genes = c("G1", "G2")))
#' }
#' @export
get_latent <- function(fit, x = NULL, cell_data = NULL) {
  ask("get_latent", as.list(environment()))
}

#' @rdname get_latent
#' @export
get_expression <- function(fit, x, genes, n_samples = 25, library_size = 1e4, seed = 0, cell_data = NULL) {
  ask("get_expression", as.list(environment()))
}
