# Pictures of the programs of populations, by ggplot2. Nothing is computed here.

.units <- c(
  between = "log2 difference from the reference",
  within = "log2 units per SD of the program",
  specific = "log2 units per SD of the program",
  deviation = "log2 units per SD of the program, beyond the reference"
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
#'   cells to draw the activity over: a matrix with cells in rows, or a `DimReduc` of Seurat.
#' @param populations Names of populations to draw, in this order; all if `NULL`.
#' @param n_genes Genes per panel, by their rank.
#' @param page Which page, if there are more than 24 panels.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A ggplot, or a patchwork with `scores`; 7.5 inches of width and 1.8 inches per row of
#'   panels (3 with `scores`) suit it.
#' @examples
#' loadings <- data.frame(
#'   population = "B cells", kind = "within", program = "program_1", gene = c("CD79A", "IGHM", "JUN"),
#'   loading = c(1.4, 0.8, -0.9), std = c(0.1, 0.5, 0.2), lfsr = c(1e-9, 0.06, 1e-5),
#'   rank = c(1, 3, 2)
#' )
#' programs <- data.frame(
#'   population = c("B cells", "NK cells"), kind = "within", program = "program_1",
#'   called = c(TRUE, FALSE), share = c(0.6, 0.2), padj = c(1e-8, 0.4)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_programs(loadings, programs)
#' @export
plot_programs <- function(loadings, programs = NULL, scores = NULL, embedding = NULL,
                          populations = NULL, n_genes = 8, page = 1, ...) {
  check_no_others("plot_programs", ...)
  key <- c("population", "kind", "program")
  loadings <- check_table("loadings", loadings, c(key, "gene", "loading", "std", "lfsr", "rank"),
    "population_loadings", empty = TRUE)
  facts <- if (is.null(programs)) loadings else programs
  if (!is.null(programs)) {
    programs <- check_table("programs", programs, c(key, "called", "share", "padj"), "population_programs")
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
  activity <- program_activity(scores, embedding, score_names(called$population, called$program))
  page <- page_of(nrow(called), page)
  foot <- program_foot(called, names, !is.null(activity), page$foot)
  called <- called[page$panels, ]
  if (!is.null(activity)) activity$scores <- activity$scores[page$panels]
  rows <- program_genes(loadings, called, n_genes)
  columns <- gene_columns(rows)
  say_size(length(rows), columns, if (is.null(activity)) 1.8 else 3)
  if (is.null(activity)) return(program_panels(rows, called, columns) + foot)
  need_package("patchwork", "Activities")
  page_of_pairs(length(rows), columns, foot, function(i) {
    list(
      program_panels(rows[i], called[i, ], length(i)),
      activity_panels(activity$at, activity$scores[i])
    )
  })
}

program_foot <- function(called, names, active, pages) {
  kinds <- unique(as.character(called$kind))
  units <- unique(ifelse(kinds %in% names(.units), .units[kinds], "log2 units"))
  silent <- setdiff(names, called$population)
  caption(c(
    paste0(paste(kinds, collapse = " / "), " loading +/- 1.96 SD (",
      paste(units, collapse = " / "), "); filled: lfsr < 0.05"),
    if (active) paste("below: activity of the program in each cell, from low (blue) to high",
      "(vermillion)"),
    if (length(silent)) paste0("No program called in ", paste(silent, collapse = ", "), "."),
    pages
  ))
}

# Columns of get_program_scores(): as the engine makes them.
score_names <- function(populations, programs) {
  names <- gsub("(?<=[0-9A-Za-z_])\\+", "pos", populations, perl = TRUE)
  names <- gsub("(?<=[0-9A-Za-z_])-(?![0-9A-Za-z_])", "neg", names, perl = TRUE)
  names <- gsub("[^0-9A-Za-z._]", "_", names, perl = TRUE)
  paste0(ifelse(grepl("^[A-Za-z]", names), names, paste0("group_", names)), "_", programs)
}

# Coordinates of the cells and their scores for `wanted`, or NULL if neither is given.
program_activity <- function(scores, embedding, wanted) {
  if (is.null(scores) && is.null(embedding)) return(NULL)
  if (is.null(scores) || is.null(embedding)) {
    stop("`scores` and `embedding` must be given together, or neither.", call. = FALSE)
  }
  scores <- check_table("scores", scores, wanted, "get_program_scores")
  at <- coordinates_of(embedding)
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

#' Draw where each program varies
#'
#' A dot per program and population, larger where the program moves the genes by more: its area is the standard
#' deviation of what the program does there (the square root of `variance`), and there is none where that is no more
#' than counting noise. A filled dot is an active program. A dark ring varies (`padj` below .05) but is not called a
#' program there; of a pale ring not even that is sure.
#'
#' @param program_map The data.frame of [get_program_map()].
#' @param populations Names of populations to draw, the columns in this order; all if `NULL` (the first 60, and it says
#'   so).
#' @param programs Names of programs to draw, the rows in this order. If `NULL`, those that are active in any of the
#'   populations: those of most populations first, the others in the order of the columns.
#' @param n_genes Genes to name of each program, from both of its ends, of the population in which it is active most
#'   strongly.
#' @param max_programs Most rows; it says so if there are more.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A ggplot; 3.5 inches and .25 per population of width, 1.5 inches and .2 per program of height suit it.
#' @examples
#' map <- data.frame(
#'   program = rep(c("program_1", "program_2"), each = 2), population = c("B cells", "NK cells"),
#'   variance = c(4, 3, 6, 0.1), padj = c(1e-8, 1e-5, 1e-9, 0.4),
#'   active = c(TRUE, TRUE, TRUE, FALSE), top_up = c("JUN, FOS", "JUN", "CD27, IGHM", ""), top_down = ""
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_program_map(map)
#' @export
plot_program_map <- function(program_map, populations = NULL, programs = NULL, n_genes = 3, max_programs = 60, ...) {
  check_no_others("plot_program_map", ...)
  program_map <- check_table("program_map", program_map,
    c("program", "population", "variance", "padj", "active", "top_up", "top_down"), "get_program_map", empty = TRUE)
  check_count("n_genes", n_genes, 0)
  check_count("max_programs", max_programs, 1)
  across <- chosen("populations", populations, unique(as.character(program_map$population)))
  foot <- c("Area: square root of the variance (log2, all genes).",
    "Filled: active; dark ring: varies (padj < 0.05), but is no program of these cells.")
  if (length(across) > .most_columns) {
    foot <- c(foot, sprintf("First %d of %d populations: choose with `populations`.", .most_columns, length(across)))
    across <- utils::head(across, .most_columns)
  }
  map <- program_map[program_map$population %in% across, ]
  active <- map[map$active %in% TRUE, ]
  first <- tapply(match(active$population, across), factor(active$program, unique(active$program)), min)
  number <- tapply(active$program, factor(active$program, names(first)), length)
  down <- if (is.null(programs)) names(first)[order(-number, first)] else {
    chosen("programs", programs, unique(as.character(map$program)))
  }
  need_package("ggplot2", "Plots")
  if (!length(down)) {
    return(ggplot2::ggplot() + ggplot2::theme_void() + ggplot2::annotate("text", 0, 0, size = 3,
      label = "No program is active in any of these populations."))
  }
  if (length(down) > max_programs) {
    foot <- c(foot, sprintf("First %d of %d programs: choose with `programs` or raise `max_programs`.", max_programs,
      length(down)))
    down <- utils::head(down, max_programs)
  }
  map <- map[map$program %in% down, ]
  labels <- vapply(down, function(name) map_label(name, map[map$program == name, ], n_genes), "")
  dots <- data.frame(
    x = factor(map$population, across), row = factor(map$program, rev(down)), value = sqrt(pmax(map$variance, 0)),
    fill = ifelse(map$active %in% TRUE, .blue, "white"),
    colour = ifelse(map$active %in% TRUE | map$padj < 0.05, .blue, "#C4D5E2")
  )
  dots <- dots[which(dots$value > 0), ]
  ggplot2::ggplot(dots, ggplot2::aes(x, row, size = value, fill = fill, colour = colour)) +
    ggplot2::geom_point(shape = 21) +
    ggplot2::scale_x_discrete(drop = FALSE, labels = function(names) shorten(names, 28)) +
    ggplot2::scale_y_discrete(drop = FALSE, labels = stats::setNames(labels, down)) +
    ggplot2::scale_size_area(max_size = 6, name = "SD (log2)") +
    ggplot2::scale_fill_identity() +
    ggplot2::scale_colour_identity() +
    ggplot2::labs(x = NULL, y = NULL) +
    picture_theme() +
    ggplot2::theme(
      axis.text.x = ggplot2::element_text(angle = 90, hjust = 1, vjust = 0.5), axis.line = ggplot2::element_blank(),
      axis.ticks = ggplot2::element_blank(),
      panel.grid.major = ggplot2::element_line(colour = "#EEEEEE", linewidth = 0.2)
    ) +
    caption(foot)
}

.most_columns <- 60 # populations; more cannot be read on a page

# A program with the strongest genes at both of its ends, where it is active most strongly.
map_label <- function(name, rows, n) {
  rows <- rows[rows$top_up != "" | rows$top_down != "", ]
  label <- shorten(name, 20)
  if (!nrow(rows) || n == 0) return(label)
  rows <- rows[order(-(rows$active %in% TRUE), -rows$variance), ][1, ]
  up <- strsplit(as.character(rows$top_up), ", ", fixed = TRUE)[[1]]
  down <- strsplit(as.character(rows$top_down), ", ", fixed = TRUE)[[1]]
  of_up <- min(length(up), max(n - length(down), n - n %/% 2))
  ends <- list(utils::head(up, of_up), utils::head(down, n - of_up))
  ends <- vapply(ends, function(genes) paste(shorten(genes, 12), collapse = ", "), "")
  paste0(trimws(paste(ends, collapse = " / "), whitespace = "[ /]"), "   ", label)
}
