# Pictures of what differs between groups, by ggplot2. Nothing is computed here.

# Beyond it there is nothing left to tell apart, and one gene would flatten all the others.
.lfsr_floor <- 1e-12
.few_labels <- 6 # that small panels have room for
.max_factors <- 6 # with a colour of their own

#' Draw differential expression as volcanoes
#'
#' How large the change is against how sure its sign is. The height is -log10 of the local false
#' sign rate, which keeps sure and very sure apart where the probability of differential expression
#' is 1 for both; it ends at 12, and genes beyond are triangles at the top. Coloured genes are
#' called at the false discovery rate of the table: vermillion is higher in group 1, blue in
#' group 2.
#'
#' With `contributions` the picture also says which factors are behind the change: that of each of the
#' first `n_labels` called genes is split into bars, those of the six factors that contribute most to
#' the genes of all panels, the sum of the other factors, and the remainder. A dot is at the total,
#' the change of the model's mean log2 expression, which is not the fold change of the volcano.
#'
#' @param de The data.frame of [differential_expression()]; genes that were not tested are left out.
#' @param group1,group2 Draw only the comparisons of these groups.
#' @param n_labels Called genes to name per panel, the surest and largest first; six where there are four panels in a line,
#'   which have no room for more.
#' @param contributions The data.frame of [differential_contributions()] for the same comparisons,
#'   of the same cells.
#' @param page Which page, if there are more than 24 panels.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A ggplot with one panel per comparison (the first 24, and it says so: see `page`), or a patchwork
#'   with `contributions`; 7.5 inches of width and 2.2 inches per row of panels (4 with `contributions`)
#'   suit it.
#' @examples
#' de <- data.frame(
#'   gene = c("CD79A", "LYZ", "NKG7", "ACTB"), group1 = "B cells", group2 = "rest",
#'   lfc_mean = c(4, -2.5, -1.8, 0.1), lfsr = c(1e-30, 1e-8, 1e-4, 0.4),
#'   is_de = c(TRUE, TRUE, TRUE, FALSE)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_differential_expression(de)
#' @export
plot_differential_expression <- function(de, group1 = NULL, group2 = NULL, n_labels = 10,
                                         contributions = NULL, page = 1, ...) {
  check_no_others("plot_differential_expression", ...)
  de <- check_table("de", de, c("gene", "group1", "group2", "lfc_mean", "lfsr", "is_de"),
    "differential_expression")
  if (is.null(de$within)) de$within <- ""
  wanted <- list(group1 = group1, group2 = group2)
  for (name in names(wanted)) {
    de <- de[de[[name]] %in% chosen(name, wanted[[name]], unique(as.character(de[[name]]))), ]
  }
  explained <- !is.null(contributions)
  check_count("n_labels", n_labels, as.integer(explained))
  need_package("ggplot2", "Plots")
  id <- paste(de$within, de$group1, de$group2, sep = "\r")
  comparisons <- split(de, factor(id, unique(id)))
  page <- page_of(length(comparisons), page)
  drawn <- comparisons[page$panels]
  points <- lapply(drawn, volcano_points)
  titles <- unname(vapply(drawn, function(rows) as.character(rows$group1[1]), ""))
  several_within <- length(unique(de$within)) > 1
  columns <- panel_columns(length(drawn))
  details <- unname(mapply(volcano_details, drawn, points, several_within, if (columns > 3) 28 else 38))
  several <- length(comparisons) > 1
  foot <- caption(c(
    if (explained && several) {
      "log2 fold change, group 1 over group 2 (across), against -log10 lfsr (up)"
    },
    if (explained) paste("bars: contributions of the factors to the change in mean log2 expression",
      "(log2 units)"),
    if (any(de$lfsr < .lfsr_floor, na.rm = TRUE)) paste("triangles: lfsr below", .lfsr_floor),
    page$foot
  ))
  if (!explained) {
    say_size(length(points), columns, 2.2)
    volcanoes <- volcano_panels(points, titles, details, n_labels, columns)
    return(volcanoes + if (nzchar(foot$caption)) foot)
  }
  parts <- by_factor(contributions, drawn, points, n_labels)
  need_package("patchwork", "Contributions")
  columns <- gene_columns(parts)
  say_size(length(parts), columns, 4)
  whole <- page_of_pairs(length(parts), columns, foot, beside = !several, draw = function(i) {
    pair <- list(
      volcano_panels(points[i], titles[i], details[i], n_labels, columns),
      stacked_panels(parts[i], length(i))
    )
    if (several) lapply(pair, `+`, ggplot2::labs(x = NULL, y = NULL)) else pair # the foot has them
  })
  whole + patchwork::plot_layout(guides = "collect") & ggplot2::theme(legend.position = "bottom")
}

