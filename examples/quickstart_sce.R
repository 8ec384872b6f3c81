# From counts in a SingleCellExperiment to the genes that drive each population.
library(ldvae)
options(width = 150) # wide tables in one piece

sce <- simulate_counts(n_cells = 1000, n_genes = 500, n_populations = 4, seed = 0) # or readRDS("cells.rds")
fit <- fit_ldvae(sce, seed = 0) # train once, without labels

factors <- get_factors(fit)
genes_of_factors <- top_genes(get_loadings(fit), n = 2)
markers <- population_loadings(fit, sce, groupby = "population", kind = "between")
programs <- population_programs(fit, sce, groupby = "population", kind = "specific")
de <- differential_expression(fit, sce, groupby = "population")
sce <- add_ldvae(sce, fit) # reducedDim(sce, "LDVAE")

for (table in list(factors, genes_of_factors, top_genes(markers, n = 3), programs, de[de$is_de, 2:12])) {
  print(head(table, 12), digits = 3, row.names = FALSE)
}
