# The engine as an R user meets it: absent, failing, warning. Sessions of their own, since Python starts once in each.

in_new_session <- function(code, environment = character()) {
  file <- tempfile(fileext = ".R")
  library <- dirname(find.package("ldvae"))
  writeLines(c(sprintf(".libPaths(c(%s))", toString(dQuote(c(library, .libPaths()), FALSE))), "library(ldvae)", code), file)
  command <- file.path(R.home("bin"), "Rscript")
  out <- suppressWarnings(system2(command, c("--vanilla", shQuote(file)), stdout = TRUE, stderr = TRUE,
                                  env = environment))
  paste(out, collapse = "\n")
}

expect_said <- function(out, text) expect_match(out, text, fixed = TRUE)

test_that("without Python one sentence says what to do, and tables and pictures of a fit still work", {
  out <- in_new_session(c(
    "fit <- readRDS(system.file('extdata', 'fit.rds', package = 'ldvae'))",
    "cat('rows:', nrow(get_loadings(fit)), nrow(get_factors(fit)), nrow(top_genes(get_loadings(fit), n = 2)), '\\n')",
    "print(fit)",
    "if (requireNamespace('ggplot2', quietly = TRUE)) cat('drawn:', class(plot_loadings(get_loadings(fit))), '\\n')",
    "cat('available:', isTRUE(engine_available()), '\\n')",
    "message(tryCatch(get_latent(fit), error = conditionMessage))"
  ), "RETICULATE_PYTHON=/no/such/python")
  expect_match(out, "rows: 120 5 [2468]\\b")
  expect_said(out, "LDVAE fit of 400 cells x 120 genes")
  if (requireNamespace("ggplot2", quietly = TRUE)) expect_match(out, "drawn: .*gg")
  expect_said(out, "available: FALSE")
  expect_said(out, "ldvae computes in Python (3.10 or newer), and R found none that it can use: ")
  expect_said(out, "run ldvae::install_engine() once and restart R")
})

test_that("a Python of the user's that lacks packages is named, with the command that mends it", {
  skip_without_engine()
  skip_on_os("windows")
  # the same Python, isolated from what is installed beside it
  bare <- file.path(tempfile(), "bin")
  dir.create(bare, recursive = TRUE)
  python <- Sys.getenv("RETICULATE_PYTHON")
  skip_if(!nzchar(python), "no RETICULATE_PYTHON to start from")
  made <- system2(python, c("-m", "venv", "--without-pip", shQuote(dirname(bare))), stdout = FALSE, stderr = FALSE)
  skip_if(made != 0, "no venv")
  out <- in_new_session("message(tryCatch(fit_ldvae(matrix(1)), error = conditionMessage))",
                        paste0("RETICULATE_PYTHON=", file.path(bare, "python")))
  expect_match(out, "ldvae needs Python packages that .*/bin/python lacks \\([a-z]+\\): install them there with: ")
  expect_said(out, "-m pip install 'anndata>=0.10'")
})

test_that("errors are one sentence of ours, without a traceback, and the session lives on", {
  sce <- simulated()
  expect_identical(error_of(quick_fit(sce, n_layers = 0)),
                   "`n_layers` must be a whole number of at least 1 and at most 20, not 0.")
  expect_identical(error_of(fit_ldvae(sce, n_latent = NA)), "`n_latent` must not be NA.")
  expect_identical(error_of(differential_expression(fitted(), sce)), paste(
    "`groupby` must name a column of the cell data, or `cells1` some cells; both are missing."
  ))
  expect_identical(nrow(get_latent(fitted(), sce)), 400L)
})

test_that("notes of the engine are messages, its warnings warnings", {
  sce <- simulated()
  sce$group <- c(rep("few", 3), rep(c("a", "b"), length.out = 397))
  expect_message(population_programs(fitted(), sce, groupby = "group", kind = "between"),
                 "^Populations with fewer than 5 cells are left out: 'few'\\.\n$")
  sce$group <- rep(c("unknown", "b"), length.out = 400)
  expect_warning(population_programs(fitted(), sce, groupby = "group", kind = "between"),
                 "^'unknown' of 'group' count as populations")
})

test_that("a mistake of the engine is not taken for one of the user", {
  skip_without_engine()
  broken <- fitted()
  broken$weights <- NULL
  expect_match(error_of(get_latent(broken)), "^the engine failed with KeyError: 'weights'; reticulate::py_last_error")
})

test_that("R's random numbers are left alone", {
  set.seed(1)
  before <- .Random.seed
  quick_fit(simulated())
  expect_identical(.Random.seed, before)
})
