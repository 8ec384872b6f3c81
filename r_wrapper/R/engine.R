# The only file that knows reticulate and Python.

# Packages the engine imports; the same ranges as in its pyproject.toml, which a test compares.
requirements <- c(
  "anndata>=0.10", "numpy>=1.26", "pandas>=2.1", "safetensors>=0.4.3", "scipy>=1.11", "torch>=2.4", "tqdm>=4.64"
)

# What lasts as long as the session: the imported engine, and the last fit in both languages.
session <- new.env(parent = emptyenv())

.onLoad <- function(libname, pkgname) {
  if (current_reticulate()) getExportedValue("reticulate", "py_require")(requirements, python_version = ">=3.10")
}

current_reticulate <- function() utils::packageVersion("reticulate") >= "1.41"

# The user's own choice of Python comes first; then the environment of install_engine(); then what reticulate makes.
engine <- function() {
  if (is.null(session$bridge)) {
    if (!current_reticulate()) {
      stop("ldvae needs the R package reticulate 1.41 or newer: run install.packages(\"reticulate\") and restart R.",
           call. = FALSE)
    }
    folder <- system.file("python", package = "ldvae")
    if (!nzchar(folder)) {
      stop("this ldvae was built without its engine: install it from the folder r_wrapper of the whole repository.",
           call. = FALSE)
    }
    if (!reticulate::py_available() && !nzchar(Sys.getenv("RETICULATE_PYTHON")) && has_environment()) {
      reticulate::use_virtualenv(environment_name, required = FALSE)
    }
    session$bridge <- tryCatch(
      reticulate::import_from_path("ldvae.bridge", folder, convert = FALSE),
      error = function(e) stop(engine_problem(conditionMessage(e)), call. = FALSE)
    )
  }
  session$bridge
}

environment_name <- "r-ldvae"

has_environment <- function() {
  tryCatch(reticulate::virtualenv_exists(environment_name), error = function(e) FALSE)
}

engine_problem <- function(message) {
  remedy <- "run ldvae::install_engine() once and restart R"
  if (!reticulate::py_available()) {
    return(sprintf("ldvae computes in Python (3.10 or newer), and R found none that it can use: %s. (%s)",
                   remedy, one_line(message)))
  }
  python <- reticulate::py_config()
  if (nzchar(Sys.getenv("RETICULATE_PYTHON"))) {
    remedy <- sprintf("install them there with: %s -m pip install %s; or unset RETICULATE_PYTHON and %s",
                      python$python, paste(shQuote(requirements), collapse = " "), remedy)
  }
  if (utils::compareVersion(as.character(python$version), "3.10") < 0) {
    return(sprintf("ldvae needs Python 3.10 or newer, and %s is %s: %s.", python$python, python$version, remedy))
  }
  if (!grepl("No module named", message)) {
    return(sprintf("ldvae could not start its engine in %s: %s.", python$python, one_line(message)))
  }
  missing <- sub(".*No module named '([^']+)'.*", "\\1", message)
  sprintf("ldvae needs Python packages that %s lacks (%s): %s.", python$python, missing, remedy)
}

one_line <- function(message) {
  sub("\\.$", "", trimws(strsplit(message, "\n", fixed = TRUE)[[1]][1]))
}

#' Is the engine ready, and how to install it
#'
#' ldvae computes in Python, which you do not see. Where reticulate (1.41 or newer) can reach the internet there is
#' nothing to do: it provides what the package declares when the first fit is made. `install_engine()` makes a lasting
#' environment instead, `r-ldvae`, with virtualenv; it is found from then on. If you name a Python of your own, by the
#' environment variable `RETICULATE_PYTHON` or `reticulate::use_python()`, that one is taken.
#'
#' @param python Path of the Python (3.10 or newer) to build the environment from; by default reticulate chooses. An
#'   environment that is there is built anew if you give it, otherwise brought up to date.
#' @param cpu_only On Linux, take PyTorch without support of graphics cards, which is much smaller.
#' @return `engine_available()`: `TRUE` if the engine can be used, otherwise `FALSE`, with the reason as attribute
#'   `"reason"`. `install_engine()`: nothing; it needs the internet and a few minutes.
#' @examples
#' engine_available()
#' @export
engine_available <- function() {
  tryCatch({
    engine()
    TRUE
  }, error = function(e) structure(FALSE, reason = conditionMessage(e)))
}

