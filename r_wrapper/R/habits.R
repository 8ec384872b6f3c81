# Arguments that a function does not have, typed out of the habits of other packages: which one is meant.

.habits <- list(
  ident.1 = "group1", ident.2 = "group2", cells.1 = "cells1", cells.2 = "cells2", group.by = c("groupby", "key"),
  group_by = c("groupby", "key"), groupby = "key", groups = "groupby", cluster = "groupby", clusters = "groupby",
  condition = c("groupby", "key"), treatment = c("groupby", "key"), split.by = "within",
  object = "x", seurat = "x", sce = "x", adata = "x", assay.type = "assay", idents = c("populations", "group1"),
  exprs_values = "assay", meta.data = "cell_data", colData = "cell_data", features = "genes", features.use = "genes",
  nfeatures = c("n_genes", "n_labels"), counts = "x", data = "x", covariates = c("covariate_keys", "adjust"), group = "groupby",
  cells = c("cells1", "cells2"), n_epochs = "max_epochs", batch = "batch_key", vars.to.regress = c("covariate_keys", "adjust"),
  latent.vars = c("adjust", "covariate_keys"), sample = "sample_key", samples = "sample_key", donor = "sample_key",
  reduction = c("use_rep", "embedding"), dimred = c("use_rep", "embedding"), dims = c("n_latent", "factors"),
  npcs = "n_latent", ncomponents = "n_latent", k = "n_latent", logfc.threshold = "delta", seed.use = "seed",
  random.seed = "seed", verbose = "progress", file = c("path", "gmt"), filename = c("path", "gmt"),
  epochs = "max_epochs", lr = "learning_rate", only.pos = "direction", top_n = "n", min.pct = "min_detected"
)

# Those of which nothing is the counterpart: what there is instead.
.instead <- list(
  only.pos = "genes that are higher are those of top_genes(direction = \"up\")",
  min.pct = "all genes are compared, and top_genes(min_detected = 0.1) leaves out those that few cells have",
  features = "all genes are compared: choose the rows of the table", nfeatures = "choose genes by `genes`, such as VariableFeatures(x)",
  min.cells = "leave such genes out of `x`", idents = "take these cells of `x`, as in subset(x, idents = )",
  test.use = "there is one method, which its help page names",
  group.by = "labels take no part here, but in what is asked of a fit, as `groupby`",
  slot = "counts of a Seurat object are those of its layer 'counts', and `assay` names the assay",
  layer = "counts of a Seurat object are those of its layer 'counts', and `assay` names the assay"
)

# Stops if the `...` of the function `.name` holds anything; a dot keeps names that somebody typed from matching it.
check_no_others <- function(.name, ...) {
  if (!...length()) return(invisible())
  all <- names(formals(.name))
  takes <- setdiff(all, "...")
  given <- setdiff(names(substitute(list(...))), "")
  before <- match("...", all) - 1L
  if (!length(given) && before < length(takes)) {
    stop(sprintf("%s(): what comes after `%s` must be named.", .name, takes[before]), call. = FALSE)
  }
  if (!length(given)) {
    stop(sprintf("%s() takes at most %d argument%s: %s.", .name, length(takes), if (length(takes) > 1L) "s" else "",
                 shown(takes, Inf)), call. = FALSE)
  }
  stop(paste(vapply(given, no_such_argument, "", name = .name, takes = takes), collapse = " "), call. = FALSE)
}

no_such_argument <- function(given, name, takes) {
  meant <- intersect(.habits[[given]], takes)
  if (name == "differential_expression") meant <- setdiff(meant, "genes") # there it is "all" or "fit"
  if (name == "get_latent") meant <- setdiff(meant, "embedding") # there it says how positions are scaled
  if (!length(meant) && is.null(.instead[[given]])) {
    apart <- utils::adist(given, takes, ignore.case = TRUE)
    meant <- takes[apart == min(apart) & apart <= nchar(given) %/% 3]
    if (!length(meant) && nchar(given) > 3) meant <- grep(given, takes, fixed = TRUE, value = TRUE)
  }
  said <- if (length(meant)) {
    sprintf(": `%s` is meant.", meant[1])
  } else if (!is.null(.instead[[given]])) {
    sprintf("; %s.", .instead[[given]])
  } else {
    sprintf(", which has %s.", shown(takes, Inf))
  }
  sprintf("`%s` is no argument of %s()%s", given, name, said)
}
