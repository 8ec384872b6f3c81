skip_if_not_installed("ggplot2")

vermillion <- "#D55E00"
blue <- "#0072B2"

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
program_tables <- function() {
  programs <- data.frame(
    population = c("p", "q", "q", "r"), kind = "within",
    program = c("own_1", "own_1", "own_2", "own_1"), called = c(TRUE, TRUE, TRUE, FALSE),
    share = c(0.604, 0.5, NA, 0.2), padj = c(1e-20, 2e-5, 0.0123, 0.4)
  )
  genes <- data.frame(
    gene = c("A", "B", "C", "D"), loading = c(-2, 0.5, 1, 3), std = c(0.5, 0.4, NA, 0.1),
    lfsr = c(1e-4, 0.05, 0.049, NA), rank = c(2, 4, 3, 1)
  )
  loadings <- merge(programs[c("population", "kind", "program")], genes)
  list(loadings = loadings, programs = programs)
}

de_table <- function(groups = c("p", "q")) {
  one <- data.frame(
    gene = c("A", "B", "C", "D", "E", "F"), lfc_mean = c(1, -3, 2, -0.1, NA, 0.5),
    lfsr = c(1e-20, 1e-5, 1e-5, 0.4, NA, 0.01),
    is_de = c(TRUE, TRUE, TRUE, FALSE, FALSE, FALSE)
  )
  do.call(rbind, lapply(groups, function(group) cbind(one, group1 = group, group2 = "rest")))
}

# Z_1 ... Z_8 contribute 1 ... 8 hundredths of the change of each gene, with Z_8 against it.
contributions_table <- function(de = de_table()) {
  rows <- merge(de[c("gene", "group1", "group2", "lfc_mean")],
    data.frame(factor = c(paste0("Z_", 1:8), "remainder"), share = c(1:7, -8, 5) / 100))
  rows$contribution <- ifelse(is.na(rows$lfc_mean), 0, rows$lfc_mean) * rows$share
  rows[order(rows$factor), ]
}

association_table <- function(levels = c("u", "v"), within = "all") {
  rows <- expand.grid(
    level = levels, factor = c("Z_1", "Z_2", "all"), within = within, stringsAsFactors = FALSE
  )
  rows$key <- "treatment"
  rows$unit <- "samples"
  rows$effect <- ifelse(rows$factor == "all", NA, seq(-1, 2, length.out = nrow(rows)))
  rows$padj <- ifelse(rows$factor == "Z_1", 0.2, 0.01)
  rows
}

panels <- function(plot) ggplot2::ggplot_build(plot)$layout$layout
labels_of_y <- function(plot, panel) {
  ggplot2::ggplot_build(plot)$layout$panel_params[[panel]]$y$get_labels()
}
# Genes of a panel from the top down.
genes_of <- function(plot, panel) rev(labels_of_y(plot, panel))
error <- function(expr) conditionMessage(expect_error(expr))
of_geom <- function(plot, geom, which = 1) {
  layers <- Filter(function(i) inherits(plot$layers[[i]]$geom, geom), seq_along(plot$layers))
  ggplot2::layer_data(plot, layers[which])
}

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
})

test_that("programs are those that were called, with their facts", {
  tables <- program_tables()
  plot <- plot_programs(tables$loadings, tables$programs, n_genes = 3)
  expect_equal(of_geom(plot, "GeomText")$label, c(
    "own_1, 60 % of var.\npadj < 1e-16", "own_1, 50 % of var.\npadj 2e-05", "own_2\npadj 0.012"
  ))
  titles <- plot$facet$params$labeller(data.frame(panel = factor(1:3)))
  expect_equal(unlist(titles), c("p", "q", "q"), ignore_attr = TRUE)
  expect_equal(genes_of(plot, 1), c("D", "C", "A"))
  expect_equal(plot$labels$caption, paste0(
    "within loading +/- 1.96 SD (log2 units per SD of the program); filled: lfsr < 0.05\n",
    "No program called in r."
  ))
})

