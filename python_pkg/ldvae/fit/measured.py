"""Factors of a latent space, measured on cells and genes that did not teach them.

Cells are placed by helpers that other cells taught (`helpers`); factors are the directions that disjoint halves of the
genes agree on there (`directions`). The loading of a gene is a negative binomial regression of its counts on scores
from the *other* genes, with the noise of the scores taken out: per standard deviation of the true factor.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import scipy.sparse as sp
from scipy.stats import norm

from ..stats.centre import centre
from ..stats.nb_regression import evidence, nb_regression
from ..stats.rotations import varimax
from ..stats.shrinkage import ash
from ..tables import GENES, LEVEL
from .directions import FOLDS, Directions, reliable_directions
from .helpers import place

__all__ = ["Measured", "measure_factors"]

_HALVINGS = 6  # of the folds, for what halves of the genes agree on
_SPLITS = 12  # of the cells into halves: scores of one are noisy (validity: factors)
_MIN_CELLS = 60
_PRIOR = 1.0  # precision of a normal prior on coefficients while they are fitted; it is divided out afterwards
_RARE = 500  # counts of a gene below which its likelihood is not quadratic
_OPEN = 0.05  # of a loading: what reliability, rotation and folds of the genes leave open (validity: factors)
_CLEAR = 1.5  # standard errors from which the shape of the likelihood of a rare gene matters
_STRONGEST = 0.9  # quantile of the genes' lengths above which all weigh the same in the rotation (validity: factors)


@dataclass(frozen=True)
class Measured:
    """Factors of a latent, the strongest first.

    Attributes
    ----------
    loadings, std, lfsr
        Genes × r: posterior mean and standard deviation in natural-log units per standard deviation of the factor, and
        local false sign rate.
    reliability, pvalue
        Share of a score's variance that is the factor's, and the test of it being one (r each).
    scores
        Cells × r, of unit variance, by helpers that did not see the cell.
    """

    loadings: np.ndarray
    std: np.ndarray
    lfsr: np.ndarray
    reliability: np.ndarray
    pvalue: np.ndarray
    scores: np.ndarray

    def take(self, factors: np.ndarray) -> Measured:
        """Some of the factors (a mask)."""
        return Measured(*(getattr(self, f.name)[..., factors] for f in fields(self)))


@dataclass(frozen=True)
class _Fitted:
    """Regressions of all genes, in the columns of the scores: see `nb_regression`."""

    estimate: np.ndarray
    covariance: np.ndarray
    robust: np.ndarray
    halves: np.ndarray
    halves_std: np.ndarray
    coefficient: np.ndarray
    penalised: np.ndarray
    theta: np.ndarray


def measure_factors(
    counts: sp.csr_matrix,
    lib_size: np.ndarray,
    design: np.ndarray,
    positions: np.ndarray,
    *,
    seed: int = 0,
    progress: bool = False,
) -> Measured:
    """Which directions of a latent space are factors, and which genes make them.

    Parameters
    ----------
    counts
        Cells × genes.
    lib_size
        Library size of each cell.
    design
        Batches and covariates (cells × columns), taken out of the scores, as depth is, and of the loadings.
    positions
        Where the cells lie in the latent (cells × K): of any model or embedding.
    seed
        Of folds, halves and shuffles.
    progress
        Show a progress bar (in a terminal only).

    Returns
    -------
    Measured
        Without factors where there are fewer than 60 cells or 20 genes (parts of them say nothing), or all lie in one
        place.
    """
    rng = np.random.default_rng(seed)
    n, n_genes = counts.shape
    spread = positions.std(0)
    if n < _MIN_CELLS or n_genes < 2 * FOLDS or not spread.any():
        nothing = np.zeros((n_genes, 0))
        return Measured(nothing, nothing, nothing, np.zeros(0), np.zeros(0), np.zeros((n, 0)))
    scale = np.where(spread > 1e-6 * spread.max(initial=1e-300), spread, np.inf)  # a constant coordinate says nothing
    depth = np.log(lib_size) - np.log(lib_size).mean()
    fold = rng.permutation(np.arange(n_genes) % FOLDS)
    folds = [np.flatnonzero(fold == f) for f in range(FOLDS)]
    half = np.stack([np.isin(np.arange(FOLDS), rng.permutation(FOLDS)[: FOLDS // 2]) for _ in range(_HALVINGS)])
    placed = place(
        counts,
        lib_size,
        np.column_stack([np.ones(n), depth, depth**2, design]),
        (positions - positions.mean(0)) / scale,
        folds,
        np.concatenate([half, ~half, ~np.eye(FOLDS, dtype=bool), np.ones((1, FOLDS), bool)]),
        splits := [_half(n, rng) for _ in range(_SPLITS)],
        rng,
        progress,
    )
    found = reliable_directions(placed[:_HALVINGS], placed[_HALVINGS : 2 * _HALVINGS], placed[2 * _HALVINGS :], rng)
    fitted = _regress(counts, lib_size, design, found.scores, folds, splits[0])
    return _turned(counts, lib_size, design, found, fitted, folds)


def _half(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(n) < n // 2


def _regress(
    counts: sp.csr_matrix,
    lib_size: np.ndarray,
    design: np.ndarray,
    scores: np.ndarray,
    folds: list[np.ndarray],
    half: np.ndarray,
) -> _Fitted:
    """Every gene on the scores without its fold, the covariates beside them."""
    r, g, width = scores.shape[2], counts.shape[1], 1 + scores.shape[2] + design.shape[1]
    out = _Fitted(
        *(np.zeros(shape) for shape in ((g, r), (g, r, r), (g, r, r), (2, g, r), (2, g, r))),
        *(np.zeros(shape) for shape in ((g, width), (g, width, width), (g,))),
    )
    columns, at = counts.tocsc(), slice(1, r + 1)
    of_design = np.ones(design.shape[1])
    prior, little = np.r_[0, np.full(r, _PRIOR), of_design], np.diag(np.r_[1e-6, np.full(r, 1e-3), of_design])
    for f, genes in enumerate(folds if r else []):
        d = np.column_stack([np.ones(len(lib_size)), scores[f], design])
        fit = nb_regression(columns[:, genes].toarray().T, d, lib_size, prior, half)
        full = np.linalg.inv(fit.information.sum(0) + little)
        out.covariance[genes] = full[:, at, at]
        out.robust[genes] = (full @ fit.scatter @ full)[:, at, at]
        # one more step without the prior
        out.estimate[genes] = fit.coefficient[:, at] + (full @ fit.gradient.sum(0)[..., None])[:, at, 0]
        out.coefficient[genes], out.theta[genes] = fit.coefficient, fit.theta
        out.penalised[genes] = np.linalg.inv(fit.information.sum(0) + np.diag(prior + 1e-6))
        for h in range(2):
            part = np.linalg.inv(fit.information[h] + little)
            out.halves[h, genes] = fit.coefficient[:, at] + (part @ fit.gradient[h][..., None])[:, at, 0]
            out.halves_std[h, genes] = np.sqrt(part.diagonal(0, 1, 2)[:, at])
    return out


def _turned(
    counts: sp.csr_matrix,
    lib_size: np.ndarray,
    design: np.ndarray,
    found: Directions,
    fitted: _Fitted,
    folds: list[np.ndarray],
) -> Measured:
    """Turned to few genes (varimax), centred where most genes lie, shrunk; those that have sure genes."""
    attenuated = np.sqrt(found.reliability)
    total = np.asarray(counts.sum(0)).ravel()
    estimate, variance = fitted.estimate / attenuated, fitted.covariance.diagonal(0, 1, 2) / attenuated**2
    rotation = _sparse_rotation(estimate, variance, total / lib_size.sum())
    turn = rotation / attenuated[:, None]
    loading = fitted.estimate @ turn
    std = np.sqrt(np.maximum(_quadratic(turn, fitted.covariance), _quadratic(turn, fitted.robust)))
    rare = (np.abs(loading) > _CLEAR * std) & (total < _RARE)[:, None]
    std = np.maximum(std, _cautious(counts, lib_size, design, found.scores, folds, fitted, turn, loading, rare))
    std = np.hypot(std, _OPEN * loading)
    mean, error, lfsr = loading.copy(), std.copy(), np.ones_like(loading)
    for k in range(loading.shape[1]):
        shrunk = ash(loading[:, k] - centre(loading[:, k], std[:, k]), std[:, k])
        mean[:, k], error[:, k], lfsr[:, k] = shrunk.mean, shrunk.std, shrunk.lfsr
    pvalue = np.maximum(rotation.T**2 @ found.pvalue, _agreement(fitted, turn))
    order = np.argsort(-(mean**2).sum(0))
    order = order[((lfsr < LEVEL).sum(0) >= GENES)[order] & (pvalue < LEVEL)[order]]
    sign = np.where((mean[:, order] ** 3).sum(0) < 0, -1.0, 1.0)
    return Measured(
        loadings=mean[:, order] * sign,
        std=error[:, order],
        lfsr=lfsr[:, order],
        reliability=(rotation**2).T[order] @ found.reliability,
        pvalue=pvalue[order],
        scores=_unit((found.whole * attenuated) @ rotation[:, order] * sign),
    )


def _sparse_rotation(estimate: np.ndarray, variance: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Varimax of loadings shrunk by a normal prior, so that no gene rules.

    Genes with little of the library count less, and the strongest are cut to one length (of Kaiser's normalisation of
    all genes, what noise allows): without it a few genes turn whole factors, differently in each training.
    """
    if estimate.shape[1] < 2:
        return np.eye(estimate.shape[1])
    estimate = np.column_stack([e - centre(e, v) for e, v in zip(estimate.T, np.sqrt(variance).T, strict=True)])
    weight = 1 / variance
    prior = np.maximum((estimate**2 * weight).sum(0) / weight.sum(0) - len(estimate) / weight.sum(0), 1e-4)
    shrunk = estimate * prior / (prior + variance)
    shrunk = shrunk * np.minimum(np.sqrt(1e4 * share), 1)[:, None]
    length = np.linalg.norm(shrunk, axis=1, keepdims=True)
    return varimax(shrunk / np.maximum(length, np.quantile(length, _STRONGEST)))


