# Pictures of a fit, by ggplot2: how training went, which genes make its factors. Nothing is computed here.

#' Draw how training went
#'
#' The upper panel has the ELBO on training cells and what is predicted of held-out ones; higher is better, and the best
#' held-out epoch is marked. The axis leaves out the steep start where it would flatten the rest.
#' The lower panel has the KL divergence of the latent variables.
#'
#' @param history The data.frame of [get_history()], or a fit; nats per cell.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A ggplot; 4.5 by 3.5 inches suit it.
#' @examples
#' history <- data.frame(
#'   epoch = 1:4, elbo_train = c(-700, -640, -620, -615),
#'   elbo_validation = c(-690, -642, -630, -631), kl = c(2, 9, 11, 12)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_history(history)
#' @export
plot_history <- function(history, ...) {
  check_no_others("plot_history", ...)
  if (inherits(history, "ldvae_fit")) history <- get_history(history)
  history <- check_table("history", history, c("epoch", "elbo_train", "elbo_validation", "kl"), "get_history")
  need_package("ggplot2", "Plots")
  parts <- c("bound (nats per cell)", "KL (nats)")
  elbo <- c(history$elbo_train, history$elbo_validation)
  n <- nrow(history)
  drawn <- data.frame(
    epoch = history$epoch, value = c(elbo, history$kl),
    part = factor(rep(parts, c(2 * n, n)), parts), # the order of letters is the locale's
    series = rep(c("training", "held out", "KL"), each = n)
  )
  drawn <- drawn[!is.na(drawn$value), ]
  colours <- c(training = .grey, `held out` = .blue, KL = .green)
  best <- history[which.max(history$elbo_validation), ]
  best <- data.frame(
    epoch = best$epoch, value = best$elbo_validation,
    part = factor(rep(parts[1], nrow(best)), parts),
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
#' @param loadings The data.frame of [get_loadings()], or a fit: log2 units per standard deviation of the
#'   factor.
#' @param factors Names of factors, or their numbers, one panel each; the first six if `NULL`.
#' @param n_genes Genes per panel, half of them from each end.
#' @param page Which page, if there are more than 24 panels.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A ggplot; 7.5 inches of width and 2 inches per row of panels suit it.
#' @examples
#' loadings <- data.frame(
#'   gene = c("CD79A", "LYZ", "NKG7", "GNLY"),
#'   Z_1 = c(1.2, -0.4, 0.1, -0.9), Z_2 = c(-0.3, 2, 0.2, 0)
#' )
#' if (requireNamespace("ggplot2", quietly = TRUE)) plot_loadings(loadings, n_genes = 4)
#' @export
plot_loadings <- function(loadings, factors = NULL, n_genes = 10, page = 1, ...) {
  check_no_others("plot_loadings", ...)
  if (inherits(loadings, "ldvae_fit")) loadings <- get_loadings(loadings)
  loadings <- check_table("loadings", loadings, "gene", "get_loadings")
  if (identical(names(loadings), "gene")) stop("`loadings` has no factor: none of the fit is active.", call. = FALSE)
  loadings <- check_table("loadings", loadings, "Z_1", "get_loadings")
  every <- setdiff(names(loadings), "gene")
  if (is.numeric(factors)) factors <- paste0("Z_", factors)
  some <- is.null(factors) && length(every) > 6
  factors <- chosen("factors", factors, every, default = utils::head(every, 6))
  check_count("n_genes", n_genes, 1)
  page <- page_of(length(factors), page)
  foot <- if (some) sprintf("The first 6 of %d factors: see `factors`.", length(every)) else page$foot
  factors <- factors[page$panels]
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
  columns <- gene_columns(rows)
  say_size(length(rows), columns, 2)
  gene_panels(rows, factors, columns = columns) +
    ggplot2::geom_col(ggplot2::aes(fill = fill), colour = NA, width = 0.7) +
    ggplot2::labs(x = "loading (log2 units per SD of the factor)", caption = foot)
}
