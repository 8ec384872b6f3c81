# Objects out: the embedding with its loadings where Bioconductor and Seurat keep them, and simulated counts.

#' Put a fit into the object: embedding and loadings
#'
#' @param x A SingleCellExperiment or a Seurat object with counts of the fit's genes. Not changed.
#' @inheritParams get_factors
#' @param scores A table of [get_program_scores()]: its columns become cell data, ready for
#'   `scater::plotReducedDim(colour_by = )` or `FeaturePlot(features = )`. Cells that it lacks get `NA`, of which a message
#'   tells; columns of that name are replaced.
#' @param assay As in [population_loadings()].
#' @return A changed copy of `x`, with positions of the cells on the active factors, for neighbours and clusters
#'   ([get_latent()] with `embedding = TRUE`). A SingleCellExperiment has them in `reducedDim(x, "LDVAE")`, a matrix, with
#'   the loadings in log2 units per standard deviation of the factor (attribute `"rotation"`) and what [get_factors()] says (attribute `"factors"`); both are also in
#'   `metadata(x)$ldvae`, where they stay when cells are chosen. A Seurat object has the reduction `"ldvae"` with key
#'   `LDVAE_`, for `DimPlot(reduction = "ldvae")`, `ElbowPlot(reduction = "ldvae")`, `VizDimLoadings()`, `DimHeatmap()` or
#'   `RunUMAP(reduction = "ldvae", dims = 1:r)`, `r` being `ncol(Embeddings(x, "ldvae"))`. Dimension 1 is the first active
#'   factor; the order is that of [get_factors()], in which standard deviations need not fall.
#' @examples
#' if (engine_available() && requireNamespace("SingleCellExperiment", quietly = TRUE)) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   scores <- get_program_scores(fit, sce, groupby = "population", kind = "between")
#'   sce <- add_ldvae(sce, fit, scores = scores)
#'   head(SingleCellExperiment::reducedDim(sce, "LDVAE"))
#' }
#' if (engine_available() && requireNamespace("SeuratObject", quietly = TRUE)) {
#'   counts <- SingleCellExperiment::counts(sce)
#'   seu <- SeuratObject::CreateSeuratObject(methods::as(counts, "CsparseMatrix"))
#'   seu <- add_ldvae(seu, fit_ldvae(seu, n_latent = 5, max_epochs = 10))
#'   seu[["ldvae"]] # RunUMAP(seu, reduction = "ldvae", dims = seq_len(ncol(seu[["ldvae"]])))
#' }
#' @export
add_ldvae <- function(x, fit, scores = NULL, assay = NULL, ...) {
  check_no_others("add_ldvae", ...)
  check_given(as.list(environment()))
  if (!methods::is(x, "SingleCellExperiment") && !inherits(x, "Seurat")) {
    stop("`x` must be a SingleCellExperiment or a Seurat object, not ", described(x), ": the object comes first.",
         call. = FALSE)
  }
  factors <- get_factors(fit)
  factors <- factors[factors$active, ]
  if (!nrow(factors)) stop("`fit` has no active factor, so there is nothing to add.", call. = FALSE)
  rows <- if (!is.null(scores)) rows_of_scores(x, scores) # before the work
  latent <- get_latent(fit, x, embedding = TRUE, assay = assay)
  embedding <- as.matrix(latent[factors$factor])
  rownames(embedding) <- latent$cell
  loadings <- as.matrix(get_loadings(fit)[factors$factor])
  rownames(loadings) <- names_of_genes(x, fit)
  for (name in setdiff(names(scores), "cell")) {
    if (is_se(x)) SummarizedExperiment::colData(x)[[name]] <- scores[[name]][rows]
    else x[[name]] <- scores[[name]][rows]
  }
  if (is_se(x)) add_to_sce(x, embedding, loadings, factors) else add_to_seurat(x, embedding, loadings, fit)
}

# What the genes of a fit are called in `x`: their rows, where the fit has them by symbol or with underscores.
names_of_genes <- function(x, fit) {
  there <- rownames(x)
  symbols <- fit$settings$gene_symbols
  if (!is.null(symbols) && !is.null(column <- feature_data(x, NULL)[[symbols]])) {
    found <- there[match(fit$genes, as.character(column))]
  } else {
    found <- ifelse(fit$genes %in% there, fit$genes, gsub("_", "-", fit$genes, fixed = TRUE))
  }
  ifelse(is.na(found), fit$genes, found)
}

