# ggplot2 pictures of the tables. A picture shows a table as it came out: nothing is computed here.

.units <- c(
  between = "log2 difference from the reference",
  within = "log2 units per SD of the program",
  specific = "log2 units per SD of the program",
  deviation = "log2 units per SD of the factor, beyond the reference"
)
# Beyond it there is nothing left to tell apart, and one gene would flatten all the others.
.lfsr_floor <- 1e-12
.max_comparisons <- 30

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
    rest <- columns - length(i)
    if (!rest) return(pair)
    lapply(pair, function(part) {
      patchwork::wrap_plots(part, patchwork::plot_spacer(), widths = c(length(i), rest))
    })
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

#' Draw differential expression as volcanoes
#'
#' How large the change is against how sure its sign is. The height is -log10 of the local false
#' sign rate, which keeps sure and very sure apart where the probability of differential expression
#' is 1 for both; it ends at 12, and genes beyond are triangles at the top. Coloured genes are
#' called at the false discovery rate of the table: vermillion is higher in group 1, blue in
#' group 2.
#'
#' @param de The data.frame of [differential_expression()]; genes that were not tested are left out.
#' @param group1,group2 Draw only the comparisons of these groups.
#' @param n_labels Called genes to name per panel, the surest and largest first.
#' @return A ggplot with one panel per comparison (the first 30, and it says so); 7.5 inches of
#'   width and 2.2 inches per row of panels suit it.
#' @examples
#' de <- data.frame(
#'   gene = c("CD79A", "LYZ", "NKG7", "ACTB"), group1 = "B cells", group2 = "rest",
#'   lfc_mean = c(4, -2.5, -1.8, 0.1), lfsr = c(1e-30, 1e-8, 1e-4, 0.4),
#'   is_de = c(TRUE, TRUE, TRUE, FALSE)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_differential_expression(de)
#' @export
plot_differential_expression <- function(de, group1 = NULL, group2 = NULL, n_labels = 10) {
  check_table("de", de, c("gene", "group1", "group2", "lfc_mean", "lfsr", "is_de"),
    "differential_expression")
  if (is.null(de$within)) de$within <- ""
  wanted <- list(group1 = group1, group2 = group2)
  for (name in names(wanted)) {
    if (is.null(wanted[[name]])) next
    check_known(name, wanted[[name]], unique(as.character(de[[name]])))
    de <- de[de[[name]] %in% wanted[[name]], ]
  }
  check_count("n_labels", n_labels, 0)
  need_package("ggplot2", "Plots")
  id <- paste(de$within, de$group1, de$group2, sep = "\r")
  comparisons <- split(de, factor(id, unique(id)))
  drawn <- utils::head(comparisons, .max_comparisons)
  points <- lapply(drawn, volcano_points)
  titles <- vapply(drawn, function(rows) as.character(rows$group1[1]), "")
  several_within <- length(unique(de$within)) > 1
  details <- mapply(volcano_details, drawn, points, several_within)
  foot <- c(
    if (any(de$lfsr < .lfsr_floor, na.rm = TRUE)) "triangles: lfsr below 1e-12",
    if (length(comparisons) > length(drawn)) paste0("First ", .max_comparisons, " of ",
      length(comparisons), " comparisons: choose with `group1` and `group2`.")
  )
  ggplot2::ggplot(bind_panels(points), ggplot2::aes(lfc, sureness)) +
    ggplot2::geom_vline(xintercept = 0, colour = "#555555", linewidth = 0.2) +
    ggplot2::geom_point(ggplot2::aes(colour = colour, shape = shape), size = 0.8) +
    ggplot2::geom_blank(data = bind_panels(lapply(points, volcano_frame))) +
    point_names(bind_panels(points), n_labels) +
    ggplot2::scale_colour_identity() +
    ggplot2::scale_shape_identity() +
    ggplot2::scale_x_continuous(n.breaks = 5) +
    ggplot2::scale_y_continuous(breaks = function(limits) {
      ticks <- pretty(c(0, limits[2] / 1.5), 4)
      ticks[ticks <= limits[2] / 1.5]
    }) +
    ggplot2::labs(x = "log2 fold change, group 1 over group 2", y = "-log10 lfsr") +
    picture_theme() +
    headed_panels(unname(titles), unname(details)) +
    if (length(foot)) caption(foot)
}

# The tested genes of one comparison, those to name first.
volcano_points <- function(rows) {
  rows <- rows[!is.na(rows$lfc_mean) & !is.na(rows$lfsr), ]
  called <- rows$is_de %in% TRUE
  direction <- ifelse(rows$lfc_mean < 0, .blue, .vermillion)
  points <- data.frame(
    gene = rows$gene, lfc = rows$lfc_mean, sureness = -log10(pmax(rows$lfsr, .lfsr_floor)),
    called = called, colour = ifelse(called, direction, "#BBBBBB"),
    shape = ifelse(rows$lfsr < .lfsr_floor, 17, 16)
  )
  points[order(!points$called, -points$sureness, -abs(points$lfc)), ]
}

# Room for names above the highest points, and beside the outermost.
volcano_frame <- function(points) {
  side <- 1.2 * max(0.5, abs(points$lfc))
  data.frame(lfc = c(-side, side), sureness = c(0, 1.5 * max(1, points$sureness)))
}

