skip_without_engine <- function() {
  ready <- engine_available()
  skip_if_not(ready, paste("no engine:", attr(ready, "reason")))
}

# Small data and one fit of it, made once.
made <- new.env()

simulated <- function() {
  skip_without_engine()
  skip_if_not_installed("SingleCellExperiment")
  if (is.null(made$sce)) {
    made$sce <- simulate_counts(
      n_cells = 400, n_genes = 120, n_populations = 3, program_size = 12, n_identity = 15, n_samples = 6,
      treatment_effect = 0.8, seed = 1
    )
  }
  made$sce
}

quick_fit <- function(x, ..., seed = 0) {
  fit_ldvae(x, ..., n_latent = 5, n_hidden = 16, max_epochs = 12, batch_size = 64, seed = seed, device = "cpu")
}

fitted <- function() {
  if (is.null(made$fit)) made$fit <- quick_fit(simulated(), batch_key = "batch")
  made$fit
}

counts_of_simulated <- function() SummarizedExperiment::assay(simulated(), "counts")

cell_data_of_simulated <- function() as.data.frame(SummarizedExperiment::colData(simulated()))

# The fit that ships with the package, for what needs no engine.
shipped <- function() readRDS(system.file("extdata", "fit.rds", package = "ldvae"))

# The message of an error, whole.
error_of <- function(expr) tryCatch({
  expr
  "no error"
}, error = conditionMessage)
