# Clusters on the stored embedding beside clusters on principal components: adjusted Rand index with known labels, and
# how many clusters. Seurat's defaults but for the dimensions.
#   LDVAE_DATA=folder OMP_NUM_THREADS=1 Rscript benchmarks/bridge/clusters.R results.csv
suppressMessages({
  library(Seurat)
  library(ldvae)
})

sets <- c(pbmc3k = "pbmc3k.h5ad", sorted = "pbmc_sorted3500.h5ad") # 500 bead-sorted cells of each of seven types
seeds <- 0:4
out <- commandArgs(TRUE)[1]

read_counts <- function(path) {
  data <- reticulate::import("anndata", convert = FALSE)$read_h5ad(path)
  counts <- reticulate::py_to_r(data$X$T$tocsc()$astype("float64"))
  names <- function(index) as.character(reticulate::py_to_r(index$to_list()))
  dimnames(counts) <- list(gsub("_", "-", names(data$var_names)), names(data$obs_names))
  x <- CreateSeuratObject(counts)
  x$truth <- names(data$obs["cell_type"]$astype("str"))
  NormalizeData(x, verbose = FALSE)
}

# Hubert and Arabie (1985)
adjusted_rand <- function(a, b) {
  pairs <- function(n) sum(choose(n, 2))
  both <- table(a, b)
  expected <- pairs(rowSums(both)) * pairs(colSums(both)) / pairs(sum(both))
  (pairs(both) - expected) / ((pairs(rowSums(both)) + pairs(colSums(both))) / 2 - expected)
}

clusters <- function(x, embedding, seed) {
  colnames(embedding) <- paste0("E_", seq_len(ncol(embedding)))
  x[["e"]] <- CreateDimReducObject(embedding, key = "E_", assay = "RNA")
  x <- FindNeighbors(x, reduction = "e", dims = seq_len(ncol(embedding)), verbose = FALSE)
  known <- x$truth != "Unassigned"
  do.call(rbind, lapply(c(0.5, 0.8), function(resolution) {
    found <- FindClusters(x, resolution = resolution, random.seed = seed, verbose = FALSE)$seurat_clusters
    data.frame(resolution, ari = adjusted_rand(found[known], x$truth[known]), clusters = length(unique(found)))
  }))
}

rows <- NULL
for (genes in c(2000, Inf)) { # the most variable, and all
  for (set in names(sets)) {
    x <- read_counts(file.path(Sys.getenv("LDVAE_DATA"), sets[[set]]))
    x <- FindVariableFeatures(x, nfeatures = min(genes, nrow(x)), verbose = FALSE)
    x <- RunPCA(ScaleData(x, verbose = FALSE), verbose = FALSE)
    for (seed in seeds) {
      fit <- fit_ldvae(x, genes = VariableFeatures(x), seed = seed)
      unit <- as.matrix(get_latent(fit)[-1])
      rownames(unit) <- colnames(x)
      embeddings <- list(stored = Embeddings(add_ldvae(x, fit), "ldvae"), `scores of unit variance` = unit)
      for (n in c(10, 20, 30)) embeddings[[paste("PCA", n)]] <- Embeddings(x, "pca")[, seq_len(n)]
      for (name in names(embeddings)) {
        rows <- rbind(rows, data.frame(set, genes = length(VariableFeatures(x)), seed, embedding = name,
                                       dimensions = ncol(embeddings[[name]]), clusters(x, embeddings[[name]], seed)))
      }
      utils::write.csv(rows, out, row.names = FALSE)
    }
  }
}
means <- stats::aggregate(cbind(ari, clusters, dimensions) ~ embedding + resolution + genes + set, rows, mean)
print(means[c("set", "genes", "embedding", "resolution", "ari", "clusters", "dimensions")], digits = 3)
