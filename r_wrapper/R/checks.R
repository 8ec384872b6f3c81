# Is this argument what it should be? What only R can know; everything else the engine checks.

check_given <- function(arguments) {
  missing <- Filter(function(name) absent(arguments, name), names(arguments))
  if (length(missing)) stop("`", missing[1], "` is missing, with no default.", call. = FALSE)
}

check_fit <- function(fit) {
  if (!inherits(fit, "ldvae_fit")) {
    cells <- is_se(fit) || inherits(fit, "Seurat") || methods::is(fit, "Matrix")
    stop("`fit` must be a fit (from fit_ldvae or load_fit), not ", described(fit),
         if (cells) ": the fit comes first, and in a pipe that starts with the object by name (fit = )", ".",
         call. = FALSE)
  }
  fit
}

check_count <- function(name, value, low) {
  if (!is.numeric(value) || length(value) != 1L || !is.finite(value) || value < low || value %% 1) {
    stop("`", name, "` must be a whole number of at least ", low, ", not ", substr(deparse(value)[1], 1, 20), ".",
         call. = FALSE)
  }
}

check_choice <- function(name, value, choices) {
  if (!is.character(value) || length(value) != 1L || !value %in% choices) {
    stop(sprintf("`%s` must be one of %s, not %s.", name, shown(choices), described(value)), call. = FALSE)
  }
}

check_flag <- function(name, value) {
  if (!is.logical(value) || length(value) != 1L || is.na(value)) {
    stop(sprintf("`%s` must be TRUE or FALSE, not %s.", name, described(value)), call. = FALSE)
  }
}

check_file_name <- function(name, value) {
  if (!is.character(value) || length(value) != 1L || is.na(value) || !nzchar(value)) {
    stop("`", name, "` must be the name of a file, not ", described(value), ".", call. = FALSE)
  }
}

check_new_file <- function(name, value) {
  check_file_name(name, value)
  if (!dir.exists(dirname(value))) {
    stop("`", name, "` must be in an existing folder, and '", dirname(value), "' is not one.", call. = FALSE)
  }
}

# A plain data.frame, be it a tibble, of what `source` returns; stops if it is not that.
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
  as.data.frame(table)
}

# The `values` that somebody named among the `choices`, or the default.
chosen <- function(name, values, choices, default = choices) {
  if (is.null(values)) return(default)
  if (is.numeric(values)) values <- as.character(values) # clusters are numbered
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
  values
}

need_package <- function(package, what, command = "install.packages") {
  if (!requireNamespace(package, quietly = TRUE)) {
    stop(what, " need the package ", package, ": ", command, "(\"", package, "\").", call. = FALSE)
  }
}

described <- function(value) {
  if (is.null(value)) "NULL"
  else if (inherits(value, "ldvae_fit")) "a fit"
  else if (is.atomic(value) && length(value) == 1L) paste0("'", value, "'")
  else if (is.atomic(value)) sprintf("%s values", format(length(value), big.mark = ","))
  else paste(if (grepl("^[AEIOaeio]", class(value)[1])) "an" else "a", class(value)[1])
}

shown <- function(values, limit = 5L) {
  more <- if (length(values) > limit) sprintf(" and %d more", length(values) - limit) else ""
  paste0(paste0("'", utils::head(values, limit), "'", collapse = ", "), more)
}
