#' One page with what a fit says about each population
#'
#' Writes a single HTML file that holds all it needs and opens in any browser without network: what sets each population
#' apart, what varies inside it, differential expression, factors, training, with sortable tables, figures, settings and
#' what to trust. It asks every question of the package once, so it takes minutes on large data. Where one has no answer
#' (for instance too few cells), the page says why. It is drawn by the engine, which needs the Python package matplotlib.
#'
#' @inheritParams population_loadings
#' @param x Cells with counts of the fit's genes, as in [fit_ldvae()].
#' @param path The file, such as `"report.html"`; an existing one is replaced.
#' @param key Column of cell data with a treatment or another annotation, to look at inside each population.
#' @param sample_key Column of cell data with the biological samples (donors), which then are the unit of all comparisons.
#' @param embedding Coordinates of the cells (a matrix with cells in rows, or a `DimReduc` of Seurat), such as a UMAP, to draw
#'   the activity of programs over.
#' @param n_genes Genes to list of each population, factor and comparison.
#' @param seed Of the questions, as in each of them.
#' @return Nothing.
#' @seealso [plot_programs()]
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, n_populations = 2, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   try(write_report(fit, sce, groupby = "population", path = tempfile(fileext = ".html"))) # matplotlib may be missing
#' }
#' @export
write_report <- function(fit, x, groupby, path, key = NULL, sample_key = NULL, embedding = NULL, assay = NULL,
                         n_genes = 10, seed = 0, cell_data = NULL, ...) {
  if (!is.null(embedding)) embedding <- coordinates_of(embedding)
  ask("write_report", as.list(environment()), ...)
  invisible()
}
