skip_if_not_installed("ggplot2")

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

test_that("comparisons within populations say so, beyond 24 are on other pages", {
  within <- rbind(cbind(de_table(), within = "x"), cbind(de_table(), within = "y"))
  plot <- plot_differential_expression(within, group1 = "q")
  expect_equal(of_geom(plot, "GeomText")$label[2], "over rest\nin y\n2 up, 1 down of 5")
  many <- de_table(sprintf("g%d", 1:33))
  expect_message(first <- plot_differential_expression(many),
    "24 panels want a page of 7.5 x 13.8 inches, as of ggsave(width = 7.5, height = 13.8).", fixed = TRUE)
  expect_equal(nrow(panels(first)), 24)
  expect_match(first$labels$caption, "Page 1 of 2, of 33 panels: see `page`.", fixed = TRUE)
  expect_no_message(second <- plot_differential_expression(many, page = 2))
  expect_equal(nrow(panels(second)), 9)
  expect_equal(error_of(plot_differential_expression(many, page = 3)),
    "`page` must be a number from 1 to 2, not 3.")
})

test_that("a comparison without a tested gene is an empty panel", {
  plot <- plot_differential_expression(transform(de_table("p"), lfsr = NA_real_, is_de = FALSE))
  expect_equal(of_geom(plot, "GeomText")$label, "over rest\n0 up, 0 down of 0")
  expect_null(plot$labels$caption)
})

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
    error_of(plot_differential_expression(de, contributions = contributions, ...))
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

test_that("tables that are not of comparisons are refused", {
  expect_match(error_of(plot_differential_expression(association_table())),
    "`differential_expression` returns")
  expect_match(error_of(plot_association(de_table())), "`associate_factors` returns")
})

test_that("wrong arguments of the comparisons are refused", {
  expect_equal(error_of(plot_differential_expression(de_table(), group1 = "T")),
    "`group1` names 'T', but the table has 'p', 'q'.")
  pair <- transform(de_table(), group2 = ifelse(group1 == "p", "x", "y"))
  expect_equal(error_of(plot_differential_expression(pair, group1 = "p", group2 = "y")),
    "`group2` names 'y', but the table has 'x'.")
  expect_equal(error_of(plot_differential_expression(de_table(), n_labels = -1)),
    "`n_labels` must be a whole number of at least 0, not -1.")
})
