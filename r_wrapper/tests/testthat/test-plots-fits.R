skip_if_not_installed("ggplot2")

history_table <- function() {
  data.frame(
    epoch = 1:20, elbo_train = c(-900, -700, -600:-583),
    elbo_validation = c(-950, -720, -610:-595, -596, -597), kl = 1:20
  )
}

loadings_table <- function() {
  data.frame(
    gene = c("A", "B", "C", "D", "E", "F"), Z_1 = c(2, -1, NA, 0, 1, -3), Z_2 = c(1, 2, 3, 4, 5, 6),
    Z_3 = c(-1, 1, 0, 0, 0, 0)
  )
}

# Population p has one called program, q two, r one that was not called.
test_that("history has the whole table and marks the best epoch", {
  history <- history_table()
  plot <- plot_history(history)
  lines <- of_geom(plot, "GeomLine")
  expect_setequal(lines$y[lines$colour == "#8C8C8C"], history$elbo_train)
  expect_setequal(lines$y[lines$colour == blue], history$elbo_validation)
  expect_setequal(lines$y[lines$PANEL == 2], history$kl)
  best <- of_geom(plot, "GeomPoint")
  expect_equal(c(best$x, best$y), c(18, -595))
  keys <- ggplot2::ggplot_build(plot)$plot$scales$get_scales("colour")$breaks
  expect_equal(keys, c("training", "held out", "best, epoch 18"))
  # The first epochs would flatten the rest, but only those of the ELBO.
  ranges <- lapply(ggplot2::ggplot_build(plot)$layout$panel_params, function(panel) panel$y.range)
  expect_gt(ranges[[1]][1], -750)
  expect_lt(ranges[[2]][1], 1)
})

test_that("history without held-out cells marks nothing", {
  history <- history_table()
  history$elbo_validation <- NA_real_
  plot <- plot_history(history)
  expect_equal(nrow(of_geom(plot, "GeomPoint")), 0)
  expect_equal(plot$scales$get_scales("colour")$breaks, "training")
  expect_silent(ggplot2::ggplotGrob(plot))
  expect_silent(ggplot2::ggplotGrob(plot_history(history_table()[1, ])))
})

test_that("loadings show both ends of each factor", {
  plot <- plot_loadings(loadings_table(), n_genes = 3)
  expect_equal(nrow(panels(plot)), 3)
  expect_equal(genes_of(plot, 1), c("A", "E", "F"))
  expect_equal(genes_of(plot, 2), c("F", "E"))
  expect_equal(genes_of(plot, 3), c("B", "A"))
  empty <- plot_loadings(transform(loadings_table(), Z_2 = 0), factors = c("Z_2", "Z_1"))
  expect_equal(nrow(panels(empty)), 2)
  bars <- of_geom(plot, "GeomCol")
  expect_equal((bars$xmin + bars$xmax)[bars$PANEL == 1], c(2, 1, -3))
  expect_equal(bars$fill[bars$PANEL == 1], c(vermillion, vermillion, blue))
  plot <- plot_loadings(loadings_table(), factors = "Z_2")
  expect_equal(genes_of(plot, 1), c("F", "E", "D", "C", "B"))
  expect_equal(plot_loadings(loadings_table(), factors = 2)$data, plot$data)
})

test_that("axes of values have at least three round numbers", {
  for (limits in list(c(-0.2, 4.9), c(-0.1, 5.1), c(-3, 0.3), c(-1, 1), c(0, 0.07), c(-12, 40), c(-0.4, 9.6))) {
    found <- ticks(limits)
    expect_gte(length(found), 3)
    expect_lte(length(found), 6)
    expect_true(all(found >= limits[1] & found <= limits[2]))
  }
})

test_that("factors without any loading are refused", {
  loadings <- data.frame(gene = c("a", "b"), Z_1 = c(0, NA))
  expect_error(plot_loadings(loadings), "^`factors`: no loading of 'Z_1' differs from zero\\.$")
})

test_that("what is no history and no loadings is refused", {
  expect_equal(error_of(plot_history(history_table()[c("epoch", "elbo_validation")])),
    refused("history", "get_history", "lacks the columns 'elbo_train', 'kl'"))
  expect_equal(error_of(plot_history(history_table()[0, ])),
    refused("history", "get_history", "has no rows"))
  expect_equal(error_of(plot_loadings(list(1))), refused("loadings", "get_loadings", "is a list"))
  expect_equal(error_of(plot_loadings(loadings_table()[c("gene", "Z_2")])),
    refused("loadings", "get_loadings", "lacks the column 'Z_1'"))
})

test_that("wrong arguments of the factors are refused", {
  loadings <- function(...) plot_loadings(loadings_table(), ...)
  expect_equal(error_of(loadings(factors = "Z_7")),
    "`factors` names 'Z_7', but the table has 'Z_1', 'Z_2', 'Z_3'.")
  expect_equal(error_of(loadings(factors = NA)), "`factors` must be a character vector of names.")
  expect_equal(error_of(loadings(factors = c("Z_1", "Z_1"))), "`factors` names 'Z_1' more than once.")
  expect_equal(error_of(loadings(n_genes = 0)),
    "`n_genes` must be a whole number of at least 1, not 0.")
})
