#' Which factors go with which groups, treatments or measurements of cells
#'
#' With `sample_key` the biological sample is the replicate: scores are averaged per sample (and level) first, levels
#' that occur within samples are compared within them, and variances are moderated over the factors. Without it the
#' p-values treat cells as independent; they describe these cells and say nothing about other donors or animals.
#'
#' @inheritParams population_loadings
#' @param x Cells with counts of the fit's genes, as in [fit_ldvae()].
#' @param key Column of cell data: categories are each compared with all other cells (of two, the second with the
#'   first); numbers give a slope per standard deviation.
#' @param sample_key Column of cell data with the biological samples.
#' @param within Column of cell data: the analysis is repeated in each of its levels.
#' @param adjust Columns of cell data that describe samples (sex, age, site), with `sample_key`; as in
#'   [differential_expression()].
#' @return A data.frame: `factor` (active factors, and `"all"`: Hotelling's T2 of all of them, which no rotation
#'   changes), `key`, `level` (of numbers "per standard deviation"), `within`, `unit` (`"samples"` or `"cells"`), `effect` and its `std` (standard deviations
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
associate_factors <- function(fit, x, key, sample_key = NULL, within = NULL, adjust = NULL, assay = NULL,
                              cell_data = NULL, ...) {
  ask("associate_factors", as.list(environment()), ...)
}

#' Differential expression between any two sets of cells
#'
#' Log2 fold change of every gene, and what is known about it.
#'
#' `estimand = "mean"` compares the mean expression of the two groups, as a share of the library: the model takes
#' depth out, the counts correct it wherever it fits badly, and each gene's estimate is shrunk towards the
#' change of most genes by as much as all genes together ask for. Its probabilities speak of other cells of the same
#' samples. Cells of one sample are alike and so no replicates: for claims about conditions give `sample_key`, and
#' samples become the unit.
#'
#' `estimand = "cell"` compares a random cell of one group with one of the other (as scvi-tools does in its `change`
#' mode); its probability says how different single cells are and does not tend to 0 or 1 with more cells.
#'
#' Every gene of `x` is compared, also those that the fit does not model: their means are from the counts alone. Groups
#' found by clustering the same counts differ by construction: their probabilities are too optimistic ([split_counts()]
#' is the remedy). Of groups (samples, batches) with more than 5,000 cells the model decodes a random 5,000; raw counts
#' are those of all cells.
#'
#' Registered batches are taken out as far as groups tell: what differs between batches within groups. Where each side
#' has batches of its own, the comparison is made as observed, with a warning.
#'
#' @inheritParams population_loadings
#' @param x Cells with counts of the fit's genes, as in [fit_ldvae()]; they need not be the training cells.
#' @param groupby Column of cell data with the groups; cells without a label take no part. For a Seurat object it may be
#'   left out: its identities. Numbers that do not vary
#'   within samples (age, dose), or are no whole numbers, have a slope in place of groups: `group1` is then the column,
#'   `group2` "per unit", and 1 and 2 in the names of columns are the highest and the lowest value.
#' @param group1,group2 One level or several, each compared with `group2`: another level, or all other labelled cells
#'   if `NULL`; `"pairwise"` compares every two levels (of `group1`, if given). With both `NULL`, every level against
#'   the rest.
#' @param cells1,cells2 In place of groups, two sets of cells: `TRUE` and `FALSE` for each, names, or numbers; `cells2`
#'   is all other cells if `NULL`.
#' @param estimand `"mean"`: of the groups' mean expression; `"cell"`: of a random cell of each.
#' @param sample_key Column of cell data with the biological replicates (at least two per group, of at least five
#'   cells). Each is weighed by how well its mean is known. Samples with cells of both groups are compared with
#'   themselves, the others help.
#' @param within Column of cell data: the comparisons are made in each of its levels separately.
#' @param adjust Columns of cell data that describe samples (sex, age, site, chemistry), with `sample_key`: words or
#'   numbers, the same in all cells of a sample.
#' @param genes `"all"` genes of `x`, or only those of the `"fit"` (as always with `estimand = "cell"`).
#' @param delta Log2 fold change that is large enough to matter.
#' @param batch_correction Compare expression at the average of the registered batches, not in the batches where the
#'   cells were found.
#' @param fdr_target Expected share of false calls among `is_de`, in each comparison.
#' @param n_samples Pairs of cells drawn for `estimand = "cell"`.
#' @param seed Of the draws.
#' @return A data.frame with one row per comparison and gene, genes in the order of `x` ([top_genes()] sorts them):
#'   `within`, `gene`, `group1`, `group2`; `proba_de`,
#'   probability of a change beyond `delta` in one direction, other than that of most genes; `is_de`, the call; `lfsr`,
#'   probability that the sign of the change is wrong or that it is that of most genes; `bayes_factor`, natural log odds
#'   of `proba_de`; `lfc_mean`, `lfc_median`, `lfc_std`, `lfc_lower`, `lfc_upper`, posterior of the log2 fold change
#'   (95 % interval); `mean1`, `mean2`, estimated expression per 10,000; `raw_mean1`, `raw_mean2`, mean counts per 10,000
#'   of the library; `detected1`, `detected2`, share of cells with a count. With `sample_key` (else `NaN` and 0): `pval`, that the change is
#'   within `delta` of that of most genes (moderated t), `padj` (Benjamini-Hochberg over the genes), below `fdr_target`
#'   where `is_de`; `n_samples1`, `n_samples2`, and `paired`, how many are compared with themselves. Genes with fewer than
#'   10 counts, or counts in fewer than 5 cells, in both groups are not tested (`NaN`, not called).
#' @references
#' Stephens (2017), False discovery rates: a new deal. Biostatistics 18(2). Boyeau et al. (2023), An empirical Bayes
#' method for differential expression analysis of single cells with deep generative models. PNAS 120(21).
#' @seealso [plot_differential_expression()], [differential_contributions()]
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   de <- differential_expression(fit, sce, groupby = "population", group1 = "P0")
#'   top_genes(de, n = 5, direction = "up")[c("gene", "lfc_mean", "lfc_lower", "lfc_upper", "lfsr")]
#' }
#' @export
differential_expression <- function(fit, x, groupby = NULL, ..., group1 = NULL, group2 = NULL, cells1 = NULL,
                                    cells2 = NULL, estimand = "mean", sample_key = NULL, within = NULL, adjust = NULL,
                                    genes = "all", assay = NULL, delta = 0.25, batch_correction = TRUE,
                                    fdr_target = 0.05, n_samples = 5000, seed = 0, cell_data = NULL) {
  ask("differential_expression", as.list(environment()), ...)
}

