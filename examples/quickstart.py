"""Twelve lines from counts to the genes that drive each population."""

import ldvae

adata = ldvae.simulate_counts(n_cells=1000, n_genes=500, n_populations=4, seed=0)  # or anndata.read_h5ad("counts.h5ad")
fit = ldvae.fit_ldvae(adata, seed=0)  # train once, without labels

factors = ldvae.get_factors(fit)
genes_of_factors = ldvae.top_genes(ldvae.get_loadings(fit), n=2)
markers = ldvae.population_loadings(fit, adata, groupby="population", kind="between")
programs = ldvae.population_programs(fit, adata, groupby="population", kind="specific")
de = ldvae.differential_expression(fit, adata, groupby="population")

for table in (factors, genes_of_factors, ldvae.top_genes(markers, n=3), programs, de[de["is_de"]]):
    print(table.head(12).to_string(index=False, float_format="{:.3g}".format), end="\n\n")