volcano_panels <- function(points, titles, details, n_labels, columns) {
  ggplot2::ggplot(bind_panels(points), ggplot2::aes(lfc, sureness)) +
    zero_line() +
    ggplot2::geom_point(ggplot2::aes(colour = colour, shape = shape), size = 0.8) +
    ggplot2::geom_blank(data = bind_panels(lapply(points, volcano_frame))) +
    point_names(bind_panels(points), if (columns > 3) min(n_labels, .few_labels) else n_labels) +
    ggplot2::scale_colour_identity() +
    ggplot2::scale_shape_identity() +
    ggplot2::scale_x_continuous(n.breaks = 5) +
    ggplot2::scale_y_continuous(breaks = function(limits) {
      ticks <- pretty(c(0, limits[2] / 1.5), 4)
      ticks[ticks <= limits[2] / 1.5]
    }) +
    ggplot2::labs(x = "log2 fold change, group 1 over group 2", y = "-log10 lfsr") +
    picture_theme() +
    headed_panels(titles, details, columns = columns)
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

volcano_details <- function(rows, points, several_within, width) {
  called <- points$lfc[points$called]
  counts <- format(c(sum(called > 0), sum(called < 0), nrow(points)), big.mark = ",", trim = TRUE)
  paste(c(
    paste("over", shorten(rows$group2[1], width - 5)),
    if (several_within) paste("in", shorten(rows$within[1], width - 3)),
    paste0(counts[1], " up, ", counts[2], " down of ", counts[3])
  ), collapse = "\n")
}

# Contributions (gene, factor, value) to the first `n` called genes of each comparison, and the
# total; genes have levels from the largest total down, factors those of the key.
by_factor <- function(contributions, comparisons, points, n) {
  key <- c("group1", "group2", "gene", "factor")
  contributions <- check_table("contributions", contributions, c(key, "contribution"), "differential_contributions")
  if (length(unique(vapply(comparisons, function(rows) as.character(rows$within[1]), ""))) > 1) {
    stop("`contributions` are those of one set of cells, but `de` has several populations in ",
      "`within`: draw one at a time.", call. = FALSE)
  }
  parts <- Map(function(rows, points) {
    own_contributions(contributions, rows[1, ], utils::head(points$gene[points$called], n), key)
  }, comparisons, points)
  every <- do.call(rbind, parts)
  factors <- setdiff(unique(every$factor), c("inactive", "remainder"))
  size <- vapply(factors, function(name) mean(abs(every$value[every$factor == name])), 0)
  first <- factors[rank(-size, ties.method = "first") <= .max_factors]
  rests <- c(if (length(setdiff(every$factor, c(first, "remainder")))) "other factors",
    intersect("remainder", every$factor))
  lapply(unname(parts), function(part) {
    part$factor[!part$factor %in% c(first, "remainder")] <- "other factors"
    total <- tapply(part$value, part$gene, sum)
    if (nrow(part)) {
      part <- stats::aggregate(list(value = part$value), part[c("gene", "factor")], sum)
    }
    part$total <- as.vector(total[part$gene])
    part$gene <- factor(part$gene, names(sort(total, decreasing = TRUE)))
    part$factor <- factor(part$factor, c(first, rests))
    part
  })
}

own_contributions <- function(contributions, comparison, genes, key) {
  compared <- sprintf("'%s' over '%s'", comparison$group1, comparison$group2)
  own <- contributions[contributions$group1 == as.character(comparison$group1) &
    contributions$group2 == as.character(comparison$group2) & contributions$gene %in% genes, ]
  if (anyDuplicated(own[key])) {
    stop("`contributions` has ", compared, " more than once: take the table of one call.",
      call. = FALSE)
  }
  found <- table(own$gene[!is.na(own$contribution)])
  lacking <- setdiff(genes, names(found)[found == length(unique(own$factor))])
  if (length(lacking)) {
    stop("`contributions` lacks ", shown(lacking), " for ", compared, ": ask ",
      "`differential_contributions` for the same groups with the same fit.", call. = FALSE)
  }
  data.frame(gene = as.character(own$gene), factor = as.character(own$factor),
    value = own$contribution)
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
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A ggplot; 0.2 inches of height per row and 1.2 inches for the rest suit it.
#' @examples
#' association <- data.frame(
#'   factor = c("Z_1", "Z_2", "all"), key = "treatment", level = "treated", within = "all",
#'   effect = c(1.2, -0.1, NA), padj = c(0.001, 0.8, 0.004)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_association(association)
#' @export
plot_association <- function(association, ...) {
  check_no_others("plot_association", ...)
  association <- check_table("association", association, c("factor", "key", "level", "within", "effect", "padj"),
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
    label = ifelse(text$level == "", text$key, shorten(text$level, 40)),
    x = factor(text$factor, c(setdiff(text$factor, "all"), "all")),
    y = position, height = ifelse(spans, 2 * position - 1, 1),
    omnibus = omnibus, effect = table$effect, sure = (table$padj < 0.05) %in% TRUE
  )
}