#' @rdname engine_available
#' @export
install_engine <- function(python = NULL, cpu_only = FALSE) {
  if (!has_environment() || !is.null(python)) {
    reticulate::virtualenv_create(environment_name, python = python, version = ">=3.10", packages = NULL,
                                  force = !is.null(python))
  }
  torch <- grep("^torch", requirements, value = TRUE)
  if (isTRUE(cpu_only) && Sys.info()[["sysname"]] == "Linux") {
    reticulate::virtualenv_install(environment_name, torch,
                                   pip_options = "--index-url https://download.pytorch.org/whl/cpu")
  }
  reticulate::virtualenv_install(environment_name, requirements)
  message("Restart R, and ldvae will use the environment '", environment_name, "'.")
}

# Ask the engine: a table as a data.frame, a fit as a Python object, or nothing.
call_engine <- function(name, arguments, fit = NULL, input = NULL, progress = TRUE) {
  force(arguments) # so that what is wrong with them is not laid to the engine
  bridge <- engine()
  answer <- relay(bridge$call(name, arguments, fit = if (!is.null(fit)) python_fit(fit), x = input,
                              progress = progress && interactive()))
  if (is.list(answer)) as_table(answer) else answer
}

split_by_engine <- function(arguments, fit, input) {
  force(arguments)
  relay(engine()$split(arguments, if (!is.null(fit)) python_fit(fit), input))
}

# The value of an answer; its error as an R error, its warnings as R warnings, its notes as messages.
relay <- function(answer) {
  answer <- tryCatch(reticulate::py_to_r(answer), error = function(e) {
    stop("the engine failed with ", one_line(conditionMessage(e)), "; reticulate::py_last_error() says where.",
         call. = FALSE)
  })
  for (text in answer$notes) message(text)
  for (text in answer$warnings) warning(text, call. = FALSE)
  if (!is.null(answer$error)) stop(answer$error, call. = FALSE)
  answer$value
}

as_table <- function(columns) {
  columns <- lapply(columns, function(v) {
    if (is.list(v)) as.character(unlist(v$levels))[v$codes + 1L] else as.vector(v)
  })
  # cells as row names, so that AddMetaData() and cbind() find them
  rows <- if (names(columns)[1] == "cell" && !anyDuplicated(columns$cell)) columns$cell
  structure(columns, class = "data.frame", row.names = if (is.null(rows)) .set_row_names(length(columns[[1]])) else rows)
}

# The engine remembers its last analysis with the fit, so the same R value must be the same Python object.
python_fit <- function(fit) {
  if (!identical(fit, session$fit)) {
    parts <- rapply(unclass(fit)[names(fit) != "settings"], how = "replace", f = function(v) {
      if (is.character(v)) v else as.array(v)
    })
    session$python_fit <- engine()$unpack_fit(parts)
    session$fit <- fit
  }
  session$python_fit
}

# A fit of the engine as an R value.
r_fit <- function(python_fit) {
  parts <- reticulate::py_to_r(engine()$pack_fit(python_fit))
  parts <- rapply(parts, how = "replace", f = function(v) if (length(dim(v)) == 1L) as.vector(v) else v)
  session$python_fit <- python_fit
  session$fit <- structure(parts, class = "ldvae_fit")
}

simulated <- function(arguments) {
  force(arguments)
  bridge <- engine()
  relay(bridge$simulate(arguments))
}