test_that("programs have intervals, and hollow points where the sign is unsure", {
  tables <- program_tables()
  plot <- plot_programs(tables$loadings, tables$programs)
  points <- of_geom(plot, "GeomPoint")[1:4, ]
  expect_equal(points$x, c(3, 1, 0.5, -2))
  expect_equal(points$fill, c("white", vermillion, "white", blue))
  expect_equal(points$colour, c(rep(vermillion, 3), blue))
  bars <- of_geom(plot, "GeomSegment")[1:4, ]
  expect_equal(bars$xend - points$x, 1.96 * c(0.1, 0, 0.4, 0.5))
  expect_equal(points$x - bars$x, 1.96 * c(0.1, 0, 0.4, 0.5))
})

test_that("without a table of programs all are drawn, and chosen populations keep their order", {
  tables <- program_tables()
  plot <- plot_programs(tables$loadings)
  expect_equal(nrow(panels(plot)), 4)
  expect_equal(of_geom(plot, "GeomText")$label[1], "own_1")
  plot <- plot_programs(tables$loadings, tables$programs, populations = c("q", "p"))
  expect_match(of_geom(plot, "GeomText")$label[3], "60 %")
  expect_no_match(plot$labels$caption, "No program")
})

test_that("no called program is a sentence", {
  tables <- program_tables()
  plot <- plot_programs(tables$loadings[0, ], transform(tables$programs, called = FALSE))
  expect_equal(ggplot2::layer_data(plot)$label,
    "No program was called in any of these populations.")
})

test_that("activities colour the cells by their score, the strongest on top", {
  skip_if_not_installed("patchwork")
  tables <- program_tables()
  scores <- data.frame(cell = 1:4, p_own_1 = c(-2, NA, 0, 1), q_own_1 = 0, q_own_2 = 1:4)
  at <- cbind(11:14, 21:24)
  plot <- plot_programs(tables$loadings, tables$programs, scores, at)
  expect_length(plot$patches$plots, 1) # and the last one, which is the plot itself
  cells <- activity_panels(at, scores["p_own_1"])
  expect_equal(cells$data$dim1, c(12, 13, 14, 11))
  expect_equal(cells$data$score[1:2], c(NA, 0))
  expect_lt(cells$data$score[4], -0.95)
  expect_equal(ggplot2::layer_data(cells)$colour[1:2], c("#CCCCCC", "#E4E4E4"))
  expect_match(plot$patches$annotation$caption, "below: activity of the program in each cell")
})

test_that("volcanoes have each tested gene at its place", {
  plot <- plot_differential_expression(de_table(), n_labels = 2)
  expect_equal(nrow(panels(plot)), 2)
  points <- of_geom(plot, "GeomPoint")
  points <- points[points$PANEL == 1, ]
  expect_equal(points$x, c(1, -3, 2, 0.5, -0.1))
  expect_equal(points$y, c(12, 5, 5, 2, -log10(0.4)))
  expect_equal(points$colour, c(vermillion, blue, vermillion, "#BBBBBB", "#BBBBBB"))
  expect_equal(points$shape, c(17, 16, 16, 16, 16))
  expect_equal(of_geom(plot, "GeomText")$label, rep("over rest\n2 up, 1 down of 5", 2))
  expect_equal(plot$labels$caption, "triangles: lfsr below 1e-12")
})

test_that("the surest called genes are named, with ggrepel and without", {
  named <- function(repel) {
    points <- bind_panels(lapply(split(de_table(), de_table()$group1), volcano_points))
    layer <- point_names(points, 2, repel)
    ggplot2::layer_data(ggplot2::ggplot(points, ggplot2::aes(lfc, sureness)) + layer)
  }
  expect_equal(named(FALSE)$label, c("A", "B", "A", "B"))
  skip_if_not_installed("ggrepel")
  expect_equal(named(TRUE)$label, c("A", "B", "A", "B"))
})

