test_that("a SingleCellExperiment gets a reduction with its loadings", {
  sce <- simulated()
  scores <- get_program_scores(fitted(), sce, groupby = "population", kind = "between")
  out <- add_ldvae(sce, fitted(), scores = scores)
  embedding <- SingleCellExperiment::reducedDim(out, "LDVAE")
  active <- get_factors(fitted())$factor[get_factors(fitted())$active]
  expect_identical(colnames(embedding), active)
  expect_equal(unname(embedding[, 2]), get_latent(fitted(), sce, embedding = TRUE)[[active[2]]])
  expect_true(all(diff(apply(embedding, 2, stats::sd)) < 0))
  expect_identical(rownames(embedding), colnames(sce))
  loadings <- attr(embedding, "rotation")
  expect_identical(rownames(loadings), fitted()$genes)
  expect_equal(unname(loadings[, 2]), get_loadings(fitted())[[active[2]]])
  expect_identical(attr(embedding, "factors")$kl, get_factors(fitted())$kl[get_factors(fitted())$active])
  expect_identical(S4Vectors::metadata(out[, 1:10])$ldvae$loadings, loadings)
  expect_identical(out$P1_between, scores$P1_between)
  expect_identical(SummarizedExperiment::assay(out, "counts"), counts_of_simulated())
  expect_identical(SingleCellExperiment::reducedDimNames(out[, 1:10]), c("activity", "LDVAE"))
})

test_that("what cannot be added is refused", {
  sce <- simulated()
  expect_identical(error_of(add_ldvae(counts_of_simulated(), fitted())),
                   "`x` must be a SingleCellExperiment or a Seurat object, not a dgCMatrix: the object comes first.")
  expect_identical(error_of(add_ldvae(sce)), "`fit` is missing, with no default.")
  expect_identical(error_of(add_ldvae(sce, fitted(), scores = 1)),
                   "`scores` must be the table that get_program_scores returns.")
  expect_identical(error_of(add_ldvae(sce, fitted(), scores = data.frame(cell = "X", a = 1))),
                   "`scores` has none of the 400 cells of `x`.")
  expect_message(out <- add_ldvae(sce, fitted(), scores = data.frame(cell = "C1", a = 2)),
                 "`scores` lacks 399 of the 400 cells of `x`: they get NA.", fixed = TRUE)
  expect_identical(out$a, c(NA, 2, rep(NA, 398)))
  expect_match(error_of(add_ldvae(sce[1:2, ], fitted())), "^118 of 120 genes of the fit are not in `x`")
})

test_that("simulated counts carry their truth", {
  sce <- simulated()
  expect_s4_class(SummarizedExperiment::assay(sce, "counts"), "dgCMatrix")
  expect_identical(dim(sce), c(120L, 400L))
  expect_identical(levels(sce$population), c("P0", "P1", "P2"))
  expect_identical(levels(sce$treatment), c("control", "treated"))
  truth <- S4Vectors::metadata(sce)$truth
  expect_identical(dim(truth$programs), c(3L, 120L))
  expect_identical(rowSums(truth$programs != 0), c(12, 12, 12))
  expect_identical(dim(SingleCellExperiment::reducedDim(sce, "activity")), c(400L, 2L))
  deep <- function(...) {
    x <- simulate_counts(n_cells = 300, n_genes = 40, n_populations = 2, program_size = 4, seed = 2, ...)
    tapply(Matrix::colSums(SummarizedExperiment::assay(x)), x$population, mean)
  }
  expect_gt((deep(depth = c(P0 = 4)) / deep())[["P0"]], 3)
  expect_equal((deep(depth = c(P0 = 4)) / deep())[["P1"]], 1, tolerance = 0.1)
  expect_match(error_of(simulate_counts(n_cells = 0)), "^`n_cells` must be a whole number of at least 1, not 0")
})
