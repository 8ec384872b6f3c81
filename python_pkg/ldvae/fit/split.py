"""Two independent count sets of the same cells: find groups in the one, ask the other about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..counts.reader import read_counts
from ..counts.source import find_counts
from ..counts.thinning import thinned
from .posterior import rebuild
from .record import Fit, check_fit

__all__ = ["split_counts"]


def split_counts(
    adata: Any, *, layer: str | None = None, share: float = 0.5, fit: Fit | None = None, seed: int = 0
) -> tuple[Any, Any]:
    """Split every count in two, so that groups found in one part can be tested in the other.

    Clusters differ in the counts that they were found in, also where there is nothing to find: each puts together cells
    that are alike by chance. In counts that the clustering has not seen they do not. A Poisson count splits into two
    independent ones by a binomial draw (thinning). Counts of real cells vary more; a negative binomial with inverse
    dispersion θ splits into two independent ones by a beta-binomial draw with parameters `share` θ and (1 - `share`) θ,
    which takes θ of each gene from `fit`.

    What it costs: each part has its share of the counts, and less power. What it cannot do: θ is an estimate; where it
    is too large (a gene that varies more than the fit knows), the parts stay correlated.

    Parameters
    ----------
    adata
        Annotated counts.
    layer
        The layer with the counts; if None where `fit` took them, or `X`.
    share
        Of each count that goes into the first part, on average.
    fit
        A fit of these counts, which knows the dispersion of each gene; genes that it does not have get the median.
        Without it, counts are taken to be Poisson, which leaves parts of real counts correlated.
    seed
        Of the draws.

    Returns
    -------
    tuple of AnnData, AnnData
        The parts, with their counts in `X` (CSR, float32), also as the layer that they are from, and `obs` and `var` of
        `adata`; nothing else is copied, as it may come from all counts. Cells without a count in one of the parts are
        left out of both, with a message.

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.

    References
    ----------
    Neufeld, Gao, Popp, Battle & Witten (2024), Inference after latent variable estimation for single-cell RNA
    sequencing data. Biostatistics 25(1), for Poisson counts. Neufeld, Dharamshi, Gao & Witten (2024), Data thinning for
    convolution-closed distributions. JMLR 25(57), for the negative binomial.
    """
    share = checks.number("share", share, 0.0, 1.0, low_open=True)
    if share == 1.0:
        raise ValueError("`share` must be below 1, or nothing is left for the second part.")
    seed = checks.integer("seed", seed, 0, 2**32 - 1)
    symbols = None if fit is None else check_fit(fit).config.gene_symbols
    if layer is None and fit is not None:
        layer = fit.config.layer
    counts, source = read_counts(adata, layer=layer, gene_symbols=symbols), find_counts(adata, layer, symbols)
    theta = np.full(len(counts.genes), np.inf) if fit is None else _dispersion(fit, counts.genes)
    parts = thinned(adata.obs, source.var, counts, theta, share, seed)
    for part in parts if layer not in (None, "X") else ():
        part.layers[layer] = part.X  # where questions look by default
    return parts


def _dispersion(fit: Fit, genes: np.ndarray) -> np.ndarray:
    """Inverse dispersion of each gene; infinite where the fit has Poisson counts."""
    if fit.config.gene_likelihood == "poisson":
        return np.full(len(genes), np.inf)
    theta = np.exp(rebuild(fit).log_theta.detach().double().numpy())
    known = dict(zip(fit.genes.tolist(), theta.tolist(), strict=True))
    if not known.keys() & set(genes.tolist()):
        raise ValueError("`fit` has none of the genes of `adata`.")
    return np.array([known.get(gene, float(np.median(theta))) for gene in genes.tolist()])