test_that("comparisons within populations say so, beyond thirty are cut, and can be chosen", {
  within <- rbind(cbind(de_table(), within = "x"), cbind(de_table(), within = "y"))
  plot <- plot_differential_expression(within, group1 = "q")
  expect_equal(of_geom(plot, "GeomText")$label[2], "over rest\nin y\n2 up, 1 down of 5")
  many <- plot_differential_expression(de_table(sprintf("g%d", 1:33)))
  expect_equal(nrow(panels(many)), 30)
  expect_match(many$labels$caption,
    "First 30 of 33 comparisons: choose with `group1` and `group2`.", fixed = TRUE)
})

test_that("a comparison without a tested gene is an empty panel", {
  plot <- plot_differential_expression(transform(de_table("p"), lfsr = NA_real_, is_de = FALSE))
  expect_equal(of_geom(plot, "GeomText")$label, "over rest\n0 up, 0 down of 0")
  expect_null(plot$labels$caption)
})

refused <- function(name, source, problem) {
  paste0("`", name, "` must be the data.frame that `", source, "` returns, but it ", problem, ".")
}

by_factor_of <- function(de, contributions, n = 10) {
  comparisons <- split(cbind(de, within = ""), de$group1)
  by_factor(contributions, comparisons, lapply(comparisons, volcano_points), n)
}

test_that("contributions of the called genes are stacked by factor, with a dot at the total", {
  parts <- by_factor_of(de_table(), contributions_table())
  expect_equal(levels(parts[[1]]$factor),
    c(paste0("Z_", 3:8), "other factors", "remainder"))
  expect_equal(levels(parts[[1]]$gene), c("C", "A", "B"))
  a <- parts[[1]][parts[[1]]$gene == "A", ]
  expect_equal(a$value[order(a$factor)], c(3:7, -8, 3, 5) / 100)
  expect_equal(a$total, rep(0.25, 8))
  plot <- stacked_panels(parts, 2)
  expect_equal(genes_of(plot, 1), c("C", "A", "B"))
  bars <- of_geom(plot, "GeomBar")
  a <- bars[bars$PANEL == 1 & bars$y == 2, ]
  expect_equal(range(a$xmin, a$xmax), c(-0.08, 0.33))
  expect_length(unique(a$fill), 8)
  dots <- of_geom(plot, "GeomPoint")
  expect_equal(sort(unique(round(dots$x, 9))), c(-0.75, 0.25, 0.5))
  expect_equal(unique(vapply(by_factor_of(de_table(), contributions_table(), 1), nrow, 0L)), 8L)
})

test_that("with contributions the picture is a patchwork of both, which draws also without a call", {
  skip_if_not_installed("patchwork")
  draws <- function(de, contributions = contributions_table(de)) {
    plot <- plot_differential_expression(de, contributions = contributions)
    expect_s3_class(plot, "patchwork")
    expect_silent(patchwork::patchworkGrob(plot))
    plot
  }
  one <- draws(de_table("p"))
  expect_match(one$patches$annotation$caption, "^bars: contributions of the factors")
  draws(de_table(letters[1:4]))
  draws(transform(de_table(), is_de = is_de & group1 == "p"))
  draws(transform(de_table(), is_de = FALSE))
  silent <- stacked_panels(by_factor_of(transform(de_table("p"), is_de = FALSE),
    contributions_table()), 1)
  expect_equal(genes_of(silent, 1), "no gene called")
})

