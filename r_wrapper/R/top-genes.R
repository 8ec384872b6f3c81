# The genes to look at first in a table, and as gene sets.

#' The first genes of each factor, program or comparison
#'
#' Genes whose sign is sure (`lfsr` below 0.05; `is_de` of a comparison) come first, where the table says so: of a gene
#' with few counts the estimate can be large and mean little. Genes that were not tested are left out.
#'
#' @param loadings A table of [get_loadings()], [get_loadings_uncertainty()], [population_loadings()] or
#'   [differential_expression()].
#' @param n How many genes of each factor, program or comparison; all if `NULL`.
#' @param direction `"up"`: only genes with positive loadings, or higher in `group1` (Seurat's `only.pos`); `"down"`: the
#'   others. Both if `NULL`.
#' @param by `"effect"`: the loading or log2 fold change, by its size; `"evidence"`: the same over its standard deviation.
#' @param min_detected Of a comparison, the share of cells, on the side where it is higher, in which a gene must be found
#'   (Seurat's `min.pct`): the largest fold changes are those of genes that hardly any cell has. 0 for all; 0.25 gives
#'   markers that most cells of a group can be told by. Tables of loadings do not say it.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @param gmt A file to write them to as gene sets in the GMT format (for `fgsea::gmtPathways()`); an existing one is
#'   replaced. A factor or program gives two sets, such as `Z_1_up` and `Z_1_down`: genes with positive and with negative
#'   loadings, strongest first.
#' @return The same columns (a wide table becomes `gene`, `factor`, `loading`): the first `n` rows of each factor, program
#'   or comparison, in the order of these.
#' @examples
#' fit <- readRDS(system.file("extdata", "fit.rds", package = "ldvae"))
#' head(top_genes(get_loadings(fit), n = 3))
#' @export
top_genes <- function(loadings, n = 10, direction = NULL, by = "effect", min_detected = 0.1, gmt = NULL, ...) {
  check_no_others("top_genes", ...)
  if (!is.data.frame(loadings) || !"gene" %in% names(loadings)) {
    stop("`loadings` must be a table of get_loadings, get_loadings_uncertainty, population_loadings or ",
         "differential_expression.", call. = FALSE)
  }
  loadings <- as.data.frame(loadings) # a grouped tibble may lose no rows
  if (identical(n, Inf)) n <- NULL
  if (!is.null(n)) check_count("n", n, 1)
  if (!is.null(gmt)) check_new_file("gmt", gmt)
  if (!is.null(direction)) check_choice("direction", direction, c("up", "down"))
  check_choice("by", by, c("effect", "evidence"))
  if (!is.numeric(min_detected) || length(min_detected) != 1L || !isTRUE(min_detected >= 0 && min_detected <= 1)) {
    stop("`min_detected` must be a number between 0 and 1, not ", described(min_detected), ".", call. = FALSE)
  }
  compared <- all(c("lfc_mean", "lfc_std", "is_de") %in% names(loadings))
  if (!compared && !"loading" %in% names(loadings)) loadings <- long(loadings)
  effect <- loadings[[if (compared) "lfc_mean" else "loading"]]
  std <- loadings[[if (compared) "lfc_std" else "std"]]
  if (by == "evidence" && is.null(std)) {
    stop("`by` must be 'effect' for a table without standard deviations (get_loadings_uncertainty).", call. = FALSE)
  }
  keys <- intersect(c("population", "kind", "program", "factor", "within", "group1", "group2"), names(loadings))
  group <- do.call(paste, c(unname(loadings[keys]), sep = "\r"))
  group <- factor(group, levels = unique(group))
  size <- abs(effect) / if (by == "evidence") std else 1
  sure <- if (compared) loadings$is_de else if (is.null(loadings$lfsr)) TRUE else loadings$lfsr < 0.05
  first <- order(group, !rep_len(sure %in% TRUE, nrow(loadings)), -size)
  sign <- if (is.null(direction)) 0 else c(up = 1, down = -1)[[direction]]
  detected <- if ("detected1" %in% names(loadings)) ifelse(effect > 0, loadings$detected1, loadings$detected2)
  meant <- is.finite(effect) & effect * sign >= 0
  if (!is.null(detected)) meant <- meant & detected >= min_detected
  first <- first[meant[first]]
  if (!is.null(n)) first <- first[stats::ave(seq_along(first), group[first], FUN = seq_along) <= n]
  loadings <- loadings[first, , drop = FALSE]
  rownames(loadings) <- NULL
  if (!is.null(gmt)) write_gmt(loadings, keys, effect[first] > 0, gmt)
  loadings
}

write_gmt <- function(loadings, keys, up, file) {
  way <- ifelse(up, "up", "down")
  names <- do.call(paste, c(unname(loadings[keys]), list(way), sep = "_"))
  sets <- split(loadings$gene, factor(names, unique(names)))
  lines <- sprintf("%s\tldvae\t%s", names(sets), vapply(sets, paste, "", collapse = "\t"))
  connection <- file(file, "wb") # no carriage returns, on Windows neither
  on.exit(close(connection))
  writeLines(enc2utf8(lines), connection, useBytes = TRUE)
}

long <- function(loadings) {
  factors <- setdiff(names(loadings), "gene")
  data.frame(
    gene = rep(loadings$gene, length(factors)),
    factor = rep(factors, each = nrow(loadings)),
    loading = as.double(unlist(loadings[factors], use.names = FALSE))
  )
}
