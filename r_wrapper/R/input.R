# Objects in: counts, names and cell data of a SingleCellExperiment, a Seurat object or a matrix.

# What the engine takes: counts (genes x cells), names, and only those columns of cell data that the question needs.
read_input <- function(x, cell_data, assay, keys, genes = NULL, symbols = NULL, hint = NULL, reduction = NULL) {
  check_cells(x)
  named <- assay
  assay <- assay_of(x, assay, hint)
  counts <- counts_of(x, assay)
  if (!all(dim(counts))) {
    stop(sprintf("`x` must have cells and genes, but has %d and %d.", ncol(counts), nrow(counts)), call. = FALSE)
  }
  data <- cell_data_of(x, cell_data)
  if (is.null(colnames(counts))) stop("`x` has no names of cells; set colnames(x).", call. = FALSE)
  if (is.null(rownames(counts))) stop("`x` has no names of genes; set rownames(x).", call. = FALSE)
  columns <- mapply(cell_column, keys, names(keys), MoreArgs = list(data = data, x = x), SIMPLIFY = FALSE)
  list(
    counts = plain_counts(counts),
    genes = rownames(counts),
    cells = colnames(counts),
    cell_data = stats::setNames(columns, keys),
    gene_data = gene_data_of(feature_data(x, assay), genes, symbols),
    positions = positions_of(x, reduction),
    assay = if (!is_se(x) || !is.null(named)) assay # a fit remembers it; the usual one needs no memory
  )
}

is_se <- function(x) methods::is(x, "SummarizedExperiment")

check_cells <- function(x) {
  if (!is_se(x) && !inherits(x, "Seurat") && !is.matrix(x) && !methods::is(x, "Matrix") && !methods::is(x, "DelayedMatrix")) {
    stop("`x` must be a SingleCellExperiment, a Seurat object or a matrix of counts (genes x cells), not ",
         described(x), if (is.data.frame(x)) ": as.matrix() makes it one", ".", call. = FALSE)
  }
}

# Which assay has the counts: the one that is named, the one that `hint` names if `x` has it, or the usual one.
assay_of <- function(x, assay, hint) {
  if (is_se(x)) {
    there <- SummarizedExperiment::assayNames(x)
    return(choose_assay(assay, hint, there, if ("counts" %in% there) "counts"))
  }
  if (!inherits(x, "Seurat")) {
    if (!is.null(assay)) stop("`assay` must be NULL, since `x` is a matrix.", call. = FALSE)
    return(NULL)
  }
  there <- SeuratObject::Assays(x)
  default <- SeuratObject::DefaultAssay(x)
  if (is.null(assay) && !isTRUE(hint %in% there) && inherits(x[[default]], "SCTAssay") && "RNA" %in% there) {
    message("Counts are taken from the assay 'RNA', since those of '", default, "' are corrected; see `assay`.")
    default <- "RNA"
  }
  choose_assay(assay, hint, there, default)
}

counts_of <- function(x, assay) {
  if (inherits(x, "Seurat")) return(counts_of_seurat(x, assay))
  if (!is_se(x)) return(x)
  counts <- SummarizedExperiment::assay(x, assay, withDimnames = FALSE)
  dimnames(counts) <- dimnames(x)
  counts
}

choose_assay <- function(assay, hint, there, default) {
  if (is.null(assay)) assay <- if (!is.null(hint) && hint %in% there) hint else default
  if (!is.character(assay) || length(assay) != 1L || !assay %in% there) {
    has <- if (length(there)) paste0("which has ", shown(there)) else "which has none"
    stop("`assay` must name an assay of `x`, ", has, if (is.null(assay)) ": name the one with raw counts."
         else sprintf(", not '%s'.", paste(assay, collapse = "', '")), call. = FALSE)
  }
  assay
}

