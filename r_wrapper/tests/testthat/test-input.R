# Every object with the same counts must give the same fit; `expected` is that of the SingleCellExperiment.

expect_same_fit <- function(found, expected = fitted()) {
  differ <- c("settings", "meta") # name the assay
  expect_identical(unclass(found)[setdiff(names(found), differ)],
                   unclass(expected)[setdiff(names(expected), differ)])
}

test_that("sparse, dense and file-backed matrices are the same to it", {
  counts <- counts_of_simulated()
  data <- cell_data_of_simulated()
  integers <- as.matrix(counts)
  storage.mode(integers) <- "integer"
  forms <- list(
    dgCMatrix = counts,
    dgRMatrix = methods::as(counts, "RsparseMatrix"),
    dgTMatrix = methods::as(counts, "TsparseMatrix"),
    double = as.matrix(counts),
    integer = integers
  )
  for (form in forms) expect_same_fit(quick_fit(form, batch_key = "batch", cell_data = data))
  shuffled <- data[rev(seq_len(nrow(data))), ]
  expect_same_fit(quick_fit(counts, batch_key = "batch", cell_data = shuffled)) # aligned by row names
})

test_that("DelayedArray and HDF5 are read", {
  skip_if_not_installed("HDF5Array")
  sce <- simulated()
  path <- tempfile(fileext = ".h5")
  on_disk <- HDF5Array::writeHDF5Array(counts_of_simulated(), path, name = "x")
  SummarizedExperiment::assay(sce, "counts", withDimnames = FALSE) <- on_disk
  expect_same_fit(quick_fit(sce, batch_key = "batch"))
  SummarizedExperiment::assay(sce, "counts") <- DelayedArray::DelayedArray(counts_of_simulated())[, seq_len(400)]
  expect_same_fit(quick_fit(sce, batch_key = "batch"))
})

test_that("any assay can hold the counts, and later calls find it", {
  sce <- simulated()
  SummarizedExperiment::assayNames(sce) <- "raw"
  expect_identical(error_of(quick_fit(sce)),
                   "`assay` must name an assay of `x`, which has 'raw': name the one with raw counts.")
  fit <- quick_fit(sce, batch_key = "batch", assay = "raw")
  expect_same_fit(fit)
  expect_identical(fit$settings$assay, "raw")
  expect_identical(get_latent(fit, sce), get_latent(fitted()))
  expect_identical(get_latent(fit, counts_of_simulated(), cell_data = cell_data_of_simulated()), get_latent(fit))
  path <- tempfile()
  save_fit(fit, path)
  expect_identical(load_fit(path)$settings$assay, "raw")
})

test_that("genes may be names or a logical column, and libraries come from all genes", {
  sce <- simulated()
  chosen <- paste0("G", c(5, 3, 10:60))
  SummarizedExperiment::rowData(sce)$variable <- rownames(sce) %in% chosen
  by_column <- quick_fit(sce, genes = "variable")
  by_name <- quick_fit(sce, genes = rownames(sce)[rownames(sce) %in% chosen])
  expect_same_fit(by_column, by_name)
  expect_identical(by_column$genes, paste0("G", c(3, 5, 10:60)))
  expect_equal(by_column$lib_size, unname(Matrix::colSums(counts_of_simulated())))
  expect_identical(error_of(quick_fit(sce, genes = c("G1", "Hbb"))), "1 of 2 genes are not in `x`: 'Hbb'.")
})

test_that("whole numbers may be doubles and names keep their order", {
  fit <- quick_fit(simulated()[, 400:1], n_layers = 1)
  expect_identical(fit$cells, paste0("C", 399:0))
  expect_identical(get_latent(fit)$cell, fit$cells)
})

test_that("cell data may be any kind of label", {
  sce <- simulated()
  truth <- population_programs(fitted(), sce, groupby = "population", kind = "between")
  data <- SummarizedExperiment::colData(sce)
  data$text <- as.character(data$population)
  data$unused <- factor(data$population, levels = c("P9", levels(data$population)))
  data$rle <- S4Vectors::Rle(data$text)
  SummarizedExperiment::colData(sce) <- data
  for (column in c("text", "unused", "rle")) {
    expect_identical(population_programs(fitted(), sce, groupby = column, kind = "between"), truth)
  }
  data$number <- as.numeric(data$population)
  data$flag <- data$population == "P1"
  SummarizedExperiment::colData(sce) <- data
  expect_identical(levels(population_programs(fitted(), sce, groupby = "number", kind = "between")$population),
                   c("1", "2", "3"))
  expect_identical(levels(associate_factors(fitted(), sce, key = "flag")$level), "TRUE")
  de <- differential_expression(fitted(), sce, groupby = "number", group1 = 1, group2 = 3)
  expect_identical(levels(de$group2), "3")
  named <- differential_expression(fitted(), sce, groupby = "population", group1 = "P0", group2 = "P2")
  expect_identical(de$lfc_mean, named$lfc_mean)
})

