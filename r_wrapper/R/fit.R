#' What a fit knows about the factors of all cells
#'
#' These functions read the fit alone; they need neither the cells nor the engine.
#'
#' @param fit A fit, from [fit_ldvae()] or [load_fit()].
#' @param inactive Also the directions of the latent that are no factors, from the decoder.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return A data.frame.
#' * `get_factors()`: one row per direction of the latent: `factor`; `reliability`, the share of the variance of its
#'   scores on which disjoint halves of the genes agree, in cells that taught nothing; `pval`, the chance of as much if
#'   cells had nothing in common; `variance_explained`, the share of the variance of centred log expression; `kl`, the
#'   nats that a cell's counts tell about its score, -log(1 - reliability) / 2; `n_genes`, the number of loadings with
#'   `lfsr` below 0.05; `active`, whether it is a factor: `pval` below 0.05, loadings that agree between disjoint halves
#'   of the cells, and five such genes. The other directions come last and are none. In a fit that was not measured (see
#'   [fit_ldvae()]) `reliability` and `pval` are `NA`, and a factor is active if it tells at least 0.1 nats about a cell
#'   and has five such genes.
#' * `get_loadings()`: `gene` and one column per active factor, `Z_1`, ...: the change of log2 expression per standard
#'   deviation of the factor, zero where most genes lie.
#' * `get_loadings_uncertainty()`: the same, long: `gene`, `factor`, `loading` and `std`, mean and standard deviation of
#'   the posterior, and `lfsr` (local false sign rate: the probability that the loading has the other sign or is zero;
#'   Stephens 2017). A loading is a negative binomial regression of the gene's counts on the factor, in cells that were
#'   scored without this gene by helpers that other cells taught, with the noise of the scores taken out.
#' * `get_history()`: how training went: `epoch`, `elbo_train` (`reconstruction` less `kl`, of cells whose encoder sees
#'   a part of the genes), `elbo_validation` (by which the best epoch is chosen: the log-likelihood of held-out cells,
#'   each half of their genes at positions from the other half), `reconstruction`, `kl`, in nats per cell.
#' @references
#' Stephens (2017), False discovery rates: a new deal. Biostatistics 18(2). \doi{10.1093/biostatistics/kxw041}
#' @seealso [top_genes()], [plot_loadings()], [population_loadings()]
#' @examples
#' fit <- readRDS(system.file("extdata", "fit.rds", package = "ldvae"))
#' fit
#' get_factors(fit)
#' head(get_loadings(fit))
#' head(get_loadings_uncertainty(fit))
#' tail(get_history(fit), 2)
#' @export
get_factors <- function(fit, ...) {
  check_no_others("get_factors", ...)
  f <- check_fit(fit)$factors
  data.frame(
    factor = factor_names(fit),
    reliability = if (is.null(f$reliability)) NA_real_ else f$reliability,
    pval = if (is.null(f$pval)) NA_real_ else f$pval,
    variance_explained = f$variance_explained,
    kl = f$kl,
    n_genes = as.integer(colSums(f$loadings_lfsr < 0.05)),
    active = f$active
  )
}

#' @rdname get_factors
#' @export
get_loadings <- function(fit, inactive = FALSE, ...) {
  check_no_others("get_loadings", ...)
  f <- check_fit(fit)$factors
  check_flag("inactive", inactive)
  chosen <- f$active | inactive
  loadings <- f$loadings[, chosen, drop = FALSE]
  colnames(loadings) <- factor_names(fit)[chosen]
  data.frame(gene = fit$genes, loadings)
}

#' @rdname get_factors
#' @export
get_loadings_uncertainty <- function(fit, ...) {
  check_no_others("get_loadings_uncertainty", ...)
  f <- check_fit(fit)$factors
  data.frame(
    gene = rep(fit$genes, sum(f$active)),
    factor = rep(factor_names(fit)[f$active], each = length(fit$genes)),
    loading = as.vector(f$loadings[, f$active]),
    std = as.vector(f$loadings_std[, f$active]),
    lfsr = as.vector(f$loadings_lfsr[, f$active])
  )
}

#' @rdname get_factors
#' @export
get_history <- function(fit, ...) {
  check_no_others("get_history", ...)
  h <- check_fit(fit)$history
  data.frame(h[c("epoch", "elbo_train", "elbo_validation", "reconstruction", "kl")])
}

factor_names <- function(fit) paste0("Z_", seq_len(ncol(fit$factors$loadings)))

#' Where the model puts each cell, and the expression it expects
#'
#' @inheritParams population_loadings
#' @param x Cells to encode, as in [fit_ldvae()]; for `get_latent()` the training cells if `NULL`. Genes are aligned by
#'   name. Batches that the fit has not seen change nothing; of genes that are missing a warning says what the others
#'   tell.
#' @param inactive Also the directions of the latent that are no factors (see [get_factors()]).
#' @param embedding What [add_ldvae()] stores: the most probable scores of each cell given its counts in `x` and the
#'   loadings of the active factors, each times the root of the length of these loadings (log2 units), so that a factor
#'   that moves many genes keeps cells further apart than one that moves few. Clusters of such positions are nearer to
#'   known types than those of the encoder's.
#' @param genes Names of genes of the fit, also such as `x` lacks.
#' @param n_samples Draws from the posterior of each cell that are averaged.
#' @param library_size Expression is per this many counts.
#' @param seed Of the draws.
#' @return A data.frame. `get_latent()`: `cell` and its score on each active factor, `Z_1`, ... (mean 0, variance 1
#'   over the training cells). `get_expression()`: `cell`, `gene`, `expression`,
#'   denoised and at the average batch, long: all cells of the first gene, then the next.
#' @examples
#' if (engine_available()) {
#'   sce <- simulate_counts(n_cells = 300, n_genes = 100, program_size = 10)
#'   fit <- fit_ldvae(sce, n_latent = 5, max_epochs = 10)
#'   head(get_latent(fit))
#'   head(get_expression(fit, sce, genes = c("G1", "G2")))
#' }
#' @export
get_latent <- function(fit, x = NULL, inactive = FALSE, embedding = FALSE, assay = NULL, cell_data = NULL, ...) {
  ask("get_latent", as.list(environment()), ...)
}