def _unit(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores / np.maximum(scores.std(0), 1e-300))


def _quadratic(turn: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Variances (genes × factors) of turned coefficients."""
    return np.asarray(np.einsum("ki,gkl,li->gi", turn, covariance, turn, optimize=True))


def _agreement(fitted: _Fitted, turn: np.ndarray) -> np.ndarray:
    """P-value of the loadings of disjoint halves of the cells agreeing in sign and size, gene by gene."""
    t = (fitted.halves @ turn) / np.sqrt(fitted.halves_std**2 @ turn**2)
    product = t[0] * t[1]
    return np.asarray(norm.sf(product.sum(0) / np.sqrt((product**2).sum(0))))


def _cautious(
    counts: sp.csr_matrix,
    lib_size: np.ndarray,
    design: np.ndarray,
    scores: np.ndarray,
    folds: list[np.ndarray],
    fitted: _Fitted,
    turn: np.ndarray,
    loading: np.ndarray,
    rare: np.ndarray,
) -> np.ndarray:
    """Errors with which a normal test has the evidence of the likelihood, where that is far from quadratic (`rare`)."""
    out, columns = np.zeros_like(loading), counts.tocsc()
    along = np.zeros((turn.shape[1], fitted.coefficient.shape[1]))
    along[:, 1 : turn.shape[0] + 1] = turn.T
    for f, genes in enumerate(folds):
        g, k = np.nonzero(rare[genes])
        if len(g):
            gene, a = genes[g], along[k]
            d = np.column_stack([np.ones(len(lib_size)), scores[f], design])
            coefficient = fitted.coefficient[gene]
            back = np.einsum("gij,gj->gi", fitted.penalised[gene], a)
            without = coefficient - back * ((a * coefficient).sum(1) / (a * back).sum(1))[:, None]
            x = columns[:, gene].toarray().T
            z = evidence(x, d, lib_size, fitted.theta[gene], coefficient, without)
            out[gene, k] = np.abs(loading[gene, k]) / np.maximum(z, 0.1)
    return out
