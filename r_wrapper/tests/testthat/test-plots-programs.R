skip_if_not_installed("ggplot2")

# Population p has one called program, q two, r one that was not called.
program_tables <- function() {
  programs <- data.frame(
    population = c("p", "q", "q", "r"), kind = "within",
    program = c("program_1", "program_1", "program_2", "program_1"), called = c(TRUE, TRUE, TRUE, FALSE),
    share = c(0.604, 0.5, NA, 0.2), padj = c(1e-20, 2e-5, 0.0123, 0.4)
  )
  genes <- data.frame(
    gene = c("A", "B", "C", "D"), loading = c(-2, 0.5, 1, 3), std = c(0.5, 0.4, NA, 0.1),
    lfsr = c(1e-4, 0.05, 0.049, NA), rank = c(2, 4, 3, 1)
  )
  loadings <- merge(programs[c("population", "kind", "program")], genes)
  list(loadings = loadings, programs = programs)
}

test_that("programs are those that were called, with their facts", {
  tables <- program_tables()
  plot <- plot_programs(tables$loadings, tables$programs, n_genes = 3)
  expect_equal(of_geom(plot, "GeomText")$label, c(
    "program_1, 60 % of var.\npadj < 1e-16", "program_1, 50 % of var.\npadj 2e-05", "program_2\npadj 0.012"
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
  expect_equal(of_geom(plot, "GeomText")$label[1], "program_1")
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
  scores <- data.frame(cell = 1:4, p_program_1 = c(-2, NA, 0, 1), q_program_1 = 0, q_program_2 = 1:4)
  at <- cbind(11:14, 21:24)
  plot <- plot_programs(tables$loadings, tables$programs, scores, at)
  expect_length(plot$patches$plots, 1) # and the last one, which is the plot itself
  cells <- activity_panels(at, scores["p_program_1"])
  expect_equal(cells$data$dim1, c(12, 13, 14, 11))
  expect_equal(cells$data$score[1:2], c(NA, 0))
  expect_lt(cells$data$score[4], -0.95)
  expect_equal(ggplot2::layer_data(cells)$colour[1:2], c("#CCCCCC", "#E4E4E4"))
  expect_match(plot$patches$annotation$caption, "below: activity of the program in each cell")
})

test_that("a long foot is broken into lines", {
  tables <- program_tables()
  long <- lapply(tables, transform, population = paste("population with a long name", population))
  long$programs$called[2:3] <- FALSE
  foot <- strsplit(plot_programs(long$loadings, long$programs)$labels$caption, "\n")[[1]]
  expect_true(all(nchar(foot) <= 100))
  expect_match(paste(foot, collapse = " "),
    "population with a long name q, population with a long name r.", fixed = TRUE)
})

test_that("tables that are not of programs are refused", {
  tables <- program_tables()
  expect_match(error_of(plot_programs(tables$programs)),
    "`population_loadings` returns, but it lacks the columns")
  expect_match(error_of(plot_programs(tables$loadings, tables$loadings)),
    "`population_programs` returns, but it lacks")
})

test_that("wrong arguments of the programs are refused", {
  tables <- program_tables()
  programs <- function(...) plot_programs(tables$loadings, tables$programs, ...)
  expect_equal(error_of(programs(n_genes = 1.5)),
    "`n_genes` must be a whole number of at least 1, not 1.5.")
  expect_equal(error_of(programs(populations = "T")),
    "`populations` names 'T', but the table has 'p', 'q', 'r'.")
  numbered <- lapply(tables, function(table) transform(table, population = match(population, c("p", "q", "r"))))
  expect_equal(nrow(panels(plot_programs(numbered$loadings, numbered$programs, populations = 2))), 2)
})

test_that("tables that do not belong together are refused", {
  tables <- program_tables()
  programs <- function(...) plot_programs(tables$loadings, tables$programs, ...)
  expect_equal(error_of(plot_programs(subset(tables$loadings, population != "p"), tables$programs)),
    paste("`loadings` has no genes for program 'program_1' of 'p': take `loadings` and `programs`",
      "from calls with the same arguments."))
  scores <- data.frame(cell = 1:4, p_program_1 = 1:4, q_program_1 = 1:4, q_program_2 = 1:4)
  together <- "`scores` and `embedding` must be given together, or neither."
  expect_equal(error_of(programs(scores = scores)), together)
  expect_equal(error_of(programs(embedding = matrix(0, 4, 2))), together)
  expect_match(error_of(programs(scores = scores[1:2], embedding = matrix(0, 4, 2))),
    "`get_program_scores` returns, but it lacks the columns 'q_program_1', 'q_program_2'.")
  shape <- function(embedding) {
    sub(".*two coordinates for each of the 4 cells of `scores`, not ", "",
      error_of(programs(scores = scores, embedding = embedding)))
  }
  expect_equal(shape(matrix(0, 3, 2)), "3 x 2.")
  expect_equal(shape(matrix(1:4)), "4 x 1.")
  what <- "`embedding` must be coordinates, as of Embeddings(x, \"umap\") or reducedDim(x, \"UMAP\"), not "
  expect_equal(error_of(programs(scores = scores, embedding = "umap")), paste0(what, "'umap'."))
  expect_equal(error_of(programs(scores = scores, embedding = 1:4)), paste0(what, "4 values."))
  expect_equal(shape(matrix("a", 4, 2)), "4 x 2 of type character.")
})

program_map_table <- function() {
  data.frame(
    program = rep(c("program_1", "program_2", "program_3"), each = 2), population = c("p", "q"),
    variance = c(4, 1, -0.2, 9, 0.5, 0.1), padj = c(1e-9, 1e-3, 0.7, 1e-9, 0.01, 0.6),
    active = c(TRUE, TRUE, FALSE, TRUE, FALSE, FALSE),
    top_up = c("A, B, C", "A", "", "D", "", ""), top_down = c("E, F", "", "", "", "", "")
  )
}

test_that("the map has a dot for what varies, filled where it is active", {
  plot <- plot_program_map(program_map_table())
  dots <- plot$data
  expect_equal(levels(dots$row), c("program_2", "program_1"))
  expect_equal(dots$value, c(2, 1, 3)) # none below zero, none of a program that is active nowhere
  expect_equal(dots$fill, rep("#0072B2", 3))
  all <- plot_program_map(program_map_table(), programs = "program_3", populations = c("q", "p"))$data
  expect_equal(as.character(all$x), c("p", "q"))
  expect_equal(levels(all$x), c("q", "p"))
  expect_equal(all$colour, c("#0072B2", "#C4D5E2"))
  expect_equal(all$fill, c("white", "white"))
})

test_that("rows of the map are named by their strongest genes", {
  rows <- subset(program_map_table(), program == "program_1")
  expect_equal(map_label("program_1", rows, 3), "A, B / E   program_1")
  expect_equal(map_label("program_1", rows, 0), "program_1")
})

test_that("a map without an active program is a sentence, and cuts are said", {
  expect_match(ggplot2::layer_data(plot_program_map(transform(program_map_table(), active = FALSE)))$label,
    "No program is active")
  expect_match(plot_program_map(program_map_table(), max_programs = 1)$labels$caption, "First 1 of 2 programs")
  expect_equal(error_of(plot_program_map(program_map_table(), programs = "x")),
    "`programs` names 'x', but the table has 'program_1', 'program_2', 'program_3'.")
  expect_match(error_of(plot_program_map(program_map_table()[1:3])), "`get_program_map` returns, but it lacks")
})
