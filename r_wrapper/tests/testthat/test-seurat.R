# Runs with SeuratObject 4 and with 5, whichever is installed; Seurat's own pictures where Seurat is.

seurat <- function(...) {
  skip_if_not_installed("SeuratObject")
  SeuratObject::CreateSeuratObject(counts_of_simulated(), meta.data = cell_data_of_simulated(), ...)
}

is_seurat5 <- function() utils::packageVersion("SeuratObject") >= "5"

expect_same_model <- function(found, expected = fitted()) {
  expect_identical(found$latent_mean, expected$latent_mean)
  expect_identical(found$weights, expected$weights)
}

test_that("a Seurat object gives the same fit and tables as its counts", {
  x <- seurat()
  fit <- quick_fit(x, batch_key = "batch")
  expect_same_model(fit)
  expect_identical(
    population_programs(fit, x, groupby = "population", kind = "between"),
    population_programs(fitted(), simulated(), groupby = "population", kind = "between")
  )
  SeuratObject::Idents(x) <- "population"
  expect_identical(differential_expression(fit, x, groupby = "ident"),
                   differential_expression(fit, x, groupby = "population"))
})

test_that("an assay of Seurat 3 and 4 is read", {
  assay <- SeuratObject::CreateAssayObject(counts_of_simulated(), key = "rna_")
  x <- SeuratObject::CreateSeuratObject(assay, meta.data = cell_data_of_simulated())
  expect_false(inherits(x[["RNA"]], "StdAssay"))
  expect_same_model(quick_fit(x, batch_key = "batch"))
})

test_that("layers of Seurat 5 are read, joined or split", {
  skip_if_not_installed("SeuratObject", "5.0.0")
  x <- seurat()
  expect_s4_class(x[["RNA"]], "Assay5")
  x[["RNA"]] <- split(x[["RNA"]], f = x$batch)
  expect_gt(length(getExportedValue("SeuratObject", "Layers")(x[["RNA"]], search = "counts")), 1)
  before <- serialize(x, NULL)
  expect_same_model(quick_fit(x, batch_key = "batch"))
  expect_identical(serialize(x, NULL), before)
})

test_that("several assays: the default one, or the one that is named, or RNA if it was corrected", {
  x <- seurat()
  other <- counts_of_simulated()[1:40, ]
  rownames(other) <- paste0("A", 1:40)
  x[["ADT"]] <- SeuratObject::CreateAssayObject(other)
  SeuratObject::DefaultAssay(x) <- "ADT"
  expect_identical(quick_fit(x)$genes, paste0("A", 1:40))
  fit <- quick_fit(x, assay = "RNA", batch_key = "batch")
  expect_same_model(fit)
  expect_equal(get_latent(fit, x)$Z_1, get_latent(fit)$Z_1) # later calls take the assay of the fit
  expect_identical(error_of(quick_fit(x, assay = "SCT")),
                   "`assay` must name an assay of `x`, which has 'RNA', 'ADT', not 'SCT'.")
})

test_that("variable features and the reductions of Seurat", {
  x <- seurat()
  SeuratObject::VariableFeatures(x) <- paste0("G", 10:70)
  fit <- quick_fit(x, genes = SeuratObject::VariableFeatures(x))
  expect_identical(fit$genes, paste0("G", 10:70))
  expect_equal(fit$lib_size, unname(Matrix::colSums(counts_of_simulated())))
  before <- serialize(x, NULL)
  scores <- get_program_scores(fit, x, groupby = "population", kind = "between")
  out <- add_ldvae(x, fit, scores = scores)
  expect_identical(serialize(x, NULL), before)
  reduction <- out[["ldvae"]]
  active <- get_factors(fit)$factor[get_factors(fit)$active]
  expect_identical(SeuratObject::Key(reduction), "LDVAE_")
  expect_identical(colnames(SeuratObject::Embeddings(reduction)), paste0("LDVAE_", seq_along(active)))
  expect_identical(rownames(SeuratObject::Embeddings(reduction)), colnames(x))
  expect_equal(unname(SeuratObject::Embeddings(reduction)[, 1]), get_latent(fit, x, embedding = TRUE)[[active[1]]])
  expect_identical(rownames(SeuratObject::Loadings(reduction)), fit$genes)
  expect_equal(unname(SeuratObject::Loadings(reduction)[, 1]), get_loadings(fit)[[active[1]]])
  expect_equal(SeuratObject::Stdev(reduction), unname(apply(SeuratObject::Embeddings(reduction), 2, sd)))
  expect_true(all(diff(SeuratObject::Stdev(reduction)) < 0)) # an elbow, not a flat line
  expect_identical(unname(out[["P1_between"]][[1]]), scores$P1_between)
})