test_that("cells without a label are left out, with a message", {
  sce <- simulated()
  sce$population[1:7] <- NA
  expect_message(found <- differential_expression(fitted(), sce, groupby = "population"),
                 "^7 of 400 cells have no 'population' and take no part.")
  expect_true(all(is.finite(found$raw_mean1)))
  sce$batch[3] <- NA
  expect_identical(error_of(quick_fit(sce, batch_key = "batch")),
                   "`batch_key`: 1 cells have no value of 'batch'; fill it in or remove them.")
})

test_that("sets of cells may be logical, names or numbers", {
  sce <- simulated()
  mask <- sce$population == "P0"
  by_mask <- differential_expression(fitted(), sce, cells1 = mask)
  expect_identical(differential_expression(fitted(), sce, cells1 = colnames(sce)[mask]), by_mask)
  expect_identical(differential_expression(fitted(), sce, cells1 = which(mask)), by_mask)
  expect_identical(error_of(differential_expression(fitted(), sce, cells1 = 401)),
                   "`cells1` must hold numbers of cells from 1 to 400, names of cells, or TRUE and FALSE.")
  expect_identical(differential_expression(fitted(), sce, cells1 = stats::setNames(mask, colnames(sce))), by_mask)
  mask[2] <- NA
  expect_identical(error_of(differential_expression(fitted(), sce, cells1 = mask)), "`cells1` must not hold NA.")
})

test_that("objects that are not what they should be get one sentence", {
  sce <- simulated()
  expect_identical(
    error_of(fit_ldvae(letters)),
    "`x` must be a SingleCellExperiment, a Seurat object or a matrix of counts (genes x cells), not 26 values."
  )
  expect_identical(error_of(fit_ldvae()), "`x` is missing, with no default.")
  twice <- sce
  rownames(twice)[2] <- "G0"
  expect_identical(error_of(quick_fit(twice)),
                   "`x` has repeated gene names ('G0'); make them unique, e.g. by make.unique().")
  nameless <- sce
  colnames(nameless) <- NULL
  expect_identical(error_of(quick_fit(nameless)), "`x` has no names of cells; set colnames(x).")
  negative <- sce
  SummarizedExperiment::assay(negative, "counts")[1, 1] <- -0.5
  expect_identical(error_of(quick_fit(negative)), paste(
    "`x` must hold raw counts (whole numbers, zero or more), but has the value -0.5;",
    "if the counts are in another assay, name it with `assay`."
  ))
  expect_identical(error_of(quick_fit(sce, batch_key = "lane")), paste(
    "`batch_key` must name a column of colData(x) ('population', 'batch', 'sample', 'treatment'), not 'lane'."
  ))
  expect_identical(error_of(quick_fit(sce, batch_key = sce$batch)),
                   "`batch_key` must be the name of a column of the cell data, not 400 values: labels become a column first, as in x$labels <- labels.")
  sce$matrix <- matrix(0, 400, 2)
  expect_identical(error_of(associate_factors(fitted(), sce, key = "matrix")),
                   "`key`: the column 'matrix' must hold labels or numbers, not a matrix.")
  for (text in list(c("\xe9", "a"), factor(c("\xe9", "a"), levels = c("a", "\xe9")))) {
    sce$text <- rep(text, 200)
    expect_identical(error_of(quick_fit(sce, batch_key = "text")),
                     "`batch_key`: the column 'text' must hold text of a known encoding; see iconv().")
  }
  counts <- counts_of_simulated()
  expect_identical(error_of(quick_fit(array(NA_integer_, dim(counts), dimnames(counts)))), paste(
    "`x` must hold raw counts (whole numbers, zero or more), but has the value NA;",
    "if the counts are in another assay, name it with `assay`."
  ))
  expect_identical(error_of(quick_fit(counts, batch_key = "batch")),
                   "`batch_key` must name a column of `cell_data`, which has none, not 'batch'.")
  expect_identical(error_of(quick_fit(counts, cell_data = data.frame(a = 1:3))),
                   "`cell_data` must have one row for each of the 400 cells (columns) of `x`, not 3.")
  expect_identical(error_of(quick_fit(sce, cell_data = data.frame(a = 1:3))),
                   "`cell_data` must be NULL, since `x` has its own.")
})

test_that("no function changes the object", {
  sce <- simulated()
  before <- serialize(sce, NULL)
  population_programs(quick_fit(sce, batch_key = "batch"), sce, groupby = "population", kind = "between")
  add_ldvae(sce, fitted())
  expect_identical(serialize(sce, NULL), before)
})