volcano_details <- function(rows, points, several_within) {
  called <- points$lfc[points$called]
  counts <- format(c(sum(called > 0), sum(called < 0), nrow(points)), big.mark = ",", trim = TRUE)
  paste(c(
    paste("over", shorten(rows$group2[1], 22)),
    if (several_within) paste("in", shorten(rows$within[1], 24)),
    paste0(counts[1], " up, ", counts[2], " down of ", counts[3])
  ), collapse = "\n")
}

#' Draw which factors go with which groups
#'
#' A heat map: levels are rows, factors are columns, and the colour is the effect, from blue (lower)
#' to vermillion (higher). A dot stands where the adjusted p-value is below .05. The test of all
#' factors at once stands apart at the right, grey since it has no direction. Each population of
#' `within` is a facet.
#'
#' @param association The data.frame of [associate_factors()]: effects in standard deviations of the
#'   factor.
#' @return A ggplot; 0.2 inches of height per row and 1.2 inches for the rest suit it.
#' @examples
#' association <- data.frame(
#'   factor = c("Z_1", "Z_2", "all"), key = "treatment", level = "treated", within = "all",
#'   effect = c(1.2, -0.1, NA), padj = c(0.001, 0.8, 0.004)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_association(association)
#' @export
plot_association <- function(association) {
  check_table("association", association, c("factor", "key", "level", "within", "effect", "padj"),
    "associate_factors")
  need_package("ggplot2", "Plots")
  table <- association_rows(association)
  size <- abs(table$effect[!table$omnibus])
  limit <- if (any(is.finite(size))) stats::quantile(size, 0.99, na.rm = TRUE, names = FALSE) else 0
  beyond <- any(size > limit, na.rm = TRUE)
  if (limit == 0) limit <- 1
  single <- table[!table$omnibus, ]
  single$effect <- pmax(pmin(single$effect, limit), -limit)
  all <- table[table$omnibus, ]
  foot <- paste(c(
    "dot: padj < 0.05", if (nrow(all)) "grey: all factors at once",
    if (!is.null(association$unit)) paste("unit:", paste(unique(association$unit), collapse = "/")),
    if (beyond) sprintf("colours end at %.2g", limit)
  ), collapse = "; ")
  labels <- unique(single[c("row", "label")])
  ggplot2::ggplot(single, ggplot2::aes(x, row)) +
    ggplot2::geom_tile(ggplot2::aes(fill = effect), colour = "white", linewidth = 0.3) +
    ggplot2::geom_tile(ggplot2::aes(y = y, height = height), all, fill = "#D9D9D9",
      colour = "white", linewidth = 0.3) +
    ggplot2::geom_point(ggplot2::aes(y = y), table[table$sure, ], shape = 21, fill = "black",
      colour = "white", size = 1.6, stroke = 0.4) +
    ggplot2::facet_grid(ggplot2::vars(facet), ggplot2::vars(omnibus), scales = "free",
      space = "free", switch = "y", labeller = function(labels) lapply(labels, shorten, 30)) +
    ggplot2::scale_x_discrete(expand = c(0, 0)) +
    ggplot2::scale_y_discrete(expand = c(0, 0),
      labels = stats::setNames(labels$label, labels$row)) +
    ggplot2::scale_fill_gradientn(name = "effect (SD of the factor)", colours = .diverging,
      limits = c(-limit, limit), na.value = "white") +
    ggplot2::labs(x = NULL, y = NULL) +
    caption(foot) +
    picture_theme() +
    ggplot2::theme(
      axis.line = ggplot2::element_blank(), axis.ticks = ggplot2::element_blank(),
      legend.position = "bottom", legend.key.width = ggplot2::unit(0.4, "in"),
      legend.key.height = ggplot2::unit(0.1, "in"), strip.placement = "outside",
      strip.text.x = ggplot2::element_blank(),
      strip.text.y.left = if (nlevels(table$facet) == 1) ggplot2::element_blank() else
        ggplot2::element_text(angle = 0, hjust = 1, size = .small)
    ) +
    if (sum(nchar(levels(table$x)) + 2) > 90) ggplot2::theme(
      axis.text.x = ggplot2::element_text(angle = 90, hjust = 1, vjust = 0.5)
    )
}

# The table with the places of its tiles: `y` counts from the bottom of each facet.
association_rows <- function(table) {
  text <- lapply(table[c("factor", "key", "level", "within")], function(column) {
    ifelse(is.na(column), "", as.character(column))
  })
  by <- Filter(function(column) length(unique(column)) > 1, text[c("key", "within")])
  facet <- if (length(by)) do.call(paste, c(unname(by), sep = ", ")) else rep("", nrow(table))
  omnibus <- text$factor == "all"
  id <- paste(facet, text$level, sep = "\r")
  rows <- unique(id[!omnibus])
  # One test for all levels spans them.
  spans <- omnibus & !id %in% rows
  position <- stats::ave(match(id, rows), facet, FUN = function(at) {
    levels <- sort(unique(at))
    ifelse(is.na(at), (length(levels) + 1) / 2, length(levels) + 1 - match(at, levels))
  })
  data.frame(
    facet = factor(facet, unique(facet)), row = factor(id, rev(rows)),
    label = ifelse(text$level == "", text$key, shorten(text$level, 24)),
    x = factor(text$factor, c(setdiff(text$factor, "all"), "all")),
    y = position, height = ifelse(spans, 2 * position - 1, 1),
    omnibus = omnibus, effect = table$effect, sure = (table$padj < 0.05) %in% TRUE
  )
}
