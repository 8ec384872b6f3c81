# What the tests of pictures share.

vermillion <- "#D55E00"
blue <- "#0072B2"

panels <- function(plot) ggplot2::ggplot_build(plot)$layout$layout
labels_of_y <- function(plot, panel) {
  ggplot2::ggplot_build(plot)$layout$panel_params[[panel]]$y$get_labels()
}
# Genes of a panel from the top down.
genes_of <- function(plot, panel) rev(labels_of_y(plot, panel))
of_geom <- function(plot, geom, which = 1) {
  layers <- Filter(function(i) inherits(plot$layers[[i]]$geom, geom), seq_along(plot$layers))
  ggplot2::layer_data(plot, layers[which])
}

refused <- function(name, source, problem) {
  paste0("`", name, "` must be the data.frame that `", source, "` returns, but it ", problem, ".")
}
