test_that("a fit prints a short summary", {
  expect_output(print(shipped()), "^LDVAE fit of 400 cells x 120 genes: [1-5] of 5 factors active\nnb likelihood")
})

test_that("tables of a fit need no engine and have their columns", {
  fit <- shipped()
  factors <- get_factors(fit)
  expect_named(factors, c("factor", "reliability", "pval", "variance_explained", "kl", "n_genes", "active"))
  expect_identical(factors$factor, paste0("Z_", 1:5))
  expect_false(is.unsorted(-factors$variance_explained[factors$active]))
  expect_gt(sum(factors$active), 1)
  active <- factors$factor[factors$active]
  expect_true(all(factors$reliability[factors$active] >= 0.4) && all(is.na(factors$pval[!factors$active])))
  loadings <- get_loadings(fit)
  expect_named(loadings, c("gene", active))
  expect_named(get_loadings(fit, inactive = TRUE), c("gene", paste0("Z_", 1:5)))
  expect_identical(error_of(get_loadings(fit, inactive = 1)), "`inactive` must be TRUE or FALSE, not '1'.")
  expect_identical(loadings$gene, paste0("G", 0:119))
  long <- get_loadings_uncertainty(fit)
  expect_named(long, c("gene", "factor", "loading", "std", "lfsr"))
  expect_identical(unique(long$factor), active)
  expect_identical(long$loading[long$factor == "Z_2"], loadings$Z_2)
  expect_identical(as.vector(table(long$factor[long$lfsr < 0.05])), factors$n_genes[factors$active])
  history <- get_history(fit)
  expect_named(history, c("epoch", "elbo_train", "elbo_validation", "reconstruction", "kl"))
  expect_equal(history$elbo_train, history$reconstruction - history$kl)
})

test_that("top_genes takes the largest of each factor, strongest first", {
  loadings <- data.frame(gene = letters[1:4], Z_1 = c(1, -3, 2, 0), Z_2 = c(0, 0.5, -0.5, 4))
  expect_identical(top_genes(loadings, n = 2), data.frame(
    gene = c("b", "c", "d", "b"), factor = c("Z_1", "Z_1", "Z_2", "Z_2"), loading = c(-3, 2, 4, 0.5)
  ))
  programs <- data.frame(population = "A", program = c("program_2", "program_1", "program_2"), gene = letters[1:3],
                         loading = c(1, 2, -3))
  expect_identical(top_genes(programs, n = 1)$gene, c("c", "b"))
  expect_identical(top_genes(programs, n = 10)$program, c("program_2", "program_2", "program_1"))
})

test_that("top_genes of a comparison begins with the called, by effect or evidence, up or down", {
  de <- data.frame(within = "all", gene = c("u", "v", "w", "x"), group1 = rep(c("B", "A"), each = 4), group2 = "rest",
                   lfc_mean = c(3, -2, 1, NA), lfc_std = c(2, 0.5, 0.1, NA), is_de = c(FALSE, TRUE, TRUE, FALSE))
  genes <- function(...) {
    found <- top_genes(de, ...)
    expect_identical(found$group1, rep(c("B", "A"), each = nrow(found) / 2))
    paste(found$gene[found$group1 == "A"], collapse = "")
  }
  expect_identical(genes(), "vwu")
  expect_identical(genes(by = "evidence"), "wvu")
  expect_identical(genes(direction = "up"), "wu")
  expect_identical(genes(direction = "down", n = NULL), "v")
  expect_identical(genes(n = Inf), "vwu")
})

test_that("top_genes writes gene sets, up and down apart", {
  loadings <- data.frame(gene = letters[1:4], Z_1 = c(1, -3, 2, 0), Z_2 = c(0, 0.5, 1, 4))
  file <- tempfile(fileext = ".gmt")
  top_genes(loadings, n = 3, gmt = file)
  expect_identical(readLines(file),
                   c("Z_1_down\tldvae\tb", "Z_1_up\tldvae\tc\ta", "Z_2_up\tldvae\td\tc\tb"))
  expect_identical(error_of(top_genes(loadings, gmt = 3)), "`gmt` must be the name of a file, not '3'.")
  expect_identical(error_of(top_genes(loadings, gmt = "nowhere/x.gmt")),
                   "`gmt` must be in an existing folder, and 'nowhere' is not one.")
})

test_that("what is no fit or no table is refused", {
  expect_identical(error_of(get_factors(1)), "`fit` must be a fit (from fit_ldvae or load_fit), not '1'.")
  expect_identical(error_of(get_loadings(list())), "`fit` must be a fit (from fit_ldvae or load_fit), not a list.")
  expect_identical(error_of(top_genes(1:3)),
    paste("`loadings` must be a table of get_loadings, get_loadings_uncertainty, population_loadings or",
          "differential_expression."))
  expect_identical(error_of(top_genes(get_loadings(shipped()), direction = "higher")),
                   "`direction` must be one of 'up', 'down', not 'higher'.")
  expect_identical(error_of(top_genes(get_loadings(shipped()), by = "evidence")),
                   "`by` must be 'effect' for a table without standard deviations (get_loadings_uncertainty).")
  expect_identical(error_of(top_genes(get_loadings(shipped()), n = 0)),
                   "`n` must be a whole number of at least 1, not 0.")
})

test_that("a fit survives saveRDS, with the same bits and the same answers", {
  fit <- fitted()
  path <- tempfile(fileext = ".rds")
  saveRDS(fit, path)
  again <- readRDS(path)
  expect_identical(again, fit)
  before <- get_latent(fit, simulated())
  quick_fit(simulated()) # another fit, so that the engine forgets this one
  expect_identical(get_latent(again, simulated()), before)
})

test_that("a fit survives its file", {
  fit <- fitted()
  path <- tempfile(fileext = ".safetensors")
  save_fit(fit, path)
  again <- load_fit(path)
  expect_identical(again, fit)
  expect_identical(error_of(load_fit(fit)), "`path` must be the name of a file, not a fit.")
  expect_match(error_of(load_fit("nowhere.safetensors")), "^`path` must be a file written by save_fit")
  expect_match(error_of(save_fit(fit, "no/such/folder/x")), "^`path` must be in an existing folder")
})

test_that("the same seed gives the same fit, and another seed another", {
  again <- quick_fit(simulated(), batch_key = "batch")
  expect_identical(again, fitted())
  expect_false(identical(quick_fit(simulated(), batch_key = "batch", seed = 1)$latent_mean, again$latent_mean))
})
