# How a picture is made: colours everybody can tell apart, panels with headings, labels.

# Columns of the data frames that are drawn, for R CMD check.
utils::globalVariables(c(
  "colour", "dim1", "dim2", "effect", "epoch", "facet", "fill", "gene", "height", "high", "label",
  "lfc", "low", "omnibus", "panel", "part", "row", "score", "series", "shape", "sureness", "value",
  "total", "x", "y"
))

# Okabe & Ito (2008): blue against vermillion is told apart with every common colour blindness.
.blue <- "#0072B2"
.vermillion <- "#D55E00"
.green <- "#009E73"
.grey <- "#8C8C8C"
# Six more of theirs and of Paul Tol's, none of them a colour of up and down, and the greys of what
# is no single factor.
.stack <- c("#E69F00", "#56B4E9", .green, "#CC79A7", "#F0E442", "#332288")
.rests <- c("other factors" = "#CFCFCF", remainder = .grey)
# The centre is light grey, not white, so that a cell without activity is seen on white paper.
.diverging <- c("#00426B", .blue, "#E4E4E4", .vermillion, "#8A3A00")
.small <- 7 # points; no text is smaller

picture_theme <- function() {
  small <- ggplot2::element_text(size = .small, colour = "black")
  ggplot2::theme_classic(base_size = 8) + ggplot2::theme(
    axis.text = small, axis.title.x = ggplot2::element_text(margin = ggplot2::margin(t = 5)),
    legend.text = small, legend.title = small, plot.caption.position = "plot",
    plot.caption = ggplot2::element_text(size = .small, hjust = 0, margin = ggplot2::margin(t = 6)),
    plot.margin = ggplot2::margin(4, 8, 4, 4),
    strip.background = ggplot2::element_blank(), strip.clip = "off",
    strip.text = ggplot2::element_text(size = 8, face = "bold")
  )
}

# For values beside names: no ticks at the names, a grid behind the values.
value_theme <- function() {
  picture_theme() + ggplot2::theme(
    axis.ticks.y = ggplot2::element_blank(), axis.title.y = ggplot2::element_blank(),
    panel.grid.major.x = ggplot2::element_line(colour = "#DDDDDD", linewidth = 0.2)
  )
}

# Round numbers, three or a few more.
ticks <- function(limits) {
  for (n in 3:6) {
    found <- pretty(limits, n)
    found <- found[found >= limits[1] & found <= limits[2]]
    if (length(found) > 2) break
  }
  found
}

zero_line <- function() ggplot2::geom_vline(xintercept = 0, colour = "#555555", linewidth = 0.2)

caption <- function(sentences) {
  ggplot2::labs(caption = paste(unlist(lapply(sentences, strwrap, width = 100)), collapse = "\n"))
}

shorten <- function(text, length = 18) {
  text <- as.character(text)
  long <- nchar(text) > length
  text[long] <- paste0(trimws(substr(text[long], 1, length - 3)), "...")
  text
}

# In at most two lines; a word that is too long for a line is broken.
wrapped <- function(text, width) {
  text <- gsub(sprintf("(\\S{%d})(?=\\S)", width), "\\1 ", text, perl = TRUE)
  vapply(strwrap(text, width + 1, simplify = FALSE), function(lines) {
    rest <- if (length(lines) > 1) shorten(paste(lines[-1], collapse = " "), width)
    paste(c(lines[1], rest), collapse = "\n")
  }, "")
}

.panels <- 24 # of a page: six lines of four

# Which of `n` panels are on a page, and what the foot says of the other pages.
page_of <- function(n, page) {
  pages <- max(1, ceiling(n / .panels))
  if (!is.numeric(page) || length(page) != 1L || !page %in% seq_len(pages)) {
    stop(sprintf("`page` must be %s, not %s.", if (pages > 1) sprintf("a number from 1 to %d", pages)
                 else "1, since all panels are on one page", substr(deparse(page)[1], 1, 20)), call. = FALSE)
  }
  list(
    panels = which(ceiling(seq_len(n) / .panels) == page),
    foot = if (pages > 1) sprintf("Page %d of %d, of %d panels: see `page`.", page, pages, n)
  )
}