#' Which genes answer the treatment differently in one population
#'
#' The response of a population is the change of its expression from `group2` to `group1`; compared is the response of
#' each population with the average response of the others. Samples are the units: what a sample adds to all its
#' populations alike cancels, and donors with cells of both groups are compared with themselves.
#'
#' @inheritParams differential_expression
#' @param groupby,group1,group2 The treatment, as in [differential_expression()]; numbers (dose, age) give differences of
#'   slopes.
#' @param within Column of cell data with the populations.
#' @param sample_key Column of cell data with the biological samples.
#' @param reference Populations whose average response each is compared with; all others if `NULL`.
#' @return The data.frame of [differential_expression()], `within` being the population and the log2 fold changes
#'   (`lfc_mean`, ...) differences of responses; and `response`, `reference_response`: the log2 fold change of the
#'   population and the average one of the others, as estimated (neither shrunk nor centred).
#' @references
#' Crowell et al. (2020), muscat detects subpopulation-specific state transitions from multi-sample multi-condition
#' single-cell transcriptomics data. Nature Communications 11:6077, for the question.
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 400, n_genes = 100, n_populations = 2, n_samples = 6, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   found <- differential_response(fit, sce, groupby = "treatment", within = "population", sample_key = "sample",
#'                                  group1 = "treated", group2 = "control")
#'   table(found$is_de)
#' }
#' @export
differential_response <- function(fit, x, groupby, within, sample_key, group1 = NULL, group2 = NULL, reference = NULL,
                                  adjust = NULL, genes = "all", assay = NULL, delta = 0.25, batch_correction = TRUE,
                                  fdr_target = 0.05, seed = 0, cell_data = NULL, ...) {
  ask("differential_response", as.list(environment()), ...)
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
differential_contributions <- function(fit, x, groupby, group1, group2 = NULL, sample_key = NULL, assay = NULL,
                                       cell_data = NULL, ...) {
  ask("differential_contributions", as.list(environment()), ...)
}
