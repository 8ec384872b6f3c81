# From a Seurat object with raw counts to the genes that drive each cluster.
library(ldvae)
library(Seurat)
options(width = 150) # wide tables in one piece

sce <- simulate_counts(n_cells = 1000, n_genes = 500, n_populations = 4, seed = 0)
seu <- CreateSeuratObject(SummarizedExperiment::assay(sce, "counts")) # or readRDS("seurat.rds")
seu <- FindVariableFeatures(NormalizeData(seu, verbose = FALSE), nfeatures = 400, verbose = FALSE)

fit <- fit_ldvae(seu, genes = VariableFeatures(seu), seed = 0) # train once, without labels
seu <- add_ldvae(seu, fit)
dims <- seq_len(ncol(Embeddings(seu, "ldvae")))
seu <- FindNeighbors(seu, reduction = "ldvae", dims = dims, verbose = FALSE)
seu <- FindClusters(seu, resolution = 0.3, verbose = FALSE)

within <- population_programs(fit, seu, groupby = "ident", kind = "within")
genes <- population_loadings(fit, seu, groupby = "ident", kind = "within")
for (table in list(get_factors(fit), within, top_genes(genes, n = 3))) {
  print(head(table, 12), digits = 3, row.names = FALSE)
}
