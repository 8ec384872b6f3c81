# From an R call to the engine. `arguments` are all of a function's, by name.

column_arguments <- c("groupby", "batch_key", "covariate_keys", "size_factor_key", "sample_key", "key", "within", "adjust")

# `...` is what the function was given beside them.
ask <- function(.name, .arguments, ...) {
  check_no_others(.name, ...)
  name <- .name
  arguments <- .arguments
  fit <- if ("fit" %in% names(arguments) && !absent(arguments, "fit")) check_fit(arguments$fit)
  optional <- name == "get_latent" && is.null(arguments[["x"]])
  if ("x" %in% names(arguments) && !absent(arguments, "x") && !optional) check_cells(arguments$x)
  arguments <- with_identities(arguments)
  check_given(arguments)
  input <- if ("x" %in% names(arguments) && !optional) input_for(arguments, fit)
  if (name %in% c("fit_ldvae", "from_latent") && is.logical(arguments$genes)) arguments$genes <- by_mask(arguments$genes, input$genes)
  for (set in intersect(c("cells1", "cells2"), names(arguments))) {
    if (is.numeric(arguments[[set]])) arguments[[set]] <- by_position(arguments[[set]], set, input$cells)
  }
  rest <- arguments[setdiff(names(arguments), c("fit", "x", "cell_data", "assay"))]
  answer <- call_engine(name, plain_arguments(rest), fit, input, progress = !isFALSE(rest$progress))
  if (is.data.frame(answer)) with_levels(answer, input$cell_data, arguments) else answer
}

# Groups in a table are factors, in the order in which the cell data has them.
with_levels <- function(table, cell_data, arguments) {
  of_groups <- c(group1 = "groupby", group2 = "groupby", population = "groupby", within = "within", level = "key")
  for (column in intersect(names(of_groups), names(table))) {
    key <- arguments[[of_groups[[column]]]]
    groups <- if (is.character(key)) cell_data[[key]]
    known <- c(unlist(groups$levels), sort(unique(groups$values)))
    there <- unique(table[[column]])
    if (!is.null(known)) table[[column]] <- factor(table[[column]], c(intersect(known, there), setdiff(there, known)))
  }
  table
}

# Has the argument no default, and was not given?
absent <- function(arguments, name) identical(arguments[[name]], quote(expr = ))

# The groups of a Seurat object are its identities, unless others are named.
with_identities <- function(arguments) {
  open <- "groupby" %in% names(arguments) && (absent(arguments, "groupby") || is.null(arguments$groupby))
  if (open && !absent(arguments, "x") && inherits(arguments[["x"]], "Seurat") && is.null(arguments$cells1)) {
    message("`groupby` is \"ident\", the identities of `x` (Idents).")
    arguments$groupby <- "ident"
  }
  arguments
}

input_for <- function(arguments, fit) {
  given <- Filter(Negate(is.null), arguments[intersect(column_arguments, names(arguments))])
  keys <- as.character(unlist(mapply(column_names, given, names(given), SIMPLIFY = FALSE)))
  names(keys) <- rep(names(given), lengths(given))
  of_fit <- as.character(unlist(fit$settings$columns))
  keys <- c(keys, stats::setNames(of_fit, rep("fit", length(of_fit))))
  read_input(
    arguments$x, arguments$cell_data,
    assay = arguments$assay,
    keys = keys[!duplicated(keys)],
    genes = if (is.null(fit) && is.character(arguments$genes) && length(arguments$genes) == 1L) arguments$genes,
    symbols = c(arguments$gene_symbols, fit$settings$gene_symbols)[1],
    hint = c(fit$settings$assay, fit$settings$layer)[1], # taken if `x` has it
    reduction = c(arguments$use_rep, fit$settings$use_rep)[1]
  )
}

column_names <- function(value, argument) {
  several <- argument %in% c("covariate_keys", "adjust")
  if (!is.character(value) || anyNA(value) || (!several && length(value) != 1L)) {
    stop(sprintf("`%s` must be the name%s of the cell data, not %s%s.", argument,
                 if (several) "s of columns" else " of a column", described(value),
                 if (length(value) > 1L && !several) ": labels become a column first, as in x$labels <- labels" else ""),
         call. = FALSE)
  }
  value
}

# Cells by their number, as which() gives them.
by_position <- function(positions, argument, cells) {
  if (anyNA(positions) || any(positions < 1 | positions > length(cells) | positions != round(positions))) {
    stop(sprintf("`%s` must hold numbers of cells from 1 to %d, names of cells, or TRUE and FALSE.", argument,
                 length(cells)), call. = FALSE)
  }
  cells[positions]
}

# Genes by TRUE and FALSE, as a column of gene data gives them.
by_mask <- function(mask, genes) {
  if (!length(mask)) { # VariableFeatures() of an assay without any
    stop("`genes` is empty: run FindVariableFeatures() first, or name the assay that has them, as in ",
         "VariableFeatures(x, assay = \"RNA\").", call. = FALSE)
  }
  if (anyNA(mask) || length(mask) != length(genes)) {
    stop(sprintf("`genes` must have TRUE or FALSE for each of the %d genes of `x`, or be names.", length(genes)),
         call. = FALSE)
  }
  genes[mask]
}

plain_arguments <- function(arguments) mapply(plain_argument, arguments, names(arguments), SIMPLIFY = FALSE)

# An argument that crosses without loss: missing values, factors and names do not. Names mean something in `depth` only:
# a column of a Seurat object has those of its cells.
plain_argument <- function(value, name) {
  if (name %in% c("path", "checkpoint") && !is.null(value)) {
    check_file_name(name, value)
    return(path.expand(value))
  }
  if (!is.null(value) && !is.atomic(value) && !is.list(value)) {
    what <- if (is.function(value)) "function" else class(value)[1]
    stop(sprintf("`%s` must be a plain value, not a %s.", name, what), call. = FALSE)
  }
  if (is.atomic(value) && anyNA(value)) {
    stop(sprintf("`%s` must not %s.", name, if (length(value) > 1L) "hold NA" else "be NA"), call. = FALSE)
  }
  if (is.factor(value)) value <- as.character(value)
  if (is.atomic(value) && !is.null(names(value))) {
    if (name == "depth") return(as.list(value))
    value <- unname(value)
  }
  if (is.logical(value) && length(value) > 1L) array(value) else value
}
