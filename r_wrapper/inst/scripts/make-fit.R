# Makes inst/extdata/fit.rds, the small fit of the help pages: Rscript inst/scripts/make-fit.R (in r_wrapper, with
# ldvae installed).
library(ldvae)

sce <- simulate_counts(n_cells = 400, n_genes = 120, n_populations = 3, program_size = 12, n_identity = 15, seed = 1)
fit <- fit_ldvae(sce, batch_key = "batch", n_latent = 5, n_hidden = 8, max_epochs = 40, batch_size = 64, device = "cpu")
saveRDS(fit, "inst/extdata/fit.rds", version = 3, compress = "xz")