test_that("contributions that do not belong to the volcano are refused", {
  contributions <- contributions_table()
  wrong <- function(contributions, de = de_table(), ...) {
    error(plot_differential_expression(de, contributions = contributions, ...))
  }
  expect_equal(wrong(de_table()), refused("contributions", "differential_contributions",
    "lacks the columns 'factor', 'contribution'"))
  expect_equal(wrong(subset(contributions, group1 == "p")), paste("`contributions` lacks 'A', 'B',",
    "'C' for 'q' over 'rest': ask `differential_contributions` for the same groups with the same fit."))
  expect_match(wrong(subset(contributions, gene != "B" | factor != "Z_3")),
    "^`contributions` lacks 'B' for 'p' over 'rest'")
  expect_equal(wrong(rbind(contributions, contributions)),
    "`contributions` has 'p' over 'rest' more than once: take the table of one call.")
  within <- rbind(cbind(de_table(), within = "x"), cbind(de_table(), within = "y"))
  expect_equal(wrong(contributions, within), paste("`contributions` are those of one set of cells,",
    "but `de` has several populations in `within`: draw one at a time."))
  expect_equal(wrong(contributions, n_labels = 0),
    "`n_labels` must be a whole number of at least 1, not 0.")
})

test_that("associations are tiles, with dots where they are sure and one column for all factors", {
  plot <- plot_association(association_table())
  expect_equal(nrow(panels(plot)), 2)
  expect_equal(as.vector(labels_of_y(plot, 1)), c("v", "u"))
  tiles <- of_geom(plot, "GeomTile")
  expect_equal(nrow(tiles), 4)
  expect_equal(tiles$fill[tiles$x == 1 & tiles$y == 2], "#00426B") # Z_1 of u, the lowest
  grey <- of_geom(plot, "GeomTile", 2)
  expect_equal(grey[c("fill", "y")], data.frame(fill = "#D9D9D9", y = c(2, 1)), ignore_attr = TRUE)
  dots <- of_geom(plot, "GeomPoint")
  expect_equal(as.numeric(dots$x[dots$PANEL == 1]), c(2, 2))
  expect_equal(sum(dots$PANEL == 2), 2)
  expect_equal(plot$labels$caption,
    "dot: padj < 0.05; grey: all factors at once; unit: samples; colours end at 0.99")
  single <- plot_association(subset(association_table(), factor != "all"))
  expect_no_match(single$labels$caption, "grey")
})

test_that("one test for all levels spans them", {
  association <- association_table(c("u", "v", "w"))
  association <- association[association$factor != "all" | association$level == "u", ]
  association$level[association$factor == "all"] <- ""
  plot <- plot_association(association)
  grey <- of_geom(plot, "GeomTile", 2)
  expect_equal(c(grey$ymin, grey$ymax), c(0.5, 3.5), ignore_attr = TRUE)
  dots <- of_geom(plot, "GeomPoint")
  expect_equal(as.numeric(dots$y[dots$PANEL == 2]), 2)
})

test_that("associations within populations are facets, in their order", {
  plot <- plot_association(association_table("u", c("q", "p")))
  expect_equal(as.character(unique(panels(plot)$facet)), c("q", "p"))
})

test_that("long texts are wrapped or shortened", {
  expect_equal(shorten(c("short", "a much too long text"), 10), c("short", "a much..."))
  expect_equal(wrapped("Transitional stage B cells of the bone marrow", 20),
    "Transitional stage B\ncells of the bone...")
  expect_equal(wrapped("one_word_without_any_space", 15), "one_word_withou\nt_any_space")
  tables <- program_tables()
  long <- lapply(tables, transform, population = paste("population with a long name", population))
  long$programs$called[2:3] <- FALSE
  foot <- strsplit(plot_programs(long$loadings, long$programs)$labels$caption, "\n")[[1]]
  expect_true(all(nchar(foot) <= 100))
  expect_match(paste(foot, collapse = " "),
    "population with a long name q, population with a long name r.", fixed = TRUE)
})

