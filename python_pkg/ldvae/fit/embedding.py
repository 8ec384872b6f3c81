"""Where cells lie on the factors by their counts and the measured loadings: what neighbours and clusters want.

The encoder knows cells by what it learnt in passing; here each cell is asked itself. Its scores are the maximum of the
negative binomial likelihood of its counts, log mu = log library + baseline + covariates + loadings @ scores, times the
prior N(0, 1) of each score. The logarithm is concave, so there is one maximum, and no cell depends on another.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from tqdm import tqdm

from ..model.network import LDVAE
from ..tables import LN2
from .cells import Cells
from .posterior import design_offset, factor_scores, inverse_dispersion, latent_moments, log_rho, rebuild
from .record import Fit

__all__ = ["positions"]

_ENTRIES = 400_000  # cells × genes at a time, which stay in the cache
_STEPS = 30  # of Newton's, at most
_CLOSE = 1e-3  # of a score, where the steps end
_LARGEST_STEP = 1.0  # of a score at a time
_BASELINE_CELLS = (1000, 10_000_000)  # of training, whose expected counts the baseline is from: most, and × genes
_ROUNDS = (6, 2, 2)  # steps of the baseline, each time before the scores
_HIGHEST = 3.0  # log share of the library: keeps exp() finite far outside any plausible expression


def positions(cells: Cells) -> np.ndarray:
    """Scores on the active factors, each times the root of the length of its loadings (cells × r).

    The root lies between factors that are all alike, noise as wide as signal, and the strongest alone.
    """
    fit = cells.fit
    active = np.flatnonzero(fit.factors["active"])
    scores = factor_scores(fit, cells.mean, cells.variance, active).astype(np.float32)
    if not len(active):
        return scores
    model = rebuild(fit)
    length = np.sqrt((fit.factors["loadings"][:, active] ** 2).sum(0))
    loadings = torch.from_numpy((fit.factors["loadings"][:, active] * LN2).astype(np.float32))
    theta = inverse_dispersion(model)
    baseline = _baseline(fit, model, active, loadings, theta)
    for rows in tqdm(
        _blocks(*cells.counts.matrix.shape), "embedding", leave=False, disable=None if sys.stderr else True
    ):
        offset = baseline + torch.from_numpy(
            np.log(cells.counts.lib_size[rows])[:, None].astype(np.float32)
            + design_offset(model, fit.factors["center"], cells.design[rows])
        )
        x = torch.from_numpy(cells.counts.matrix[rows].toarray().astype(np.float32))
        scores[rows] = _newton(x, offset, loadings, theta, torch.from_numpy(scores[rows])).numpy()
    return scores * length**0.5


def _blocks(n_cells: int, n_genes: int) -> list[slice]:
    size = max(16, _ENTRIES // n_genes)
    return [slice(start, start + size) for start in range(0, n_cells, size)]


def _baseline(fit: Fit, model: LDVAE, active: np.ndarray, loadings: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Log expression of each gene beside the loadings: what the counts that the model expects of training cells say."""
    most = min(_BASELINE_CELLS[0], max(1, _BASELINE_CELLS[1] // len(loadings)))
    rows = np.sort(np.random.default_rng(0).permutation(len(fit.cells))[:most])
    z, _ = latent_moments(model, fit.latent_mean[rows], fit.latent_variance[rows])
    turn = fit.factors["rotation"][:, active]
    scores = torch.from_numpy(((z - fit.factors["center"]) @ turn).astype(np.float32))
    library = torch.from_numpy(fit.lib_size[rows].astype(np.float32))[:, None]
    parts: list[torch.Tensor] = []
    log_rho(model, z, np.zeros((len(rows), fit.config.n_design), np.float32), lambda _, v: parts.append(v.exp()))
    expected = torch.cat(parts) * library
    baseline = (expected.sum(0) / library.sum()).clamp(min=1e-12).log()
    for steps in _ROUNDS:
        for _ in range(steps):
            mu = library * (baseline + scores @ loadings.T).clamp(max=_HIGHEST).exp()
            over = theta / (mu + theta)
            step = ((expected - mu) * over).sum(0) / (mu * over).sum(0).clamp(min=1e-12)
            baseline += step.clamp(-_LARGEST_STEP, _LARGEST_STEP)
        for part in _blocks(*expected.shape):
            offset = library[part].log() + baseline
            scores[part] = _newton(expected[part], offset, loadings, theta, scores[part])
    return baseline


@torch.no_grad()
def _newton(
    x: torch.Tensor, offset: torch.Tensor, loadings: torch.Tensor, theta: torch.Tensor, scores: torch.Tensor
) -> torch.Tensor:
    """The most probable scores of some cells (cells × r), from where they are."""
    r = loadings.shape[1]
    i, j = torch.triu_indices(r, r)
    pairs, information = loadings[:, i] * loadings[:, j], torch.zeros(len(x), r, r)
    log_library = offset.amax(1, keepdim=True)
    for _ in range(_STEPS):
        mu = torch.minimum(offset + scores @ loadings.T, log_library + _HIGHEST).exp()
        over = theta / (mu + theta)
        weight = (mu * over) @ pairs
        information[:, i, j] = information[:, j, i] = weight
        gradient = ((x - mu) * over) @ loadings - scores
        move = torch.linalg.solve(information + torch.eye(r), gradient).clamp(-_LARGEST_STEP, _LARGEST_STEP)
        scores = scores + move
        if move.abs().max() < _CLOSE:
            break
    return scores
