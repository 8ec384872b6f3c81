# Pictures of the programs of populations, by ggplot2. Nothing is computed here.

.units <- c(
  between = "log2 difference from the reference",
  within = "log2 units per SD of the program",
  specific = "log2 units per SD of the program",
  deviation = "log2 units per SD of the factor, beyond the reference"
)

#' Draw the programs of each population
#'
#' One panel per population and program, with its strongest genes and the 95 % intervals of their
#' loadings, up in vermillion and down in blue. A point is filled where the sign of the loading is
#' sure (lfsr below .05) and hollow where it is not. Populations without a called program are named
#' at the foot. With `scores`, the activity of the program in each cell is below its genes.
#'
#' @param loadings The data.frame of [population_loadings()].
#' @param programs The data.frame of [population_programs()] from the same call: its called programs
#'   are drawn, with their share of the variance and adjusted p-value. Every program of `loadings`
#'   if `NULL`.
#' @param scores,embedding The data.frame of [get_program_scores()], and two coordinates of the same
#'   cells (a matrix of numbers with cells in rows) to draw the activity over.
#' @param populations Names of populations to draw, in this order; all if `NULL`.
#' @param n_genes Genes per panel, by their rank.
#' @return A ggplot, or a patchwork with `scores`; 7.5 inches of width and 1.8 inches per row of
#'   panels (3 with `scores`) suit it.
#' @examples
#' loadings <- data.frame(
#'   population = "B cells", kind = "within", program = "own_1", gene = c("CD79A", "IGHM", "JUN"),
#'   loading = c(1.4, 0.8, -0.9), std = c(0.1, 0.5, 0.2), lfsr = c(1e-9, 0.06, 1e-5),
#'   rank = c(1, 3, 2)
#' )
#' programs <- data.frame(
#'   population = c("B cells", "NK cells"), kind = "within", program = "own_1",
#'   called = c(TRUE, FALSE), share = c(0.6, 0.2), padj = c(1e-8, 0.4)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_programs(loadings, programs)
#' @export
plot_programs <- function(loadings, programs = NULL, scores = NULL, embedding = NULL,
                          populations = NULL, n_genes = 8) {
  key <- c("population", "kind", "program")
  check_table("loadings", loadings, c(key, "gene", "loading", "std", "lfsr", "rank"),
    "population_loadings", empty = TRUE)
  facts <- if (is.null(programs)) loadings else programs
  if (!is.null(programs)) {
    check_table("programs", programs, c(key, "called", "share", "padj"), "population_programs")
  }
  check_count("n_genes", n_genes, 1)
  names <- chosen("populations", populations, unique(as.character(facts$population)))
  called <- facts[facts$population %in% names, ]
  if (!is.null(programs)) called <- called[called$called %in% TRUE, ]
  called <- called[!duplicated(called[key]), ]
  called <- called[order(match(called$population, names)), ]
  need_package("ggplot2", "Plots")
  if (!nrow(called)) {
    return(ggplot2::ggplot() + ggplot2::theme_void() + ggplot2::annotate("text", 0, 0, size = 3,
      label = "No program was called in any of these populations."))
  }
  activity <- program_activity(scores, embedding, paste0(called$population, "_", called$program))
  foot <- program_foot(called, names, !is.null(activity))
  rows <- program_genes(loadings, called, n_genes)
  columns <- gene_columns(rows)
  if (is.null(activity)) return(program_panels(rows, called, columns) + foot)
  need_package("patchwork", "Activities")
  page_of_pairs(length(rows), columns, foot, function(i) {
    list(
      program_panels(rows[i], called[i, ], length(i)),
      activity_panels(activity$at, activity$scores[i])
    )
  })
}

program_foot <- function(called, names, active) {
  kinds <- unique(as.character(called$kind))
  units <- unique(ifelse(kinds %in% names(.units), .units[kinds], "log2 units"))
  silent <- setdiff(names, called$population)
  caption(c(
    paste0(paste(kinds, collapse = " / "), " loading +/- 1.96 SD (",
      paste(units, collapse = " / "), "); filled: lfsr < 0.05"),
    if (active) paste("below: activity of the program in each cell, from low (blue) to high",
      "(vermillion)"),
    if (length(silent)) paste0("No program called in ", paste(silent, collapse = ", "), ".")
  ))
}

# Coordinates of the cells and their scores for `wanted`, or NULL if neither is given.
program_activity <- function(scores, embedding, wanted) {
  if (is.null(scores) && is.null(embedding)) return(NULL)
  if (is.null(scores) || is.null(embedding)) {
    stop("`scores` and `embedding` must be given together, or neither.", call. = FALSE)
  }
  check_table("scores", scores, wanted, "get_program_scores")
  at <- as.matrix(embedding)
  if (!is.numeric(at) || ncol(at) < 2 || nrow(at) != nrow(scores)) {
    stop("`embedding` must have one row of two coordinates for each of the ", nrow(scores),
      " cells of `scores`, not ", nrow(at), " x ", ncol(at),
      if (!is.numeric(at)) paste(" of type", typeof(at)), ".", call. = FALSE)
  }
  list(at = at, scores = scores[wanted])
}

# The strongest genes of each called program, one data.frame each.
program_genes <- function(loadings, called, n_genes) {
  key <- function(table) paste(table$population, table$kind, table$program, sep = "\r")
  loadings <- loadings[!is.na(loadings$loading), ]
  groups <- split(loadings, key(loadings))[key(called)]
  absent <- which(vapply(groups, is.null, NA))[1]
  if (!is.na(absent)) {
    stop("`loadings` has no genes for program '", called$program[absent], "' of '",
      called$population[absent], "': take `loadings` and `programs` from calls with the same ",
      "arguments.", call. = FALSE)
  }
  lapply(unname(groups), function(rows) {
    rows <- utils::head(rows[order(rows$rank), ], n_genes)
    rows <- rows[order(-rows$loading), ]
    half <- 1.96 * ifelse(is.na(rows$std), 0, rows$std)
    data.frame(gene = rows$gene, value = rows$loading, low = rows$loading - half,
      high = rows$loading + half, sure = (rows$lfsr < 0.05) %in% TRUE)
  })
}

program_panels <- function(rows, called, columns) {
  p <- called$padj
  share <- called$share
  details <- shorten(called$program, 14)
  if (!is.null(share)) {
    share[called$kind == "between"] <- NA # of one program it is all
    details <- paste0(details, ifelse(is.na(share), "", sprintf(", %.0f %% of var.", 100 * share)))
  }
  if (!is.null(p)) {
    p <- ifelse(p < 1e-16, "< 1e-16", sprintf(ifelse(p < 0.001, "%.1g", "%.3f"), p))
    details <- paste0(details, ifelse(is.na(called$padj), "", paste("\npadj", p)))
  }
  gene_panels(rows, as.character(called$population), details, columns = columns) +
    ggplot2::geom_segment(ggplot2::aes(x = low, xend = high, yend = row), linewidth = 0.4) +
    ggplot2::geom_point(ggplot2::aes(fill = fill), shape = 21, size = 1.4) +
    ggplot2::labs(x = NULL)
}
