# What people type who know other packages: a name that is no argument is answered by the one that is meant.

test_that("names of other packages' arguments are answered by the names here", {
  fit <- shipped()
  says <- function(call) error_of(eval(call))
  wanted <- list(
    quote(differential_expression(fit, fit, ident.1 = "B")),
    quote(differential_expression(fit, fit, ident.2 = "T")),
    quote(population_loadings(fit, fit, group.by = "cluster")),
    quote(get_expression(fit, fit, features = "CD3D")),
    quote(plot_loadings(fit, dims = 1:2)),
    quote(fit_ldvae(fit, npcs = 10)),
    quote(fit_ldvae(fit, batch = "lane")), # the beginning of two arguments that are there
    quote(fit_ldvae(fit, likelihood = "nb")),
    quote(from_latent(fit, reduction = "pca")),
    quote(save_fit(fit, file = "x")),
    quote(top_genes(coef(fit), only.pos = TRUE)),
    quote(associate_factors(fit, fit, groupby = "ident")),
    quote(get_latent(fit, inactives = TRUE)) # a slip of the finger
  )
  meant <- c("ident.1", "group1", "ident.2", "group2", "group.by", "groupby", "features", "genes", "dims", "factors",
             "npcs", "n_latent", "batch", "batch_key", "likelihood", "gene_likelihood",
             "reduction", "use_rep", "file", "path", "only.pos", "direction", "groupby", "key", "inactives", "inactive")
  for (i in seq_along(wanted)) {
    expect_identical(says(wanted[[i]]), sprintf("`%s` is no argument of %s(): `%s` is meant.", meant[2 * i - 1],
                                                as.character(wanted[[i]][[1]]), meant[2 * i]))
  }
  expect_identical(says(quote(differential_expression(fit, fit, only.pos = TRUE))),
    paste("`only.pos` is no argument of differential_expression(); genes that are higher are those of",
          "top_genes(direction = \"up\")."))
  expect_identical(says(quote(differential_expression(fit, fit, features = "CD3D"))),
    paste("`features` is no argument of differential_expression(); all genes are compared: choose the rows of the",
          "table."))
  expect_match(says(quote(fit_ldvae(fit, n = 10))), "`n` is no argument of fit_ldvae(), which has 'x', ", fixed = TRUE)
  expect_identical(says(quote(fit_ldvae(fit, NULL, "lane"))), "fit_ldvae(): what comes after `genes` must be named.")
  # several at once are all answered
  expect_identical(says(quote(differential_expression(fit, fit, ident.1 = "B", min.pct = 0.1))),
    paste("`ident.1` is no argument of differential_expression(): `group1` is meant. `min.pct` is no argument of",
          "differential_expression(); all genes are compared, and top_genes(min_detected = 0.1) leaves out those that",
          "few cells have."))
  expect_match(says(quote(get_latent(fit, reduction = "umap"))), "is no argument of get_latent(), which has", fixed = TRUE)
  expect_identical(says(quote(fit_ldvae(fit, group.by = "cluster"))),
    paste("`group.by` is no argument of fit_ldvae(); labels take no part here, but in what is asked of a fit, as",
          "`groupby`."))
  expect_identical(says(quote(get_loadings(fit, quiet = TRUE))),
    "`quiet` is no argument of get_loadings(), which has 'fit', 'inactive'.")
  expect_identical(says(quote(get_history(fit, 2))), "get_history() takes at most 1 argument: 'fit'.")
})

test_that("every function has the dots that this needs, and nothing is swallowed", {
  own <- setdiff(getNamespaceExports("ldvae"), c("engine_available", "install_engine"))
  for (name in own) {
    takes <- names(formals(getExportedValue("ldvae", name)))
    expect_true("..." %in% takes, info = name)
    takes[takes == "..."] <- "no_such"
    call <- as.call(c(list(as.name(name)), stats::setNames(rep(list(NULL), length(takes)), takes)))
    expect_match(error_of(eval(call)), sprintf("`no_such` is no argument of %s()", name), fixed = TRUE, info = name)
  }
})

test_that("the object before the fit, as in a pipe, gets a sentence", {
  x <- simulated()
  expect_identical(error_of(population_loadings(x, fitted())), error_of(get_factors(x)))
  expect_identical(error_of(population_loadings(x, fitted(), groupby = "population")),
    paste("`fit` must be a fit (from fit_ldvae or load_fit), not a SingleCellExperiment: the fit comes first, and in a",
          "pipe that starts with the object by name (fit = )."))
  expect_s3_class(population_loadings(x, fit = fitted(), groupby = "population", kind = "between"), "data.frame")
  expect_identical(error_of(add_ldvae(fitted(), x)),
    "`x` must be a SingleCellExperiment or a Seurat object, not a fit: the object comes first.")
})

test_that("groups in tables are factors in the order of the cell data", {
  x <- simulated()
  x$population <- factor(x$population, c("P2", "P0", "P1"))
  de <- differential_expression(fitted(), x, groupby = "population")
  expect_identical(levels(de$group1), c("P2", "P0", "P1"))
  expect_identical(levels(population_loadings(fitted(), x, groupby = "population", kind = "between")$population),
                   c("P2", "P0", "P1"))
  effects <- associate_factors(fitted(), x, key = "treatment", within = "population")
  expect_identical(levels(effects$within), c("P2", "P0", "P1"))
  x$cluster <- as.integer(x$population) + 8L # letters would have 10, 11, 9
  found <- differential_expression(fitted(), x, groupby = "cluster", genes = "fit")
  expect_identical(levels(found$group1), c("9", "10", "11"))
})

test_that("genes without any, files of saveRDS and scores for AddMetaData are thought of", {
  expect_match(error_of(quick_fit(simulated(), genes = logical())), "^`genes` is empty: run FindVariableFeatures\\(\\) first")
  expect_identical(error_of(load_fit("fit.rds")), "`path` is a file of saveRDS(): read it with readRDS().")
  x <- simulated()
  scores <- get_program_scores(fitted(), x, groupby = "population", kind = "within")
  expect_identical(rownames(scores), colnames(x))
  colnames(x) <- paste0("q_", colnames(x)) # the same counts, of which the engine remembers the answer
  expect_identical(get_program_scores(fitted(), x, groupby = "population", kind = "within")$cell, colnames(x))
})

test_that("a column that the fit registers and cells lack is named as such", {
  x <- simulated()
  x$batch <- NULL
  expect_identical(error_of(get_latent(fitted(), x)),
    paste("`x` lacks the column 'batch', which the fit registers as batch, covariate or size factor: colData(x) must have",
          "it ('population', 'sample', 'treatment')."))
})

test_that("the note on corrected counts comes once, with the fit", {
  skip_if_not_installed("SeuratObject")
  x <- SeuratObject::CreateSeuratObject(counts_of_simulated(), meta.data = cell_data_of_simulated())
  x[["integrated"]] <- SeuratObject::CreateAssayObject(data = as.matrix(counts_of_simulated()) / 7)
  expect_message(fit <- quick_fit(x, assay = "RNA"), NA)
  SeuratObject::DefaultAssay(x) <- "integrated"
  expect_no_message(found <- get_latent(fit, x)) # its counts are where the fit took them
  expect_identical(found, get_latent(fit, x, assay = "RNA"))
  SeuratObject::DefaultAssay(x) <- "RNA"
  taken_by_default <- quick_fit(x)
  expect_identical(taken_by_default$settings$assay, "RNA")
  SeuratObject::DefaultAssay(x) <- "integrated"
  expect_identical(get_latent(taken_by_default, x), found)
})