# Says how large a picture of many panels wants to be: a ggplot does not know what it will be drawn on.
say_size <- function(n, columns, inches) {
  lines <- ceiling(n / columns)
  if (lines < 4) return(invisible())
  height <- round(inches * lines + 0.6, 1)
  message(sprintf("%d panels want a page of 7.5 x %g inches, as of ggsave(width = 7.5, height = %g).", n, height, height))
}

# Panels beside each other on a page; `longest` is the longest label of their axes, in characters.
panel_columns <- function(n, longest = 4) {
  if (n <= 3) n else if (n <= 9 || longest > 9) 3 else 4
}

# Panels 1, 2, ... with a bold title over lines of details. A strip has one face only, so the
# details are texts of the panel, for which the strip leaves room.
headed_panels <- function(titles, details = "", longest = 4,
                          columns = panel_columns(length(titles), longest)) {
  # Of a page of 7.5 inches, in bold characters.
  width <- floor((7.5 / columns - 0.2 - 0.057 * longest) * 72 / 5.2)
  panels <- factor(seq_along(titles))
  lines <- max(lengths(strsplit(details, "\n")))
  list(
    ggplot2::facet_wrap(ggplot2::vars(panel), ncol = columns, scales = "free",
      labeller = ggplot2::as_labeller(stats::setNames(wrapped(titles, width), panels))),
    ggplot2::coord_cartesian(clip = "off"),
    ggplot2::geom_text(
      ggplot2::aes(label = label), data.frame(panel = panels, label = details), x = -Inf, y = Inf,
      hjust = 0, vjust = -0.4 / max(1, lines), size = .small / ggplot2::.pt, lineheight = 1,
      inherit.aes = FALSE
    ),
    ggplot2::theme(strip.text = ggplot2::element_text(hjust = 0, vjust = 0,
      margin = ggplot2::margin(t = 6, b = 4 + 8.5 * lines)))
  )
}

# One data.frame of several, which know their `panel`.
bind_panels <- function(parts) {
  panel <- rep(seq_along(parts), vapply(parts, nrow, 1L))
  cbind(do.call(rbind, parts), panel = factor(panel, seq_along(parts)))
}

gene_names <- function(genes) shorten(genes, 15)

longest_name <- function(genes) max(nchar(gene_names(genes)), 0)

# Panels beside each other whose axes have the genes of `parts`.
gene_columns <- function(parts) {
  panel_columns(length(parts), longest_name(unlist(lapply(parts, `[[`, "gene"))))
}

# One line per gene of `parts` (gene, value), one data.frame per panel, in its order from the top.
gene_panels <- function(parts, titles, details = "", ...) {
  rows <- bind_panels(parts)
  ids <- seq_len(nrow(rows))
  rows$row <- factor(ids, rev(ids))
  rows$colour <- ifelse(rows$value >= 0, .vermillion, .blue)
  rows$fill <- if (is.null(rows$sure)) rows$colour else ifelse(rows$sure, rows$colour, "white")
  ggplot2::ggplot(rows, ggplot2::aes(value, row, colour = colour)) +
    zero_line() +
    ggplot2::scale_x_continuous(breaks = ticks) +
    ggplot2::scale_y_discrete(labels = stats::setNames(gene_names(rows$gene), ids)) +
    ggplot2::scale_colour_identity() +
    ggplot2::scale_fill_identity() +
    value_theme() +
    headed_panels(titles, details, longest_name(rows$gene), ...)
}

# Stacked bars of `parts` (gene, factor, value, total), one data.frame per panel: positive to the
# right of zero, negative to the left, a dot at the total.
stacked_panels <- function(parts, columns) {
  levels <- levels(parts[[1]]$factor)
  colours <- c(stats::setNames(.stack, setdiff(levels, names(.rests))[seq_along(.stack)]), .rests)
  parts <- lapply(parts, function(part) {
    if (nrow(part)) return(part)
    data.frame(gene = factor("no gene called"), factor = factor(NA, levels), value = 0,
      total = NA_real_)
  })
  bars <- bind_panels(parts)
  ids <- unlist(lapply(seq_along(parts), function(i) paste(i, levels(parts[[i]]$gene), sep = "\r")))
  bars$row <- factor(paste(bars$panel, bars$gene, sep = "\r"), rev(ids))
  ggplot2::ggplot(bars, ggplot2::aes(value, row)) +
    ggplot2::geom_col(ggplot2::aes(fill = factor), width = 0.75, colour = "white", linewidth = 0.1,
      position = ggplot2::position_stack(reverse = TRUE)) +
    zero_line() +
    ggplot2::geom_point(ggplot2::aes(total, shape = "total"), fill = "black", colour = "white",
      size = 1.6, stroke = 0.4, na.rm = TRUE) +
    ggplot2::facet_wrap(ggplot2::vars(panel), ncol = columns, scales = "free") +
    ggplot2::scale_x_continuous(breaks = ticks) +
    ggplot2::scale_y_discrete(labels = function(ids) gene_names(sub("^\\d+\r", "", ids))) +
    ggplot2::scale_fill_manual(name = NULL, values = colours, limits = levels,
      guide = ggplot2::guide_legend(order = 1, nrow = 1, override.aes = list(shape = NA))) +
    ggplot2::scale_shape_manual(name = NULL, values = c(total = 21)) +
    ggplot2::labs(x = "contribution (log2 units)") +
    value_theme() +
    ggplot2::theme(
      strip.text = ggplot2::element_blank(), legend.key.size = ggplot2::unit(0.1, "in"),
      legend.margin = ggplot2::margin(0, 0, 0, 0)
    )
}