test_that("wrong tables are refused with the function they come from", {
  tables <- program_tables()
  expect_equal(error(plot_history(history_table()[c("epoch", "elbo_validation")])),
    refused("history", "get_history", "lacks the columns 'elbo_train', 'kl'"))
  expect_equal(error(plot_history(history_table()[0, ])),
    refused("history", "get_history", "has no rows"))
  expect_equal(error(plot_loadings(list(1))), refused("loadings", "get_loadings", "is a list"))
  expect_equal(error(plot_loadings(tables$loadings)),
    refused("loadings", "get_loadings", "lacks the column 'Z_1'"))
  expect_match(error(plot_programs(loadings_table())),
    "`population_loadings` returns, but it lacks the columns")
  expect_match(error(plot_programs(tables$loadings, tables$loadings)),
    "`population_programs` returns, but it lacks")
  expect_match(error(plot_differential_expression(tables$programs)),
    "`differential_expression` returns")
  expect_match(error(plot_association(tables$programs)), "`associate_factors` returns")
})

test_that("wrong arguments are refused", {
  tables <- program_tables()
  programs <- function(...) plot_programs(tables$loadings, tables$programs, ...)
  loadings <- function(...) plot_loadings(loadings_table(), ...)
  expect_equal(error(loadings(factors = "Z_7")),
    "`factors` names 'Z_7', but the table has 'Z_1', 'Z_2', 'Z_3'.")
  expect_equal(error(loadings(factors = 1)), "`factors` must be a character vector of names.")
  expect_equal(error(loadings(factors = c("Z_1", "Z_1"))), "`factors` names 'Z_1' more than once.")
  expect_equal(error(loadings(n_genes = 0)),
    "`n_genes` must be a whole number of at least 1, not 0.")
  expect_equal(error(programs(n_genes = 1.5)),
    "`n_genes` must be a whole number of at least 1, not 1.5.")
  expect_equal(error(programs(populations = "T")),
    "`populations` names 'T', but the table has 'p', 'q', 'r'.")
  expect_equal(error(plot_differential_expression(de_table(), group1 = "T")),
    "`group1` names 'T', but the table has 'p', 'q'.")
  pair <- transform(de_table(), group2 = ifelse(group1 == "p", "x", "y"))
  expect_equal(error(plot_differential_expression(pair, group1 = "p", group2 = "y")),
    "`group2` names 'y', but the table has 'x'.")
  expect_equal(error(plot_differential_expression(de_table(), n_labels = -1)),
    "`n_labels` must be a whole number of at least 0, not -1.")
})

test_that("tables that do not belong together are refused", {
  tables <- program_tables()
  programs <- function(...) plot_programs(tables$loadings, tables$programs, ...)
  expect_equal(error(plot_programs(subset(tables$loadings, population != "p"), tables$programs)),
    paste("`loadings` has no genes for program 'own_1' of 'p': take `loadings` and `programs`",
      "from calls with the same arguments."))
  scores <- data.frame(cell = 1:4, p_own_1 = 1:4, q_own_1 = 1:4, q_own_2 = 1:4)
  together <- "`scores` and `embedding` must be given together, or neither."
  expect_equal(error(programs(scores = scores)), together)
  expect_equal(error(programs(embedding = matrix(0, 4, 2))), together)
  expect_match(error(programs(scores = scores[1:2], embedding = matrix(0, 4, 2))),
    "`get_program_scores` returns, but it lacks the columns 'q_own_1', 'q_own_2'.")
  shape <- function(embedding) {
    sub(".*two coordinates for each of the 4 cells of `scores`, not ", "",
      error(programs(scores = scores, embedding = embedding)))
  }
  expect_equal(shape(matrix(0, 3, 2)), "3 x 2.")
  expect_equal(shape(1:4), "4 x 1.")
  expect_equal(shape(matrix("a", 4, 2)), "4 x 2 of type character.")
})

test_that("a missing package is one sentence", {
  expect_equal(error(need_package("no.such.package", "Plots")),
    "Plots need the package no.such.package: install.packages(\"no.such.package\").")
})

test_that("factors without any loading are refused", {
  loadings <- data.frame(gene = c("a", "b"), Z_1 = c(0, NA))
  expect_error(plot_loadings(loadings), "^`factors`: no loading of 'Z_1' differs from zero\\.$")
})
