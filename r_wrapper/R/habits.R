# Arguments that a function does not have, typed out of the habits of other packages: which one is meant.

.habits <- list(
  ident.1 = "group1", ident.2 = "group2", cells.1 = "cells1", cells.2 = "cells2", group.by = c("groupby", "key"),
  group_by = c("groupby", "key"), groupby = "key", groups = "groupby", cluster = "groupby", clusters = "groupby",
  condition = c("groupby", "key"), treatment = c("groupby", "key"), split.by = "within",
  object = "x", seurat = "x", sce = "x", adata = "x", slot = "assay", layer = "assay", assay.type = "assay",
  exprs_values = "assay", meta.data = "cell_data", colData = "cell_data", features = "genes", features.use = "genes",
  nfeatures = c("n_genes", "n_labels", "genes"), batch = "batch_key", vars.to.regress = c("covariate_keys", "adjust"),
  latent.vars = c("adjust", "covariate_keys"), sample = "sample_key", samples = "sample_key", donor = "sample_key",
  reduction = c("use_rep", "embedding"), dimred = c("use_rep", "embedding"), dims = c("n_latent", "factors"),
  npcs = "n_latent", ncomponents = "n_latent", k = "n_latent", logfc.threshold = "delta", seed.use = "seed",
  random.seed = "seed", verbose = "progress", file = c("path", "gmt"), filename = c("path", "gmt"),
  epochs = "max_epochs", lr = "learning_rate", only.pos = "direction", top_n = "n"
)

# Stops if the `...` of the function `name` holds anything.
check_no_others <- function(name, ...) {
  if (!...length()) return(invisible())
  takes <- setdiff(names(formals(name)), "...")
  given <- c(setdiff(names(substitute(list(...))), ""), NA)[1]
  if (is.na(given)) {
    stop(sprintf("%s() takes at most %d argument%s: %s.", name, length(takes), if (length(takes) > 1L) "s" else "",
                 shown(takes, Inf)), call. = FALSE)
  }
  meant <- intersect(.habits[[given]], takes)
  if (!length(meant)) {
    apart <- utils::adist(given, takes, ignore.case = TRUE)
    meant <- takes[apart == min(apart) & apart <= max(1, nchar(given) %/% 3)]
  }
  said <- if (length(meant)) {
    sprintf(": `%s` is meant.", meant[1])
  } else if (given == "only.pos") {
    "; genes that are higher are those of top_genes(direction = \"up\")."
  } else {
    sprintf(", which has %s.", shown(takes, Inf))
  }
  stop(sprintf("`%s` is no argument of %s()%s", given, name, said), call. = FALSE)
}
