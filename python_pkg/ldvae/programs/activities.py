"""Activities of programs in cells: what is known of them, and the variance they have once noise is taken out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Scores", "as_tensor", "features", "information_and_gradient", "posterior_scores", "weighted_mean"]

_LEAST_VARIANCE = 0.02  # an activity with less is switched off by its prior, not by dividing by zero


@dataclass(frozen=True)
class Scores:
    """Activities of q programs in n cells, every coordinate in units of its standard deviation.

    Attributes
    ----------
    left_out, full
        Without the genes of each fold (n × folds × q), and from all genes (n × q).
    size
        Log size of each cell (n × 1), relative to the offset.
    scale
        Standard deviation of the activity per unit of loading (q).
    variance, variance_se, reliability
        Variance of the activity freed from counting noise, its standard error, and the share of it that the counts of
        a cell settle (q each).
    """

    left_out: Tensor
    full: Tensor
    size: Tensor
    scale: Tensor
    variance: np.ndarray
    variance_se: np.ndarray
    reliability: np.ndarray


def as_tensor(a: np.ndarray) -> Tensor:
    """In single precision, in the order of rows."""
    return torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32))


def features(loadings: Tensor) -> Tensor:
    """What derivatives by log mean are summed with over genes: 1, the q loadings, their q(q + 1)/2 products."""
    i, j = torch.triu_indices(loadings.shape[1], loadings.shape[1])
    return torch.cat([torch.ones(len(loadings), 1), loadings, loadings[:, i] * loadings[:, j]], 1)


def weighted_mean(by_w: Tensor, q: int) -> tuple[Tensor, Tensor]:
    """Total weight (n × 1) and weighted mean loadings (n × q) of each cell, from w @ features."""
    total = by_w[:, :1].clamp(min=1e-6)
    return total, by_w[:, 1 : 1 + q] / total


def information_and_gradient(by_w: Tensor, by_e: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Information (... × q × q) and gradient (... × q) of the activities, loadings centred at `mean` cell by cell.

    Parameters
    ----------
    by_w, by_e
        Minus second and first derivative of the log-likelihood by log mean (n × genes), summed over genes with
        `features`: w @ features (... × (1 + q + q(q + 1)/2)), and of e the first 1 + q of these columns.
    mean
        What to take off the loadings in each cell (... × q): their weighted mean leaves the size of the cell alone.
    """
    q = mean.shape[-1]
    i, j = torch.triu_indices(q, q)
    information = torch.empty(*by_w.shape[:-1], q, q)
    information[..., i, j] = information[..., j, i] = by_w[..., 1 + q :]
    cross = by_w[..., 1 : 1 + q, None] * mean[..., None, :]
    information -= cross + cross.mT - by_w[..., :1, None] * mean[..., :, None] * mean[..., None, :]
    return information, by_e[..., 1:] - by_e[..., :1] * mean


def posterior_scores(by_fold: Tensor, natural: Tensor, size: Tensor, own_first: bool) -> Scores:
    """Activities under normal priors whose variances are estimated in these cells.

    Parameters
    ----------
    by_fold
        Information that each fold of genes has about the activities (n × folds × q × q).
    natural
        That information times the estimate it leads to (n × folds × q).
    size
        Log size of each cell (n × 1), passed on.
    own_first
        Make the first activity uncorrelated with the others, which then speak for all that they can.
    """
    q = natural.shape[-1]
    eye = torch.eye(q)
    if own_first and q > 1:
        covariance = _full_covariance(by_fold.sum(1), natural.sum(1))
        mix = torch.eye(q)
        mix[1:, 0] = (covariance[1:, 0] / covariance[0, 0]).clamp(-3, 3)
        by_fold, natural = mix.T @ by_fold @ mix, natural @ mix
    information, linear = by_fold.sum(1), natural.sum(1)
    prior, centre, uncertainty = _diagonal_prior(information, linear)
    scale = prior.clamp(min=_LEAST_VARIANCE).sqrt()

    def solve(h: Tensor, b: Tensor) -> Tensor:
        right = (b * scale + centre / scale).unsqueeze(-1)
        return torch.linalg.solve(h * (scale[:, None] * scale) + eye, right).squeeze(-1)

    noise = 1 / torch.linalg.inv(information + 1e-6 * eye).diagonal(dim1=1, dim2=2).clamp(min=1e-6)
    spread = (0.5 / (prior + 1 / noise).square()).sum(0)
    return Scores(
        left_out=solve(information[:, None] - by_fold, linear[:, None] - natural),
        full=solve(information, linear),
        size=size,
        scale=scale,
        variance=prior.double().numpy(),
        variance_se=(1 / spread.sqrt()).double().numpy(),
        reliability=(1 - uncertainty / prior).clamp(min=0).double().numpy(),
    )


def _diagonal_prior(information: Tensor, linear: Tensor, n_iter: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """EM for independent normal activities: variance, mean, and mean posterior variance (q each)."""
    q = information.shape[-1]
    prior, centre, uncertainty = torch.ones(q), torch.zeros(q), torch.ones(q)
    for _ in range(n_iter):
        posterior = torch.linalg.inv(information + torch.diag(1 / prior))
        mean = torch.einsum("nij,nj->ni", posterior, linear + centre / prior)
        uncertainty = posterior.diagonal(dim1=1, dim2=2).mean(0)
        centre = mean.mean(0)
        prior = (uncertainty + (mean - centre).square().mean(0)).clamp(min=1e-4)
    return prior, centre, uncertainty


def _full_covariance(information: Tensor, linear: Tensor, n_iter: int = 10) -> Tensor:
    """EM for correlated normal activities: their covariance (q × q)."""
    q = information.shape[-1]
    covariance, centre = torch.eye(q), torch.zeros(q)
    for _ in range(n_iter):
        precision = torch.linalg.inv(covariance + 1e-4 * torch.eye(q))
        posterior = torch.linalg.inv(information + precision)
        mean = torch.einsum("nij,nj->ni", posterior, linear + precision @ centre)
        centre = mean.mean(0)
        deviation = mean - centre
        covariance = posterior.mean(0) + deviation.T @ deviation / len(mean)
    return covariance
