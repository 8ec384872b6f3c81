#' Fit one linearly decoded variational autoencoder (LDVAE) to all cells
#'
#' Labels are never used: train once, and look at every population afterwards. Some hundred cells and genes are the
#' least that factors can be told from; thousands show more.
#'
#' @param x Raw counts: a SingleCellExperiment, a Seurat object (of version 3, 4 or 5, layers joined or split), or a
#'   genes x cells matrix (sparse, dense, or backed by a file) with `cell_data`. Corrected counts with fractions (SoupX,
#'   DecontX, RSEM) are rounded, with a warning. Where a column `feature_types` or `Type` of `rowData(x)` tells genes from
#'   other features, as `DropletUtils::read10xCounts()` has it, only genes take part.
#' @param genes Genes to model: their names, such as `VariableFeatures(x)` (some thousands are enough to find factors;
#'   all find more and take longer, and [differential_expression()] compares all of them either way); `TRUE` or `FALSE` for each; or the name
#'   of a logical column of `rowData(x)`. Library sizes come from all genes of `x`. All genes if `NULL`.
#' @param gene_symbols Column of `rowData(x)`, or of the features of the assay of a Seurat object, with the names of
#'   genes, in place of `rownames(x)`: here, in every table and picture, and in the cells that the fit is asked about.
#'   What has no symbol keeps its name, symbols that are there twice get theirs appended.
#' @param batch_key,covariate_keys Columns of cell data whose effect on each gene is taken out of the factors: a batch,
#'   and any categorical or numeric covariates. In a Seurat object `"ident"` are its identities.
#' @param size_factor_key Column of cell data with size factors to use in place of total counts.
#' @param assay Assay with the raw counts; by default `"counts"`, in a Seurat object its default assay. Later calls
#'   with the fit take the same.
#' @param n_latent Upper bound on the number of factors; those that the data do not support are reported as inactive.
#' @param n_hidden,n_layers,dropout_rate Width, depth and dropout of the encoder (and of a non-linear decoder, without
#'   dropout).
#' @param gene_likelihood `"nb"` (negative binomial), `"zinb"` (with excess zeros, one probability per gene) or
#'   `"poisson"`.
#' @param latent_distribution `"normal"`, or `"ln"`: logistic normal, so that the latent of a cell sums to one.
#' @param decoder `"linear"`, or `"nonlinear"`: scVI's, whose loadings are the best linear approximation.
#' @param loadings_prior `"ard"`: loadings have a posterior, with a normal prior per factor whose width is learnt;
#'   `"none"`: loadings are points.
#' @param max_epochs,batch_size,learning_rate Length and pace of training; by default set from the number of cells.
#' @param validation_size Share of cells held out to choose the best epoch.
#' @param early_stopping End when held-out cells have not been predicted better for a fifth of `max_epochs`.
#' @param measure_factors Measure factors and loadings on cells and genes that did not teach them (see
#'   [get_factors()]); otherwise they are read off the decoder, which costs no time and on real counts takes chance for
#'   factors.
#' @param checkpoint File that keeps the state of training; if it exists, training continues from it.
#' @param seed Same seed, device and threads: same numbers, also from Python. `set.seed()` changes nothing.
#' @param device `"auto"` (a CUDA graphics card if there is one), `"cpu"`, `"cuda"` or `"cuda:0"`.
#' @param progress Show a progress bar (in an interactive session). Interrupt training by Ctrl-C, Esc or the stop
#'   button: the fit of the best epoch so far is returned.
#' @param cell_data If `x` is a matrix, a data.frame with one row per cell; `NULL` for the other objects, which have
#'   their own.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A fit: an ordinary list of numbers and names that prints a short summary and survives `saveRDS()`. Read it
#'   with [get_factors()], [get_loadings()] and the functions that take it. `x` is not changed; see [add_ldvae()].
#' @references
#' Svensson, Gayoso, Yosef and Pachter (2020), Interpretable factor models of single-cell RNA-seq via variational
#' autoencoders. Bioinformatics 36(11). \doi{10.1093/bioinformatics/btaa169}
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, program_size = 10)
#'   fit <- fit_ldvae(sce, batch_key = "batch", n_latent = 5, max_epochs = 10)
#'   fit
#' }
#' @export
fit_ldvae <- function(x, genes = NULL, ..., gene_symbols = NULL, batch_key = NULL, covariate_keys = character(),
                      size_factor_key = NULL, assay = NULL, n_latent = 30, n_hidden = 128, n_layers = 1, dropout_rate = 0.1,
                      gene_likelihood = "nb", latent_distribution = "normal", decoder = "linear",
                      loadings_prior = "ard", max_epochs = NULL, batch_size = NULL, learning_rate = 1e-2,
                      validation_size = 0.1, early_stopping = TRUE, measure_factors = TRUE, checkpoint = NULL, seed = 0,
                      device = "auto", progress = TRUE, cell_data = NULL) {
  fit <- r_fit(ask("fit_ldvae", as.list(environment()), ...))
  if (fit$settings$stopped == "interrupted") {
    message("Interrupted: this is the fit of the best epoch so far, number ", fit$settings$best_epoch, ".")
  }
  fit
}

#' Which genes drive the axes of an embedding
#'
#' A fit whose positions are those of a reduction of `x`: Harmony, scANVI, PCA, ... The positions of the cells are the
#' embedding's, and what it did to batches. Ours are the factors: directions of the embedding that disjoint halves of
#' the genes confirm in cells that taught nothing, the loadings of every gene with their uncertainty (see
#' [get_factors()]), and a linear decoder, regressed from the counts on the factors' scores, so that every other question
#' can be asked too. Nothing is trained.
#'
#' @inheritParams fit_ldvae
#' @param x A SingleCellExperiment or a Seurat object with raw counts and the reduction.
#' @param use_rep Name of the reduction, such as `"pca"` or `"harmony"`.
#' @return A fit, as of [fit_ldvae()]. Other cells are placed by their own reduction of this name.
#' @examples
#' if (engine_available() && requireNamespace("SingleCellExperiment", quietly = TRUE)) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, program_size = 10)
#'   logs <- log1p(as.matrix(SingleCellExperiment::counts(sce)))
#'   SingleCellExperiment::reducedDim(sce, "PCA") <- prcomp(t(logs), rank. = 10)$x
#'   get_factors(from_latent(sce, use_rep = "PCA"))
#' }
#' @export
from_latent <- function(x, use_rep, genes = NULL, ..., gene_symbols = NULL, batch_key = NULL, covariate_keys = character(),
                        size_factor_key = NULL, assay = NULL, seed = 0, progress = TRUE, cell_data = NULL) {
  r_fit(ask("from_latent", as.list(environment()), ...))
}