counts_of_seurat <- function(x, assay) {
  counts <- seurat_layer(x[[assay]])
  if (is.null(counts) || !all(dim(counts))) {
    others <- setdiff(SeuratObject::Assays(x), assay)
    stop("`assay`: '", assay, "' has no counts", if (length(others)) c("; name another assay of `x` (", shown(others), ")")
         else ", and `x` no other assay: keep the raw counts in it", ".", call. = FALSE)
  }
  missing <- setdiff(colnames(x), colnames(counts))
  if (length(missing)) {
    stop("`assay`: '", assay, "' lacks ", length(missing), " of the ", ncol(x), " cells of `x`.", call. = FALSE)
  }
  if (identical(colnames(counts), colnames(x))) counts else counts[, colnames(x), drop = FALSE]
}

# Counts of an assay of Seurat 3 and 4, or of 5, where they may be split over layers (one per sample, say).
seurat_layer <- function(assay) {
  if (!inherits(assay, "StdAssay")) return(methods::slot(assay, "counts"))
  of_seurat5 <- function(name) getExportedValue("SeuratObject", name) # absent from SeuratObject 4
  layers <- suppressWarnings(of_seurat5("Layers")(assay, search = "counts")) # that there are none
  if (length(layers) > 1L) assay <- of_seurat5("JoinLayers")(assay, layers = "counts", new = "counts")
  if (length(layers)) of_seurat5("LayerData")(assay, layer = "counts")
}

# A sparse or dense matrix that crosses as it is; files and other storage are read.
plain_counts <- function(m) {
  if (methods::is(m, "dgCMatrix")) {
    m
  } else if (is.matrix(m)) {
    if (!is.numeric(m) && !is.logical(m)) stop("`x` must hold numbers, not ", typeof(m), ".", call. = FALSE)
    unname(m)
  } else if (methods::is(m, "Matrix")) {
    methods::as(methods::as(methods::as(m, "dMatrix"), "generalMatrix"), "CsparseMatrix")
  } else {
    methods::as(m, "dgCMatrix")
  }
}

cell_data_of <- function(x, cell_data) {
  if (is_se(x) || inherits(x, "Seurat")) {
    if (!is.null(cell_data)) stop("`cell_data` must be NULL, since `x` has its own.", call. = FALSE)
    return(if (is_se(x)) SummarizedExperiment::colData(x) else cbind(x[[]], ident = SeuratObject::Idents(x)))
  }
  if (is.null(cell_data)) return(data.frame(row.names = seq_len(ncol(x))))
  if (!is.data.frame(cell_data) && !methods::is(cell_data, "DataFrame")) {
    stop("`cell_data` must be a data.frame with one row per cell, not ", described(cell_data), ".", call. = FALSE)
  }
  if (nrow(cell_data) != ncol(x)) {
    stop(sprintf("`cell_data` must have one row for each of the %d cells (columns) of `x`, not %d.",
                 ncol(x), nrow(cell_data)), call. = FALSE)
  }
  named <- is.data.frame(cell_data) && .row_names_info(cell_data) > 0L
  if (named && !identical(rownames(cell_data), colnames(x))) {
    if (!setequal(rownames(cell_data), colnames(x))) {
      stop("`cell_data` has row names that are not the cells (columns) of `x`.", call. = FALSE)
    }
    cell_data <- cell_data[colnames(x), , drop = FALSE]
  }
  cell_data
}

