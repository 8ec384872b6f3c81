# Situations that users wrote about elsewhere, as in tests/test_users_data.py, where the sources are named.

# What a call says, besides errors.
said_by <- function(code) {
  said <- character()
  keep <- function(restart) function(condition) {
    said <<- c(said, trimws(conditionMessage(condition)))
    invokeRestart(restart)
  }
  withCallingHandlers(code, warning = keep("muffleWarning"), message = keep("muffleMessage"))
  paste(said, collapse = " ")
}

test_that("counts that are none are named, in another assay or turned", {
  sce <- simulated()
  logs <- log1p(sweep(as.matrix(SingleCellExperiment::counts(sce)), 2, 100, "/"))
  SummarizedExperiment::assay(sce, "logcounts", withDimnames = FALSE) <- logs
  expect_match(error_of(quick_fit(sce, assay = "logcounts")), "divided by one number in each cell (normalised)",
               fixed = TRUE)
  de <- function(...) differential_expression(fitted(), sce, groupby = "population", group1 = "P0", ...)
  expect_match(error_of(de(assay = "logcounts")), "name it with `assay`", fixed = TRUE)
  expect_identical(de(assay = "counts"), de())
  turned <- as.matrix(SingleCellExperiment::counts(sce))
  colnames(turned) <- vapply(seq_len(ncol(turned)), function(i) {
    paste0(paste(c("A", "C", "G", "T")[1 + floor(i / 4^(0:15)) %% 4], collapse = ""), "-1")
  }, "")
  rownames(turned)[1:2] <- c("ACTB", "MT-CO1")
  expect_match(error_of(quick_fit(t(turned))), "give t(x), genes x cells.", fixed = TRUE)
  turned[3, 3] <- NA
  expect_match(error_of(quick_fit(turned)), "has missing values (NA).", fixed = TRUE)
})

test_that("features that are no genes take no part", {
  sce <- simulated()
  SummarizedExperiment::rowData(sce)$Type <- rep(c("Antibody Capture", "Gene Expression"), c(3, nrow(sce) - 3))
  said <- said_by(fit <- quick_fit(sce))
  expect_match(said, "no genes by the column 'feature_types' of the gene data: 3 'Antibody Capture'", fixed = TRUE)
  expect_identical(fit$genes, rownames(sce)[-(1:3)])
})

test_that("genes are called by their symbols", {
  sce <- simulated()
  SummarizedExperiment::rowData(sce)$symbol <- paste0("S", seq_len(nrow(sce)))
  SummarizedExperiment::rowData(sce)$chosen <- c(NA, rep(TRUE, 60), rep(FALSE, nrow(sce) - 61))
  said <- said_by(fit <- quick_fit(sce, gene_symbols = "symbol", genes = "chosen"))
  expect_match(said, "1 genes have no value of 'chosen' and are not modelled.", fixed = TRUE)
  expect_identical(fit$genes, paste0("S", 2:61))
  between <- population_loadings(fit, sce, groupby = "population", kind = "between")
  expect_true("S100" %in% between$gene && !"G100" %in% between$gene)
  expect_match(error_of(quick_fit(sce, gene_symbols = "nix")), "must name a column of the gene data of `x` ('symbol'",
               fixed = TRUE)
})

test_that("batches, genes and names that the fit does not have", {
  sce <- simulated()
  new <- sce
  colnames(new) <- paste0("new", colnames(new))
  wanted <- get_latent(fitted(), new)
  new$batch <- "next month"
  expect_match(said_by(found <- get_latent(fitted(), new)), "levels that the fit has not seen ('next month')",
               fixed = TRUE)
  expect_identical(found, wanted)
  new$batch <- sce$batch
  expect_match(said_by(get_latent(fitted(), new[-1, ])), "1 of [0-9]+ genes of the fit are not in `x`")
  expect_match(error_of(differential_expression(fitted(), sce, cells1 = "population == 'P0'")),
               "`cells1` must be TRUE and FALSE, numbers or names of cells", fixed = TRUE)
  sce$first <- sce$population == "P0"
  de <- differential_expression(fitted(), sce, groupby = "first", group1 = TRUE)
  expect_identical(levels(de$group1), "TRUE")
})
