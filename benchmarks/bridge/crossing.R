# What it costs to come from R: time and memory for counts to cross, against the fit itself (Linux).
# Rscript benchmarks/bridge/crossing.R [cells] [genes]; prints a table in Markdown.
library(ldvae)

arguments <- as.integer(commandArgs(TRUE))
n_cells <- if (length(arguments)) arguments[1] else 100000L
n_genes <- if (length(arguments) > 1) arguments[2] else 2000L

set.seed(1)
per_cell <- round(0.07 * n_genes)
rows <- as.vector(replicate(n_cells, sort.int(sample.int(n_genes, per_cell) - 1L)))
counts <- methods::new("dgCMatrix", i = rows, p = as.integer(seq(0, length(rows), by = per_cell)),
                       x = as.double(1 + rpois(length(rows), 0.5)), Dim = c(n_genes, n_cells),
                       Dimnames = list(paste0("G", seq_len(n_genes)), paste0("C", seq_len(n_cells))))
rm(rows)

status <- function(field) {
  lines <- readLines("/proc/self/status")
  as.numeric(gsub("[^0-9]", "", grep(field, lines, value = TRUE))) / 1024
}
measure <- function(expr) {
  invisible(gc())
  before <- status("VmRSS")
  writeLines("5", "/proc/self/clear_refs") # starts the peak anew
  seconds <- system.time(expr)[["elapsed"]]
  c(seconds = seconds, peak = max(0, status("VmHWM") - before))
}

small <- counts[, 1:200]
fit <- fit_ldvae(small, max_epochs = 1, progress = FALSE) # loads what is loaded once
input <- ldvae:::read_input(counts, NULL, NULL, character())
bridge <- ldvae:::engine()
crossing <- measure(cells <- bridge[["_anndata"]](input, NULL))
rm(cells)
training <- measure(fit <- fit_ldvae(counts, progress = FALSE))
returning <- measure(get_latent(fit))

cat(sprintf("%s cells x %s genes, %.0f million non-zeros; dgCMatrix of %.0f MiB\n\n",
            format(n_cells, big.mark = ","), format(n_genes, big.mark = ","), length(counts@x) / 1e6,
            unclass(utils::object.size(counts)) / 2^20))
cat("| step | seconds | peak above start (MiB) |\n|---|---:|---:|\n")
cat(sprintf("| counts cross to the engine | %.1f | %.0f |\n", crossing[["seconds"]], crossing[["peak"]]))
cat(sprintf("| the whole fit, from R | %.1f | %.0f |\n", training[["seconds"]], training[["peak"]]))
cat(sprintf("| scores of all cells come back | %.1f | %.0f |\n", returning[["seconds"]], returning[["peak"]]))
cat(sprintf("\nThe crossing is %.1f %% of the fit.\n", 100 * crossing[["seconds"]] / training[["seconds"]]))