# A column of cell data: numbers, or codes (-1: missing) and levels.
cell_column <- function(key, argument, data, x) {
  where <- if (is_se(x)) "colData(x)" else if (inherits(x, "Seurat")) "the meta data of `x`" else "`cell_data`"
  if (!key %in% colnames(data)) {
    there <- if (ncol(data)) paste0(" (", shown(colnames(data), 8L), ")") else ", which has none"
    if (argument == "fit") {
      stop(sprintf("`x` lacks the column '%s', which the fit registers as batch, covariate or size factor: %s must have it%s.",
                   key, where, there), call. = FALSE)
    }
    stop(sprintf("`%s` must name a column of %s%s, not '%s'.", argument, where, there, key), call. = FALSE)
  }
  value <- data[[key]]
  if (methods::is(value, "Rle") || length(dim(value)) == 1L) value <- as.vector(value)
  if (!is.atomic(value) || !is.null(dim(value))) {
    stop(sprintf("`%s`: the column '%s' must hold labels or numbers, not a %s.", argument, key, class(value)[1]),
         call. = FALSE)
  }
  words <- as.character(if (is.factor(value)) levels(value) else if (is.character(value)) value)
  if (!l10n_info()[["Latin-1"]] && any(Encoding(words) == "unknown" & !validUTF8(words))) {
    stop(sprintf("`%s`: the column '%s' must hold text of a known encoding; see iconv().", argument, key),
         call. = FALSE)
  }
  left_out <- sum(is.na(value))
  if (left_out && argument %in% c("groupby", "key", "within")) { # of samples the engine says so
    message(sprintf("%d of %d cells have no '%s' and take no part.", left_out, length(value), key))
  }
  if (is.numeric(value) && !is.factor(value)) return(list(values = array(as.double(value))))
  if (!is.factor(value)) value <- factor(value, levels = sort(unique(as.character(value)), method = "radix"))
  codes <- as.integer(value) - 1L
  codes[is.na(codes)] <- -1L
  list(codes = array(codes), levels = as.list(levels(value)))
}

# What is known about the genes of `x`.
feature_data <- function(x, assay) {
  if (is_se(x)) return(as.list(SummarizedExperiment::rowData(x)))
  if (!inherits(x, "Seurat")) return(list())
  as.list(x[[if (is.null(assay)) SeuratObject::DefaultAssay(x) else assay]][[]])
}

# The columns of gene data that the engine asks for: which genes are meant, their symbols, and what is no gene.
gene_data_of <- function(data, genes, symbols) {
  if (!is.null(symbols) && !isTRUE(symbols %in% names(data))) {
    there <- if (length(data)) paste0(" (", shown(names(data), 8L), ")") else ", which has none"
    stop("`gene_symbols` must name a column of the gene data of `x`", there, ", not ", described(symbols), ".",
         call. = FALSE)
  }
  kinds <- data[[c(intersect(c("feature_types", "Type"), names(data)), "none")[1]]]
  columns <- list()
  if ("Gene Expression" %in% kinds) columns$feature_types <- array(as.character(kinds))
  for (name in intersect(c(genes, symbols), names(data))) {
    value <- data[[name]]
    if (is.logical(value) && anyNA(value)) {
      message(sprintf("%d genes have no value of '%s' and are not modelled.", sum(is.na(value)), name))
      value[is.na(value)] <- FALSE
    }
    if (is.factor(value) || is.character(value)) value <- ifelse(is.na(value), "", as.character(value))
    columns[[name]] <- array(value)
  }
  columns
}

# A reduction of `x` by its name, if it is there: the engine says so if it needs it.
positions_of <- function(x, name) {
  if (!is.character(name) || length(name) != 1L || is.na(name)) return(list())
  there <- if (inherits(x, "Seurat")) SeuratObject::Reductions(x)
           else if (methods::is(x, "SingleCellExperiment")) SingleCellExperiment::reducedDimNames(x)
  if (!name %in% there) return(list())
  values <- if (inherits(x, "Seurat")) SeuratObject::Embeddings(x, reduction = name)
            else SingleCellExperiment::reducedDim(x, name)
  if (methods::is(values, "LinearEmbeddingMatrix")) values <- SingleCellExperiment::sampleFactors(values)
  stats::setNames(list(unname(as.matrix(values))), name)
}

# Where cells are drawn.
coordinates_of <- function(embedding) {
  if (inherits(embedding, "DimReduc")) embedding <- SeuratObject::Embeddings(embedding)
  if (!is.matrix(embedding) && !is.data.frame(embedding)) {
    stop("`embedding` must be coordinates, as of Embeddings(x, \"umap\") or reducedDim(x, \"UMAP\"), not ",
         described(embedding), ".", call. = FALSE)
  }
  as.matrix(embedding)
}