# Which row of `scores` has each cell of `x`, if any.
rows_of_scores <- function(x, scores) {
  if (!is.data.frame(scores) || !"cell" %in% names(scores)) {
    stop("`scores` must be the table that get_program_scores returns.", call. = FALSE)
  }
  rows <- match(colnames(x), scores$cell)
  if (all(is.na(rows))) stop(sprintf("`scores` has none of the %d cells of `x`.", length(rows)), call. = FALSE)
  if (anyNA(rows)) {
    message(sprintf("`scores` lacks %d of the %d cells of `x`: they get NA.", sum(is.na(rows)), length(rows)))
  }
  rows
}

# A plain matrix, which every function that reads a reduction takes; the rest as attributes, as scater's PCA has it.
add_to_sce <- function(x, embedding, loadings, factors) {
  facts <- S4Vectors::DataFrame(factors, row.names = factors$factor)
  attr(embedding, "rotation") <- loadings
  attr(embedding, "factors") <- factors
  SingleCellExperiment::reducedDim(x, "LDVAE") <- embedding
  S4Vectors::metadata(x)$ldvae <- list(loadings = loadings, factors = facts)
  x
}

add_to_seurat <- function(x, embedding, loadings, fit) {
  colnames(embedding) <- colnames(loadings) <- paste0("LDVAE_", seq_len(ncol(embedding)))
  assay <- fit$settings$assay
  if (is.null(assay) || !assay %in% SeuratObject::Assays(x)) assay <- SeuratObject::DefaultAssay(x)
  x[["ldvae"]] <- SeuratObject::CreateDimReducObject(
    embeddings = embedding, loadings = loadings, stdev = unname(apply(embedding, 2L, stats::sd)), key = "LDVAE_",
    assay = assay
  )
  x
}

#' Two independent count sets of the same cells
#'
#' Splits every count in two, so that groups found in one part can be tested in the other. Clusters differ in the counts
#' that they were found in, also where there is nothing to find; in counts that the clustering has not seen they do not.
#' Negative binomial counts split into independent parts by a beta-binomial draw that knows the dispersion of each gene,
#' which it takes from `fit`. Each part has its share of the counts, and less power; a gene that varies more than the
#' fit knows stays correlated between the parts.
#'
#' @param x A SingleCellExperiment, a Seurat object or a matrix of counts (genes x cells).
#' @param assay As in [fit_ldvae()].
#' @param share Of each count that goes into the first part, on average.
#' @param fit A fit of these counts, which knows the dispersion of each gene; genes that it does not have get the
#'   median. Without it, counts are taken to be Poisson, which leaves parts of real counts correlated.
#' @param seed Of the draws.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A list of two, `first` and `second`, of the kind of `x`: the counts and the cell data, nothing else, since it
#'   may come from all counts. Cells without a count in one of the parts are left out of both, with a warning.
#' @references
#' Neufeld, Gao, Popp, Battle and Witten (2024), Inference after latent variable estimation for single-cell RNA
#' sequencing data. Biostatistics 25(1). Neufeld, Dharamshi, Gao and Witten (2024), Data thinning for
#' convolution-closed distributions. JMLR 25(57).
#' @examples
#' if (engine_available() && requireNamespace("SingleCellExperiment", quietly = TRUE)) {
#'   sce <- simulate_counts(n_cells = 200, n_genes = 50, program_size = 5)
#'   parts <- split_counts(sce, fit = fit_ldvae(sce, n_latent = 5, max_epochs = 10))
#'   parts$first
#' }
#' @export
split_counts <- function(x, assay = NULL, share = 0.5, fit = NULL, seed = 0, ...) {
  check_no_others("split_counts", ...)
  check_given(as.list(environment()))
  if (!is.null(fit)) fit <- check_fit(fit)
  input <- read_input(x, NULL, assay = assay, keys = character(), hint = c(fit$settings$assay, fit$settings$layer)[1],
                      symbols = fit$settings$gene_symbols)
  parts <- split_by_engine(plain_arguments(list(share = share, seed = seed)), fit, input)
  kept <- as.vector(parts$kept)
  lapply(parts[c("first", "second")], function(counts) {
    counts <- methods::as(counts, "CsparseMatrix")
    dimnames(counts) <- list(input$genes, input$cells[kept])
    with_counts(x, counts, kept)
  })
}

