# ggplot2 pictures of the tables. A picture shows a table as it came out: nothing is computed here.

.units <- c(
  between = "log2 difference from the reference",
  within = "log2 units per SD of the program",
  specific = "log2 units per SD of the program",
  deviation = "log2 units per SD of the factor, beyond the reference"
)

# Stops unless `table` is what `source` returns.
check_table <- function(name, table, columns, source, empty = FALSE) {
  missing <- setdiff(columns, names(table))
  problem <- if (!is.data.frame(table)) {
    paste0("is ", described(table))
  } else if (length(missing)) {
    paste0("lacks the column", if (length(missing) > 1) "s", " ", shown(missing))
  } else if (!nrow(table) && !empty) {
    "has no rows"
  }
  if (!is.null(problem)) {
    stop("`", name, "` must be the data.frame that `", source, "` returns, but it ", problem, ".",
      call. = FALSE)
  }
}

check_known <- function(name, values, choices) {
  if (!is.character(values) || anyNA(values) || !length(values)) {
    stop("`", name, "` must be a character vector of names.", call. = FALSE)
  }
  if (anyDuplicated(values)) {
    stop("`", name, "` names ", shown(unique(values[duplicated(values)])), " more than once.",
      call. = FALSE)
  }
  unknown <- setdiff(values, choices)
  if (length(unknown)) {
    stop("`", name, "` names ", shown(unknown), ", but the table has ", shown(choices, 8), ".",
      call. = FALSE)
  }
}

#' Draw how training went
#'
#' The upper panel has the ELBO on training and on held-out cells; higher is better, and the best
#' held-out epoch is marked. The axis leaves out the steep start where it would flatten the rest.
#' The lower panel has the KL divergence of the latent variables.
#'
#' @param history The data.frame of [get_history()]; nats per cell.
#' @return A ggplot; 4.5 by 3.5 inches suit it.
#' @examples
#' history <- data.frame(
#'   epoch = 1:4, elbo_train = c(-700, -640, -620, -615),
#'   elbo_validation = c(-690, -642, -630, -631), kl = c(2, 9, 11, 12)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_history(history)
#' @export
plot_history <- function(history) {
  check_table("history", history, c("epoch", "elbo_train", "elbo_validation", "kl"), "get_history")
  need_package("ggplot2", "Plots")
  parts <- c("ELBO (nats per cell)", "KL (nats)")
  elbo <- c(history$elbo_train, history$elbo_validation)
  n <- nrow(history)
  drawn <- data.frame(
    epoch = history$epoch, value = c(elbo, history$kl), part = rep(parts, c(2 * n, n)),
    series = rep(c("training", "held out", "KL"), each = n)
  )
  drawn <- drawn[!is.na(drawn$value), ]
  colours <- c(training = .grey, `held out` = .blue, KL = .green)
  best <- history[which.max(history$elbo_validation), ]
  best <- data.frame(
    epoch = best$epoch, value = best$elbo_validation, part = rep(parts[1], nrow(best)),
    series = sprintf("best, epoch %d", as.integer(best$epoch))
  )
  keys <- c(intersect(c("training", "held out"), drawn$series), best$series)
  geom <- if (n > 1) ggplot2::geom_line else ggplot2::geom_point
  ggplot2::ggplot(drawn, ggplot2::aes(epoch, value, colour = series)) +
    ggplot2::geom_vline(xintercept = best$epoch, colour = .vermillion, linetype = "dotted",
      linewidth = 0.3) +
    geom() +
    ggplot2::geom_point(data = best, size = 2) +
    ggplot2::facet_wrap(ggplot2::vars(part), ncol = 1, scales = "free_y",
      strip.position = "left") +
    ggplot2::scale_y_continuous(limits = elbo_limits(elbo), oob = function(x, ...) x) +
    ggplot2::scale_colour_manual(
      values = c(colours, stats::setNames(rep(.vermillion, nrow(best)), best$series)),
      breaks = keys,
      guide = ggplot2::guide_legend(override.aes = list(
        linetype = ifelse(keys %in% best$series, 0, n > 1),
        shape = ifelse(keys %in% best$series | n == 1, 16, NA)
      ))
    ) +
    ggplot2::labs(x = "epoch", y = NULL, colour = NULL) +
    picture_theme() +
    ggplot2::theme(
      legend.position = "top", strip.placement = "outside",
      strip.text = ggplot2::element_text(size = 8, face = "plain")
    )
}