#' @rdname get_latent
#' @export
get_expression <- function(fit, x, genes, assay = NULL, n_samples = 25, library_size = 1e4, seed = 0,
                           cell_data = NULL, ...) {
  ask("get_expression", as.list(environment()), ...)
}

#' @method print ldvae_fit
#' @export
print.ldvae_fit <- function(x, ...) {
  s <- x$settings
  number <- function(n) format(n, big.mark = ",")
  cat(sprintf("LDVAE fit of %s cells x %s genes: %d of %d factors active\n", number(length(x$cells)),
              number(length(x$genes)), sum(x$factors$active), s$n_latent))
  cat(sprintf("%s likelihood, %s decoder, %d epochs on %s (%s), ldvae %s\n", s$gene_likelihood, s$decoder,
              length(x$history$epoch), s$device, s$stopped, s$version))
  invisible(x)
}

#' Methods for a fit
#'
#' @param object,x A fit, from [fit_ldvae()] or [load_fit()].
#' @param row.names,optional Not used.
#' @param ... Of `head()` and `tail()`: how many rows; else not used.
#' @return `summary()`: the active factors, as of [get_factors()]. `coef()` and `loadings()`: the loadings, a matrix of
#'   genes x active factors. `as.data.frame()`: the same with their uncertainty, as of [get_loadings_uncertainty()];
#'   `head()` and `tail()`: its first and last rows. `dim()`: numbers of genes and cells. `plot()`: as [plot_loadings()].
#' @examples
#' fit <- readRDS(system.file("extdata", "fit.rds", package = "ldvae"))
#' summary(fit)
#' head(coef(fit))
#' dim(fit)
#' @name ldvae_fit
NULL

#' @rdname ldvae_fit
#' @method summary ldvae_fit
#' @export
summary.ldvae_fit <- function(object, ...) {
  factors <- get_factors(object)
  factors[factors$active, ]
}

#' @rdname ldvae_fit
#' @importFrom stats coef
#' @method coef ldvae_fit
#' @export
coef.ldvae_fit <- function(object, ...) {
  loadings <- get_loadings(object)
  matrix <- as.matrix(loadings[-1])
  rownames(matrix) <- loadings$gene
  matrix
}

# stats::loadings(x) is x$loadings.
#' @rdname ldvae_fit
#' @param name A part of the fit, or `loadings`.
#' @export
`$.ldvae_fit` <- function(x, name) if (name == "loadings") coef.ldvae_fit(x) else .subset2(x, name)

#' @rdname ldvae_fit
#' @method as.data.frame ldvae_fit
#' @export
as.data.frame.ldvae_fit <- function(x, row.names = NULL, optional = FALSE, ...) get_loadings_uncertainty(x)

#' @rdname ldvae_fit
#' @importFrom utils head
#' @method head ldvae_fit
#' @export
head.ldvae_fit <- function(x, ...) utils::head(as.data.frame(x), ...)

#' @rdname ldvae_fit
#' @importFrom utils tail
#' @method tail ldvae_fit
#' @export
tail.ldvae_fit <- function(x, ...) utils::tail(as.data.frame(x), ...)

#' @rdname ldvae_fit
#' @method dim ldvae_fit
#' @export
dim.ldvae_fit <- function(x) c(length(x$genes), length(x$cells))

#' @rdname ldvae_fit
#' @method plot ldvae_fit
#' @export
plot.ldvae_fit <- function(x, ...) plot_loadings(get_loadings(x), ...)

#' Keep a fit in a file
#'
#' A fit is an ordinary R value, so `saveRDS()` keeps it too. The file of `save_fit()` opens in Python as well
#' (`ldvae.load_fit`), on any machine; it holds numbers and names, no code.
#'
#' @param fit A fit.
#' @param path The file; an existing one is replaced. A crash leaves the old file or the new one.
#' @param ... None: a name that is no argument is answered by the one that may be meant.
#' @return `save_fit()`: nothing. `load_fit()`: the fit.
#' @examples
#' if (engine_available()) {
#'   fit <- readRDS(system.file("extdata", "fit.rds", package = "ldvae"))
#'   path <- tempfile(fileext = ".safetensors")
#'   save_fit(fit, path)
#'   load_fit(path)
#' }
#' @export
save_fit <- function(fit, path, ...) {
  if (!missing(path) && is_rds(path)) {
    stop("`path`: a file called .rds is one of saveRDS(), which keeps a fit too; call this one .safetensors.", call. = FALSE)
  }
  ask("save_fit", as.list(environment()), ...)
  invisible()
}

#' @rdname save_fit
#' @export
load_fit <- function(path, ...) {
  if (!missing(path) && is_rds(path)) {
    stop("`path` is a file of saveRDS(): read it with readRDS().", call. = FALSE)
  }
  r_fit(ask("load_fit", as.list(environment()), ...))
}

is_rds <- function(path) is.character(path) && length(path) == 1L && grepl("\\.rds$", path, ignore.case = TRUE)
