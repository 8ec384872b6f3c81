# Puts the engine into the package: run where `python_pkg` stands beside `r_wrapper`, before R CMD build.
source <- file.path("..", "python_pkg", "ldvae")
target <- file.path("inst", "python", "ldvae")
if (dir.exists(source)) {
  unlink(target, recursive = TRUE)
  dir.create(target, recursive = TRUE)
  stopifnot(file.copy(list.files(source, "[.](py|typed)$", full.names = TRUE), target))
} else if (!file.exists(file.path(target, "bridge.py"))) {
  stop("the engine of ldvae is missing: install from the folder r_wrapper of the whole repository")
}
