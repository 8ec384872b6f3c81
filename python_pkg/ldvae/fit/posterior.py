"""Posterior of the latent, of expression and of loadings, from a `Fit` and, where needed, new counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..counts.minibatches import SparseCounts
from ..counts.reader import Counts
from ..machine.device import refuse_surroundings
from ..model.link import log_expression
from ..model.network import LDVAE
from .record import Fit

__all__ = [
    "as_sparse",
    "design_offset",
    "encode",
    "factor_scores",
    "inverse_dispersion",
    "latent_library",
    "latent_moments",
    "linear_map",
    "log_rho",
    "rebuild",
]

_BLOCK = 1024  # cells decoded or encoded at a time
_DRAWS = 64  # draws of the logistic normal for its moments
_POISSON = 1e4  # inverse dispersion that is none
_MAP_CELLS = 4000  # cells from which the linear map of a non-linear decoder is regressed


def rebuild(fit: Fit) -> LDVAE:
    """The model of a fit, ready for inference on the CPU."""
    refuse_surroundings()
    model = LDVAE(fit.config, torch.Generator().manual_seed(0))
    model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in fit.weights.items()})
    model.eval()
    return model


def inverse_dispersion(model: LDVAE) -> torch.Tensor:
    """Of each gene; of Poisson counts so large that it is none."""
    theta = model.log_theta.detach().exp()
    return torch.full_like(theta, _POISSON) if model.config.gene_likelihood == "poisson" else theta


@torch.no_grad()
def encode(model: LDVAE, counts: SparseCounts, block: int = _BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the Gaussian posterior of every cell (cells × K each)."""
    mean, variance = (np.zeros((counts.n_cells, model.config.n_latent), np.float32) for _ in range(2))
    for rows, batch in counts.blocks(block):
        m, log_variance = model.encode(batch)
        mean[rows], variance[rows] = m.cpu().numpy(), log_variance.exp().cpu().numpy()
    return counts.ranks.sum(mean), counts.ranks.sum(variance)


@torch.no_grad()
def latent_library(model: LDVAE, counts: SparseCounts) -> np.ndarray:
    """Library size of each cell by the encoder of a model of scvi-tools."""
    return torch.cat([model.latent_library(batch) for _, batch in counts.blocks(_BLOCK)]).double().numpy()


def as_sparse(counts: Counts, design: np.ndarray) -> SparseCounts:
    """Counts as the model takes them."""
    return SparseCounts(counts.matrix, counts.lib_size, design, torch.device("cpu"))


@torch.no_grad()
def latent_moments(model: LDVAE, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and variance of z itself: the Gaussian's, or by seeded draws those of its softmax."""
    if model.config.latent_distribution == "normal":
        return mean, variance
    generator = torch.Generator().manual_seed(0)
    m, s = torch.from_numpy(mean), torch.from_numpy(variance).sqrt()
    first, second = torch.zeros_like(m), torch.zeros_like(m)
    for _ in range(_DRAWS):
        z = torch.softmax(m + s * torch.randn(m.shape, generator=generator), -1)
        first += z / _DRAWS
        second += z.square() / _DRAWS
    return first.numpy(), (second - first.square()).clamp(min=1e-8).numpy()


def factor_scores(
    fit: Fit, mean: np.ndarray, variance: np.ndarray, factors: np.ndarray | slice = slice(None)
) -> np.ndarray:
    """Scores of cells with this posterior on canonical factors (cells × factors), in standard deviations of each."""
    z, _ = latent_moments(rebuild(fit), mean, variance)
    return np.asarray((z - fit.factors["center"]) @ fit.factors["rotation"][:, factors])


@torch.no_grad()
def log_rho(model: LDVAE, z: np.ndarray, design: np.ndarray, visit: Callable[[slice, torch.Tensor], None]) -> None:
    """Decode cells block by block and hand each block of log expression (n × genes) to `visit`."""
    for start in range(0, len(z), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(z)))
        logits = model.decode(torch.from_numpy(z[rows]).float(), torch.from_numpy(design[rows]))
        visit(rows, log_expression(logits, model.config.closed))


@torch.no_grad()
def design_offset(model: LDVAE, z: np.ndarray, design: np.ndarray) -> np.ndarray:
    """What covariates add to log expression at one position z (K): cells × genes, natural log."""
    if design.shape[1] == 0:
        return np.zeros((1, model.config.n_genes), np.float32)
    parts = []
    zeros = np.zeros((1, design.shape[1]), np.float32)
    log_rho(model, z[None].astype(np.float32), zeros, lambda _, values: parts.append(values.numpy()))
    base = parts.pop()
    log_rho(
        model,
        np.repeat(z[None].astype(np.float32), len(design), 0),
        design,
        lambda _, values: parts.append(values.numpy()),
    )
    return np.concatenate(parts) - base


def linear_map(model: LDVAE, z: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """The linear map from z to log expression (genes × K, natural log): W itself for a linear decoder.

    For a non-linear one, the least-squares regression of decoded log expression on z; for Gaussian z this is the
    average Jacobian of the decoder (Stein's lemma).
    """
    if model.config.decoder == "linear":
        return model.loadings.detach().numpy().astype(np.float64)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(z))[:_MAP_CELLS]
    draws = (z[rows] + np.sqrt(variance[rows]) * rng.standard_normal((len(rows), z.shape[1]))).astype(np.float32)
    centred = draws - draws.mean(0)
    cross = np.zeros((model.config.n_genes, z.shape[1]))

    def add(block: slice, values: torch.Tensor) -> None:
        nonlocal cross
        cross += (values - values.mean(-1, keepdim=True)).T.numpy() @ centred[block]

    log_rho(model, draws, np.zeros((len(rows), model.config.n_design), np.float32), add)
    return np.linalg.solve(centred.T @ centred + 1e-6 * np.eye(z.shape[1]), cross.T).T