test_that("Seurat draws, clusters and embeds on the reduction", {
  skip_if_not_installed("ggplot2")
  skip_if_not_installed("Seurat", if (is_seurat5()) "5.0.0")
  x <- add_ldvae(seurat(), fitted())
  x <- Seurat::NormalizeData(x, verbose = FALSE)
  x <- Seurat::ScaleData(x, verbose = FALSE)
  dims <- seq_len(ncol(x[["ldvae"]]))
  drawn <- Seurat::VizDimLoadings(x, dims = 1, reduction = "ldvae", nfeatures = 8, combine = FALSE)[[1]]
  strongest <- top_genes(get_loadings(fitted()), n = 8)$gene[1:8]
  expect_setequal(as.character(drawn$data$feature), strongest)
  expect_s3_class(Seurat::DimPlot(x, reduction = "ldvae", group.by = "population"), "ggplot")
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  expect_no_error(Seurat::DimHeatmap(x, dims = 1, reduction = "ldvae", cells = 50))
  x <- Seurat::FindNeighbors(x, reduction = "ldvae", dims = dims, verbose = FALSE)
  x <- suppressWarnings(Seurat::RunUMAP(x, reduction = "ldvae", dims = dims, verbose = FALSE)) # says which UMAP
  expect_identical(dim(SeuratObject::Embeddings(x[["umap"]])), c(400L, 2L))
  coloured <- Seurat::FeaturePlot(x, features = "LDVAE_1", reduction = "umap")
  expect_equal(sort(coloured$data$LDVAE_1), sort(unname(SeuratObject::Embeddings(x[["ldvae"]])[, 1])))
  expect_equal(Seurat::ElbowPlot(x, ndims = max(dims), reduction = "ldvae")$data$stdev, SeuratObject::Stdev(x[["ldvae"]]))
  # its own clusters, 0, 1, 2, ...
  x <- Seurat::FindClusters(x, resolution = 2, verbose = FALSE)
  clusters <- levels(SeuratObject::Idents(x))
  expect_gt(length(clusters), 3)
  expect_no_warning(scores <- suppressMessages(get_program_scores(fitted(), x, kind = "between")))
  expect_true(all(grepl("^group_[0-9]+_between$", names(scores)[-1])))
  expect_no_warning(x <- add_ldvae(x, fitted(), scores = scores))
  expect_no_warning(drawn <- Seurat::FeaturePlot(x, features = names(scores)[-1], reduction = "umap", combine = FALSE))
  expect_length(drawn, length(clusters))
  found <- suppressMessages(differential_expression(fitted(), x))
  expect_identical(levels(found$group1), clusters)
  markers <- top_genes(found, n = 5, direction = "up", by = "evidence")
  theirs <- suppressMessages(suppressWarnings(Seurat::FindAllMarkers(x, only.pos = TRUE, verbose = FALSE)))
  expect_gt(mean(paste(markers$group1, markers$gene) %in% paste(theirs$cluster, theirs$gene)), 0.8)
  expect_no_error(Seurat::DoHeatmap(x, features = unique(markers$gene), slot = "data"))
})
