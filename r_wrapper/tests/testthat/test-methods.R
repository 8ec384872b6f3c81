# What people type at a fit out of habit.

test_that("a fit has the methods of other models", {
  fit <- shipped()
  factors <- get_factors(fit)
  expect_identical(summary(fit), factors[factors$active, ])
  expect_identical(dim(fit), c(length(fit$genes), length(fit$cells)))
  expect_identical(as.data.frame(fit), get_loadings_uncertainty(fit))
  expect_identical(head(fit, 3), head(get_loadings_uncertainty(fit), 3))
  expect_identical(tail(fit, 2), tail(get_loadings_uncertainty(fit), 2))
  expect_identical(rownames(coef(fit)), fit$genes)
  expect_identical(unname(coef(fit)[, 1]), get_loadings(fit)$Z_1)
  expect_identical(stats::loadings(fit), coef(fit))
  expect_identical(fit$genes, unclass(fit)$genes)
  expect_null(fit$no_such_part)
  skip_if_not_installed("ggplot2")
  expect_s3_class(plot_loadings(fit), "ggplot")
  expect_s3_class(plot_history(fit), "ggplot")
  expect_s3_class(plot(fit, n_genes = 4), "ggplot")
})

test_that("it can be cited, with a year", {
  expect_match(format(citation("ldvae"), style = "text")[1], "2026")
})

test_that("reductions are plain matrices, which other packages compute with", {
  sce <- add_ldvae(simulated(), fitted())
  embedding <- SingleCellExperiment::reducedDim(sce, "LDVAE")
  expect_true(is.matrix(embedding))
  expect_identical(dim(stats::cor(embedding)), rep(ncol(embedding), 2L))
  expect_length(rowMeans(embedding), ncol(sce))
  expect_identical(dim(as.data.frame(embedding)), dim(embedding))
})

test_that("the groups of a Seurat object are its identities", {
  skip_if_not_installed("SeuratObject")
  x <- SeuratObject::CreateSeuratObject(counts_of_simulated(), meta.data = cell_data_of_simulated())
  SeuratObject::Idents(x) <- "population"
  expect_message(found <- population_loadings(fitted(), x, kind = "between"), "identities of `x`")
  expect_identical(found, population_loadings(fitted(), x, groupby = "population", kind = "between"))
  expect_message(differential_expression(fitted(), x, group1 = "P0"), "identities of `x`")
  expect_identical(error_of(population_loadings(fitted(), simulated())), "`groupby` is missing, with no default.")
})

test_that("scores have names that Seurat and formulas take, the same in table and object", {
  skip_if_not_installed("SeuratObject")
  x <- SeuratObject::CreateSeuratObject(counts_of_simulated(), meta.data = cell_data_of_simulated())
  for (labels in list(c("0", "1", "2"), c("CD4+ T", "CD4- T", "T/NK cell"))) {
    x$clusters <- factor(labels[as.integer(factor(x$population))], labels)
    scores <- get_program_scores(fitted(), x, groupby = "clusters", kind = "between")
    expect_identical(names(scores), make.names(names(scores), unique = TRUE))
    expect_length(names(scores), 4)
    expect_no_warning(out <- add_ldvae(x, fitted(), scores = scores))
    expect_true(all(names(scores)[-1] %in% names(out[[]])))
    loadings <- population_loadings(fitted(), x, groupby = "clusters", kind = "between")
    skip_if_not_installed("patchwork")
    at <- SeuratObject::Embeddings(out, "ldvae")[, 1:2]
    expect_s3_class(plot_programs(loadings, scores = scores, embedding = at), "ggplot")
  }
})

test_that("tables may be of a class of their own, as grouped tibbles are", {
  markers <- population_loadings(fitted(), simulated(), groupby = "population", kind = "between")
  registerS3method("[", "picky", function(x, ...) stop("not in this way"))
  registerS3method("$", "picky", function(x, name) stop("not in this way"))
  grouped <- structure(markers, class = c("picky", "data.frame"))
  expect_identical(top_genes(grouped, n = 2), top_genes(markers, n = 2))
  skip_if_not_installed("ggplot2")
  expect_no_warning(plot <- plot_programs(grouped))
  expect_identical(plot$data, plot_programs(markers)$data)
})

test_that("a fit without factors says so, and has empty tables", {
  expect_message(fit <- fit_ldvae(simulated()[, 1:12], n_latent = 3, max_epochs = 2), "^No direction of the latent")
  expect_identical(nrow(top_genes(get_loadings(fit))), 0L)
  expect_identical(nrow(head(fit)), 0L)
  expect_identical(error_of(plot_loadings(fit)), "`loadings` has no factor: none of the fit is active.")
  expect_identical(error_of(save_fit(fit, "fit.rds")),
    "`path`: a file called .rds is one of saveRDS(), which keeps a fit too; call this one .safetensors.")
})