with_counts <- function(x, counts, kept) {
  if (is_se(x)) {
    x <- x[, kept]
    SummarizedExperiment::assays(x) <- list(counts = counts)
    if (methods::is(x, "SingleCellExperiment")) SingleCellExperiment::reducedDims(x) <- list()
    x
  } else if (inherits(x, "Seurat")) {
    SeuratObject::CreateSeuratObject(counts, meta.data = x[[]][kept, , drop = FALSE])
  } else {
    counts
  }
}

#' Simulate negative binomial counts with planted gene programs
#'
#' Each population has markers that tell it from the others, and a program of its own: genes that go up and down
#' together from cell to cell, in this population only. Programs shared by all or half of the populations, batches,
#' samples and a treatment come on top. All effects add up on the log scale; expression is the softmax of the sum.
#'
#' @param n_cells,n_genes,n_populations Size of the data. Populations are named P0, P1, ..., genes G0, G1, ..., cells
#'   C0, C1, ...
#' @param program_size Genes per program (and per treatment), drawn from the better expressed half of the genes.
#' @param amplitude Mean absolute loading of a program's genes, in natural log units per standard deviation of its
#'   activity. Own and partial programs have genes of both signs, the first shared program only positive ones.
#' @param n_shared,n_partial Programs active in all populations, and in half of them.
#' @param null_populations Populations without a program of their own, by name.
#' @param rewired_populations Populations in which the first shared program drives other genes in place of half of its
#'   own, by name.
#' @param n_identity Marker genes per population (a quarter of them down), limited to `n_genes`.
#' @param smallest_share No population is expected to have less than about this share of the cells.
#' @param n_batches Batches, crossed with everything else; each shifts all genes by normal amounts (standard deviation
#'   0.15).
#' @param n_samples Samples (donors), crossed with populations; 0 for none. Every second one (S1, S3, ...) is treated.
#' @param sample_std,n_sample_genes Standard deviation of a sample's shifts, and the number of genes shifted.
#' @param treatment_effect Mean absolute shift of `program_size` genes in treated samples, in natural log units; 0
#'   leaves the labels void.
#' @param library_size Median expected total count of a cell.
#' @param depth Multiplier of the library size of some populations, such as `c(P0 = 3)`.
#' @param inverse_dispersion Median of the genes' inverse dispersion (variance mu + mu^2 / inverse dispersion).
#' @param seed Same arguments and seed: same counts, also from Python.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A SingleCellExperiment with the assay `counts`; cell data `population`, `batch` and, with samples, `sample`
#'   and `treatment`; `reducedDim(x, "activity")`, the activity of the own program, then of each shared and partial one;
#'   and `metadata(x)$truth`, a list of all effects in natural log units (`programs`, `shared`, `active`, `rewired`,
#'   `identity`, `means`, `batch_shift`, `sample_shift`, `treatment`, `inverse_dispersion`, `share`).
#' @examples
#' if (engine_available() && requireNamespace("SingleCellExperiment", quietly = TRUE)) {
#'   simulate_counts(n_cells = 100, n_genes = 50, program_size = 5)
#' }
#' @export
simulate_counts <- function(n_cells = 2000, n_genes = 1000, n_populations = 4, program_size = 40, amplitude = 0.8,
                            n_shared = 1, n_partial = 0, null_populations = character(),
                            rewired_populations = character(), n_identity = 60, smallest_share = 0.03, n_batches = 2,
                            n_samples = 0, sample_std = 0.3, n_sample_genes = 100, treatment_effect = 0,
                            library_size = 800, depth = NULL, inverse_dispersion = 3.3, seed = 0, ...) {
  check_no_others("simulate_counts", ...)
  arguments <- as.list(environment())
  need_package("SingleCellExperiment", "Simulated counts", "BiocManager::install")
  made <- simulated(plain_arguments(arguments))
  counts <- made$counts
  dimnames(counts) <- list(made$genes, made$cells)
  activity <- made$activity
  rownames(activity) <- made$cells
  data <- lapply(made$cell_data, function(v) factor(v$levels[v$codes + 1L], v$levels))
  SingleCellExperiment::SingleCellExperiment(
    list(counts = counts),
    colData = S4Vectors::DataFrame(data, row.names = made$cells),
    reducedDims = list(activity = activity),
    metadata = list(truth = made$truth)
  )
}
