# What it costs to come from R: time and memory for counts to cross, and what a fit takes in R beyond the time that the
# engine spends on it (Linux; needs SingleCellExperiment and SeuratObject).
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
objects <- list(
  "plain matrix" = counts,
  SingleCellExperiment = SingleCellExperiment::SingleCellExperiment(list(counts = counts)),
  Seurat = SeuratObject::CreateSeuratObject(counts)
)

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
row <- function(step, measured) {
  cat(sprintf("| %s | %.2f | %.0f |\n", step, measured[["seconds"]], measured[["peak"]]))
}

fit <- fit_ldvae(counts[, 1:200], max_epochs = 1, progress = FALSE) # loads what is loaded once
bridge <- ldvae:::engine()
reticulate::py_run_string("
import time
from ldvae import api
spent, fit_ldvae = [], api.fit_ldvae
def timed(*given, **named):
    start = time.perf_counter()
    fit = fit_ldvae(*given, **named)
    spent.append(time.perf_counter() - start)
    return fit
api.fit_ldvae = timed
")
cat(sprintf("%s cells x %s genes, %.0f million non-zeros; dgCMatrix of %.0f MiB\n\n",
            format(n_cells, big.mark = ","), format(n_genes, big.mark = ","), length(counts@x) / 1e6,
            unclass(utils::object.size(counts)) / 2^20))
cat("| step | seconds | peak above start (MiB) |\n|---|---:|---:|\n")
whole <- measure(fit <- fit_ldvae(objects$SingleCellExperiment, progress = FALSE))
row("`fit_ldvae()` of the SingleCellExperiment", whole)
kept <- list() # so that no crossing takes the memory of another
for (kind in names(objects)) {
  row(paste("counts cross to the engine from a", kind), measure({
    kept[[kind]] <- bridge[["_anndata"]](ldvae:::read_input(objects[[kind]], NULL, NULL, character()), NULL)
  }))
}
row("a fit from `readRDS()` crosses back", {
  session <- ldvae:::session
  session$fit <- NULL
  measure(ldvae:::python_fit(fit))
})
row("scores of all cells come back", measure(get_latent(fit)))

engine <- reticulate::py_to_r(reticulate::py_eval("spent[-1]"))
outside <- whole[["seconds"]] - engine
cat(sprintf(
  "\nOf the %.1f seconds of `fit_ldvae()`, %d epochs, %.1f are the engine's own, with torch on %d thread%s. The other\n",
  whole[["seconds"]], nrow(get_history(fit)), engine, threads <- reticulate::py_eval("__import__('torch').get_num_threads()"),
  if (threads > 1) "s" else ""
))
cat(sprintf("%.2f, all that the way there and back costs, are %.1f %% of them.\n", outside, 100 * outside / engine))
