"""Cells that a fit is asked about: their counts of its genes, their batches and their positions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.design import design_matrix
from ..counts.labels import Labels, check_anndata, read_cells, read_labels, read_positions
from ..counts.reader import Counts, read_counts
from ..counts.source import Source, find_counts, gene_names, other_names
from .depth import known_cells, library_of
from .posterior import as_sparse, encode, latent_library, rebuild
from .record import Fit
from .reduced import informed, reduced

__all__ = ["Cells", "names_in_fit", "read_beyond", "read_data"]

_LEAST = 0.3  # of what the genes of a fit tell about its factors: with less, positions say little (validity: new data)


@dataclass(frozen=True)
class Cells:
    """Counts, registered batch, covariates and the Gaussian posterior of some cells, rows aligned.

    `fit` is the fit of the genes that `adata` has, the same if it has all; `source` is where the counts are, and
    `matched` what these genes are called there.
    """

    counts: Counts
    batch: Labels | None
    design: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    fit: Fit
    source: Source
    matched: list[str]


def read_data(fit: Fit, adata: Any, layer: str | None = None) -> Cells:
    """Counts of a fit's genes in `adata`, aligned by name, with the posterior of each cell.

    Training cells keep the posterior of the fit; others are encoded.

    Raises
    ------
    TypeError, ValueError
        If the counts are not there, or cannot be those of the fit's genes as it knows them.
    """
    layer = fit.config.layer if layer is None else layer
    source = _source(fit, adata, layer)
    names = _present(fit, source)
    there, matched = np.array([name is not None for name in names]), [name for name in names if name is not None]
    here = fit if there.all() else _without(fit, there, source)
    c, of_fit = here.config, pd.Index(fit.cells).get_indexer(pd.Index(read_cells(adata)))
    counts = read_counts(
        adata, layer=layer, genes=matched, gene_symbols=c.gene_symbols,
        size_factor_key=c.size_factor_key, size_factor_scale=c.size_factor_scale, say=bool((of_fit < 0).any()),
    )  # fmt: skip
    counts = replace(counts, genes=here.genes)
    if c.closed:
        # the fit's genes were the whole library; more genes in new data do not change what a count is a share of
        library = np.asarray(counts.matrix.sum(axis=1, dtype=np.float64)).ravel()
        counts = replace(counts, lib_size=np.maximum(library, 1.0), closed=True)
    design = design_matrix(adata, c.covariates)
    batch = None if c.batch is None else read_labels(adata, c.batch.key, "batch_key")
    if c.lib_size == "latent":
        counts = replace(counts, lib_size=latent_library(rebuild(here), as_sparse(counts, design)))
    known = known_cells(fit, counts, of_fit, there)
    if not c.closed and c.size_factor_key is None:
        counts = replace(counts, lib_size=fit.lib_size[of_fit] if known else library_of(fit, counts, there))
    if known:
        every = np.array_equal(of_fit, np.arange(len(fit.cells)))
        mean, variance = (a if every else a[of_fit] for a in (fit.latent_mean, fit.latent_variance))
    elif c.encoder == "given":
        mean = _given(c.use_rep, c.n_latent, adata)
        variance = np.zeros_like(mean)
    else:
        mean, variance = encode(rebuild(here), as_sparse(counts, design))
        if not there.all():  # what is known beyond the prior N(0, 1) is known from fewer genes
            variance = (1 / (1 + np.maximum(1 / variance - 1, 0) * informed(fit, there))).astype(np.float32)
    return Cells(counts, batch, design, mean, variance, here, source, matched)


def read_beyond(cells: Cells, adata: Any, layer: str | None = None) -> Counts | None:
    """Counts of the genes of `adata` that the fit has not modelled, with the libraries of `cells`; None without any."""
    c, known = cells.fit.config, set(cells.matched)
    names = [gene for gene in cells.source.genes.tolist() if gene not in known]
    if not names:
        return None
    layer = c.layer if layer is None else layer
    counts = read_counts(adata, layer=layer, genes=names, gene_symbols=c.gene_symbols, say=False)
    return replace(counts, lib_size=cells.counts.lib_size, closed=False)


def _source(fit: Fit, adata: Any, layer: str | None) -> Source:
    c = fit.config
    if isinstance(layer, str) and layer == c.layer and layer not in (*check_anndata(adata).layers, "X", "raw"):
        raise ValueError(
            f"`layer`: the fit took its counts from the layer {layer!r}, which `adata` does not have; name the one "
            "with the counts ('X' for adata.X)."
        )
    return find_counts(adata, layer, c.gene_symbols)


def _present(fit: Fit, source: Source) -> list[str | None]:
    """What each gene of the fit is called in the object, None where it is not there."""
    known = set(source.genes.tolist())
    found = [gene if gene in known else None for gene in fit.genes.tolist()]
    taken = {name for name in found if name is not None}
    # Seurat turns underscores into dashes
    dashed = pd.Series([g.replace("_", "-") for g in fit.genes.tolist()], dtype=object)
    twice = dashed.duplicated(keep=False).to_numpy()
    matched = 0
    for j, (gene, name) in enumerate(zip(fit.genes.tolist(), dashed.tolist(), strict=True)):
        if found[j] is None and name != gene and name in known and name not in taken and not twice[j]:
            found[j], matched = name, matched + 1
    if matched:
        checks.note(f"{matched:,} genes are matched by names in which '_' is '-', as Seurat writes them.")
    return found


def names_in_fit(fit: Fit, var: pd.DataFrame) -> np.ndarray:
    """What the fit calls the features of an object: symbols where it has these, underscores where Seurat has dashes."""
    names = gene_names(var, fit.config.gene_symbols)
    known = set(fit.genes.tolist())
    dashed = {gene.replace("_", "-"): gene for gene in fit.genes.tolist()}
    return np.array([name if name in known else dashed.get(name, name) for name in names.tolist()], dtype=object)


def _without(fit: Fit, there: np.ndarray, source: Source) -> Fit:
    """The fit of the genes that are there, if they tell enough."""
    missing = fit.genes[~there]
    what = f"{len(missing):,} of {len(there):,} genes of the fit are not in `adata` ({checks.shown(missing, 3)})"
    share = informed(fit, there) if there.any() else 0.0
    if share < _LEAST:
        column = other_names(source.var, fit.genes.tolist())
        remedy = f"; adata.var[{column!r}] has their names: set adata.var_names" if column else ""
        raise ValueError(
            f"{what}; the others hold {share:.0%} of what it knows about factors, which is too little{remedy}."
        )
    checks.warn(f"{what}; the others hold {share:.0%} of what it knows about factors.")
    return reduced(fit, there)


def _given(use_rep: str | None, n_latent: int, adata: Any) -> np.ndarray:
    positions = read_positions(adata, use_rep, "use_rep")
    if positions.shape[1] != n_latent:
        raise ValueError(
            f"adata.obsm[{use_rep!r}] must have the {n_latent} dimensions of the fit, not {positions.shape[1]}."
        )
    return positions