# Limits of the upper panel, which is known by its lowest value, without the steep start.
elbo_limits <- function(elbo) {
  elbo <- elbo[is.finite(elbo)]
  function(range) {
    if (length(elbo) < 2 || range[1] != min(elbo)) return(range)
    low <- stats::quantile(elbo, 0.1, names = FALSE)
    c(low, max(elbo)) + c(-0.08, 0.08) * (max(elbo) - low)
  }
}

#' Draw the genes that make each factor
#'
#' One panel per factor, with its strongest genes up (vermillion) and down (blue) from the top down.
#' A bar is as long as the loading.
#'
#' @param loadings The data.frame of [get_loadings()]: log2 units per standard deviation of the
#'   factor.
#' @param factors Names of factors, one panel each; the first six if `NULL`.
#' @param n_genes Genes per panel, half of them from each end.
#' @return A ggplot; 7.5 inches of width and 2 inches per row of panels suit it.
#' @examples
#' loadings <- data.frame(
#'   gene = c("CD79A", "LYZ", "NKG7", "GNLY"),
#'   Z_1 = c(1.2, -0.4, 0.1, -0.9), Z_2 = c(-0.3, 2, 0.2, 0)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_loadings(loadings, n_genes = 4)
#' @export
plot_loadings <- function(loadings, factors = NULL, n_genes = 10) {
  check_table("loadings", loadings, c("gene", "Z_1"), "get_loadings")
  every <- setdiff(names(loadings), "gene")
  if (is.null(factors)) factors <- utils::head(every, 6)
  check_known("factors", factors, every)
  check_count("n_genes", n_genes, 1)
  need_package("ggplot2", "Plots")
  rows <- lapply(factors, function(factor) {
    value <- loadings[[factor]]
    sorted <- order(-value, na.last = NA)
    up <- utils::head(sorted[value[sorted] > 0], n_genes - n_genes %/% 2)
    chosen <- c(up, utils::tail(sorted[value[sorted] < 0], n_genes %/% 2))
    data.frame(gene = loadings$gene[chosen], value = value[chosen])
  })
  if (!any(vapply(rows, nrow, 0L))) {
    stop("`factors`: no loading of ", shown(factors), " differs from zero.", call. = FALSE)
  }
  gene_panels(rows, factors) +
    ggplot2::geom_col(ggplot2::aes(fill = fill), colour = NA, width = 0.7) +
    ggplot2::labs(x = "loading (log2 units per SD of the factor)")
}

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
  every <- unique(as.character(facts$population))
  names <- if (is.null(populations)) every else populations
  if (!is.null(populations)) check_known("populations", populations, every)
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
  columns <- panel_columns(nrow(called), longest_name(unlist(lapply(rows, `[[`, "gene"))))
  if (is.null(activity)) return(program_panels(rows, called, columns) + foot)
  need_package("patchwork", "Activities")
  lines <- split(seq_len(nrow(called)), (seq_len(nrow(called)) - 1) %/% columns)
  pieces <- lapply(lines, function(i) {
    pair <- list(
      program_panels(rows[i], called[i, ], length(i)),
      activity_panels(activity$at, activity$scores[i])
    )
    lapply(pair, padded, length(i), columns)
  })
  patchwork::wrap_plots(unlist(unname(pieces), recursive = FALSE), ncol = 1) +
    patchwork::plot_annotation(caption = foot$caption, theme = picture_theme())
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
