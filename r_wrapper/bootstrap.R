# Puts the engine into the package: run where `python_pkg` stands beside `r_wrapper`, before R CMD build.
source <- file.path("..", "python_pkg", "ldvae")
target <- file.path("inst", "python", "ldvae")
if (dir.exists(source)) {
  unlink(target, recursive = TRUE)
  files <- list.files(source, "[.](py|typed)$", recursive = TRUE)
  for (folder in unique(dirname(file.path(target, files)))) dir.create(folder, recursive = TRUE, showWarnings = FALSE)
  stopifnot(file.copy(file.path(source, files), file.path(target, files)))
} else if (!file.exists(file.path(target, "bridge.py"))) {
  stop("the engine of ldvae is missing: install from the folder r_wrapper of the whole repository")
}
