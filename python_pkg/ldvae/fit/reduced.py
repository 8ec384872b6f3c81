"""A fit of some of its genes, for cells in which the others were not measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..model.network import weight_shapes
from .depth import share_of_genes
from .posterior import rebuild
from .record import Fit

__all__ = ["informed", "reduced"]

_OF_GENES = ("loadings", "loadings_std", "loadings_lfsr")


def reduced(fit: Fit, there: np.ndarray) -> Fit:
    """The fit as if only some genes (a mask) had been modelled.

    Its decoder is that of these genes. Its encoder adds up what it hears from them, and in training only a random part
    of the genes spoke: their sum is brought to that of all genes. Encoders of other fits, which have always heard all
    genes, hear of the missing ones what an average cell has.
    """
    c = fit.config
    one, other = weight_shapes(replace(c, n_genes=2)), weight_shapes(replace(c, n_genes=3))
    weights = dict(fit.weights)
    for name, (shape, _) in one.items():
        axes = [i for i, (a, b) in enumerate(zip(shape, other[name][0], strict=True)) if a != b]
        for axis in axes:
            weights[name] = np.compress(there, weights[name], axis=axis)
    scale = c.input_scale
    if c.encoder != "given":
        heard = np.log1p(_average(fit))
        if c.encoder == "relative":
            scale *= share_of_genes(fit, there) if c.closed else 1.0
            loud = heard * np.square(fit.weights["input_weight"].astype(np.float64)).sum(1)
            weights["input_weight"] = (weights["input_weight"] * (loud.sum() / loud[there].sum())).astype(np.float32)
        else:
            for part in ("input", "lib_size") if c.lib_size == "latent" else ("input",):
                missing = heard[~there] @ fit.weights[f"{part}_weight"][~there]
                weights[f"{part}_bias"] = (weights[f"{part}_bias"] + missing).astype(np.float32)
    factors = {k: v[there] if k in _OF_GENES else v for k, v in fit.factors.items()}
    config = replace(c, n_genes=int(there.sum()), input_scale=scale)
    return replace(fit, config=config, genes=fit.genes[there], weights=weights, factors=factors)


def informed(fit: Fit, there: np.ndarray) -> float:
    """Share of the information on the factors that some genes have: squared loadings by what their counts tell."""
    mean = _average(fit)
    theta = rebuild(fit).log_theta.detach().exp().double().numpy()
    told = mean / (1 + mean / theta) if fit.config.gene_likelihood != "poisson" else mean
    told = told * np.square(fit.factors["loadings"][:, fit.factors["active"]]).sum(1)
    return float(told[there].sum() / told.sum()) if told.sum() > 0 else float(there.mean())


def _average(fit: Fit) -> np.ndarray:
    """Counts of each gene in an average cell of the fit."""
    intercept = fit.weights["intercept"].astype(np.float64)
    share = np.exp(intercept - (intercept.max() if fit.config.closed else 0.0))
    library = float(np.median(fit.lib_size)) if len(fit.lib_size) else 1e4
    return np.asarray(library * (share / share.sum() if fit.config.closed else share))