# `n` panels in lines of `columns`, each line a pair of pictures, which `draw` makes of the panels `i`:
# one above the other, or `beside` each other.
page_of_pairs <- function(n, columns, foot, draw, beside = FALSE) {
  lines <- split(seq_len(n), (seq_len(n) - 1) %/% columns)
  pieces <- lapply(unname(lines), function(i) lapply(draw(i), padded, length(i), columns))
  patchwork::wrap_plots(unlist(pieces, recursive = FALSE), ncol = 1 + beside) +
    patchwork::plot_annotation(caption = foot$caption, theme = picture_theme())
}

# A line of panels as wide as one of `columns`, though it has only `n`.
padded <- function(part, n, columns) {
  if (n == columns) return(part)
  patchwork::wrap_plots(part, patchwork::plot_spacer(), widths = c(n, columns - n))
}

# Cells coloured by their score about 0, the strongest on top; cells without a score are grey.
activity_panels <- function(at, scores) {
  cells <- do.call(rbind, lapply(seq_along(scores), function(panel) {
    size <- abs(scores[[panel]])
    known <- is.finite(size)
    # A rare population must not drown in the noise of all others, nor all in one extreme cell.
    limit <- if (any(known)) max(stats::quantile(size[known], 0.98), max(size[known]) / 2) else 0
    score <- pmax(pmin(scores[[panel]] / if (limit > 0) limit else 1, 1), -1)
    score[!known] <- NA
    data.frame(panel = panel, dim1 = at[, 1], dim2 = at[, 2], score = score)[
      order(ifelse(known, size, -1)), ]
  }))
  point <- sqrt(min(8, max(0.4, 2500 / nrow(at)))) / 0.75 / ggplot2::.pt
  ggplot2::ggplot(cells, ggplot2::aes(dim1, dim2, colour = score)) +
    ggplot2::geom_point(size = point, stroke = 0, show.legend = FALSE) +
    ggplot2::scale_colour_gradientn(colours = .diverging, limits = c(-1, 1), na.value = "#CCCCCC") +
    ggplot2::facet_wrap(ggplot2::vars(panel), nrow = 1) +
    ggplot2::theme_void() +
    ggplot2::theme(strip.text = ggplot2::element_blank())
}

# Names of the first `n` called genes of each panel, as far as there is room; `points` has those to
# name first.
point_names <- function(points, n, repel = requireNamespace("ggrepel", quietly = TRUE)) {
  rank <- stats::ave(seq_len(nrow(points)), points$panel, FUN = seq_along)
  top <- stats::ave(points$sureness, points$panel, FUN = function(y) max(y, 0))
  named <- points$called & rank <= n
  points <- points[named, ]
  names <- ggplot2::aes(label = gene_names(gene))
  size <- .small / ggplot2::.pt
  if (!repel) {
    return(ggplot2::geom_text(names, points, size = size, vjust = -0.6, check_overlap = TRUE))
  }
  # They start above the points, where nothing is in their way.
  ggrepel::geom_text_repel(names, points, size = size, seed = 1, nudge_y = 0.25 * top[named],
    min.segment.length = 0.2, segment.size = 0.2, segment.colour = "#555555", box.padding = 0.12,
    max.iter = 1e5, max.time = 1, max.overlaps = 15)
}
