#' ldvae: loadings of every cell population from one model
#'
#' Trains one linearly decoded variational autoencoder (LDVAE) on the counts of all cells and answers from it which
#' genes drive each population, which genes differ between any two sets of cells, and which factors go with a
#' treatment, each as a plain table with its uncertainty.
#'
#' Start with [fit_ldvae()], then ask: [get_factors()], [get_loadings()] and [top_genes()] for the factors of all
#' cells; [population_loadings()], [population_programs()], [get_program_scores()] and [get_program_map()] for the
#' populations;
#' [differential_expression()] and [differential_contributions()] for groups; [associate_factors()] for treatments;
#' [add_ldvae()] to go on in Seurat or with a SingleCellExperiment. Vignettes: `browseVignettes("ldvae")`.
#'
#' @references
#' Svensson, Gayoso, Yosef and Pachter (2020), Interpretable factor models of single-cell RNA-seq via variational
#' autoencoders. Bioinformatics 36(11). \doi{10.1093/bioinformatics/btaa169}
#' @importClassesFrom Matrix dgCMatrix
#' @keywords internal
"_PACKAGE"
