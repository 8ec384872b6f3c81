"""Expression decoded from draws of the latent positions of cells, at their own batch or at the average one."""

from __future__ import annotations

import numpy as np
import torch

from ..machine.arithmetic import exp_
from ..machine.memory import AT_A_TIME
from ..model.link import LOG_RHO_MAX, exp_and_sum, log_expression
from ..model.network import LDVAE
from .cells import Cells

__all__ = [
    "ExpectedExpression",
    "average_expression",
    "batch_levels",
    "decoded_expression",
    "is_log_normal",
    "latent_draw",
]

_REACH = 60.0  # exp of it is a finite float32


def batch_levels(model: LDVAE) -> tuple[torch.Tensor, np.ndarray]:
    """Designs (levels × columns) of the registered batches, other covariates average, and the weight of each.

    Without a batch, the one average design.
    """
    c = model.config
    if c.batch is None:
        return torch.zeros(1, c.n_design), np.ones(1)
    share = np.asarray(c.batch.share)
    design = torch.zeros(len(share), c.n_design)
    design[:, c.batch_columns] = torch.eye(len(share)) - torch.from_numpy(share).float()
    return design, share


@torch.no_grad()
def average_expression(model: LDVAE, z: torch.Tensor, weights: np.ndarray | None = None) -> torch.Tensor:
    """Expression rho (n × genes) at the average of the registered batches, each with its share or `weights`.

    For a linear decoder the average of the batch effects; for a non-linear one the average over the registered batches
    of the decoded expression.
    """
    c = model.config
    designs, share = batch_levels(model)
    share = share if weights is None else weights
    if c.decoder == "linear" or c.batch is None:
        average = torch.from_numpy(share).float() @ designs
        return log_expression(model.decode(z, average.expand(len(z), -1)), c.closed).exp()
    total = torch.zeros(len(z), c.n_genes)
    for design, weight in zip(designs, share, strict=True):
        total += weight * log_expression(model.decode(z, design.expand(len(z), -1)), c.closed).exp()
    return total


def latent_draw(model: LDVAE, cells: Cells, rows: np.ndarray, noise: np.ndarray) -> torch.Tensor:
    """A draw of z (rows × K) from the posterior, given standard normal noise."""
    gaussian = torch.from_numpy(cells.mean[rows] + np.sqrt(cells.variance[rows]) * noise).float()
    return model.latent(gaussian)


@torch.no_grad()
def decoded_expression(model: LDVAE, cells: Cells, genes: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
    """Posterior mean expression (cells × the given genes), as a share of the library, at the average batch."""
    rng = np.random.default_rng(seed)
    out = np.zeros((len(cells.mean), len(genes)))
    step = max(1, AT_A_TIME // model.config.n_genes)
    for start in range(0, len(out), step):
        rows = np.arange(start, min(start + step, len(out)))
        for _ in range(n_draws):
            noise = rng.standard_normal((len(rows), cells.mean.shape[1]))
            out[rows] += average_expression(model, latent_draw(model, cells, rows, noise))[:, genes].numpy() / n_draws
    return out


def is_log_normal(model: LDVAE) -> bool:
    """Whether log expression is linear in a Gaussian, up to the normaliser."""
    return model.config.decoder == "linear" and model.config.latent_distribution == "normal"


class ExpectedExpression:
    """Posterior mean of expression, of its square, and of expression as observed (rows × genes each).

    All are at the cell's own batch; with `average` the first two are at the average of the other covariates. Where log
    expression is normal the means are those of a log-normal (the normaliser at its expectation), and `noise` is not
    used; otherwise they are those of two draws of z with this noise and its opposite.
    """

    @torch.no_grad()
    def __init__(self, model: LDVAE, cells: Cells, average: bool) -> None:
        c = model.config
        self.model, self.cells = model, cells
        self.others = np.ones(c.n_design, dtype=bool)
        self.others[c.batch_columns] = False
        self.average = average and bool(self.others.any())
        if is_log_normal(model):
            # what moves all genes alike moves no share, so that loadings count from those of an average count
            common = torch.softmax(model.intercept, 0) @ model.loadings if c.closed else 0.0
            self.squared_loadings = (model.loadings - common).square().T.contiguous()
            self.weights = torch.cat([model.loadings.T, model.intercept[None], model.design_effect])

    @torch.no_grad()
    def __call__(self, rows: np.ndarray, noise: np.ndarray | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of the cells `rows`; `noise` (rows × K) is standard normal, None where log expression is normal."""
        model, cells, closed = self.model, self.cells, self.model.config.closed
        design = torch.from_numpy(cells.design[rows])
        if noise is not None:
            z = [latent_draw(model, cells, rows, sign * noise) for sign in (1.0, -1.0)]
            there = [log_expression(model.decode(draw, design), closed).exp_() for draw in z]
            draws = there
            if self.average:
                at = self._without(design)
                draws = [log_expression(model.decode(draw, at), closed).exp_() for draw in z]
            mean, squares, observed = draws[0] + draws[1], draws[0].square() + draws[1].square(), there[0] + there[1]
            return mean.mul_(0.5), squares.mul_(0.5), observed.mul_(0.5)
        spread = torch.from_numpy(cells.variance[rows]) @ self.squared_loadings
        own_batch = self._without(design) if self.average else design
        features = torch.cat([torch.from_numpy(cells.mean[rows]), torch.ones(len(rows), 1), own_batch], 1)
        score = torch.addmm(spread, features, self.weights, beta=0.5)
        rho = exp_and_sum(score)[0] if closed else exp_(score)
        own = rho
        if self.average:
            own = rho * exp_((design - own_batch) @ model.design_effect)
        rho = _as_share(rho, closed)
        squares = exp_(spread.clamp_(max=_REACH)).mul_(rho).mul_(rho)
        return rho, squares, _as_share(own, closed) if self.average else rho

    def _without(self, design: torch.Tensor) -> torch.Tensor:
        """The design with all but the batch at its average."""
        return torch.where(torch.from_numpy(self.others), 0.0, design)


def _as_share(rho: torch.Tensor, closed: bool) -> torch.Tensor:
    return rho.div_(rho.sum(-1, keepdim=True)) if closed else rho.clamp_(max=float(np.exp(LOG_RHO_MAX)))
