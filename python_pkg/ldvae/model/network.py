"""The variational autoencoder with a linear decoder (`LDVAE`)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from ..counts.minibatches import Minibatch
from ..machine.device import device_of_new_tensors
from ..machine.processes import Norm
from .config import Config
from .objective import kl_normal, kl_shrinkage, log_likelihood

__all__ = ["LDVAE", "weight_shapes"]

_LOG_THETA = (-5.0, 7.0)  # inverse dispersion between 0.007 and 1,100: bounded, yet beyond what counts can tell
_LOG_VARIANCE = (-8.0, 2.0)  # of a latent position: counts fix none better than to 0.02, and the prior has 0
_HIDDEN = (0.0, 0.8)  # share of a cell's genes that its encoder does not see in training (validity: gain)
_GROUPS = 64  # of genes, drawn anew for each minibatch, that are hidden together in a cell: few random numbers
_NEVER = -40.0  # log inverse dispersion of a gene that is
_SCVI_VARIANCE = 1e-4  # what the encoders of scvi-tools add to a variance

_within = nn.functional.hardtanh  # clamp, but its gradient is one operation, not five


class LDVAE(nn.Module):
    """Linearly decoded variational autoencoder (Svensson et al. 2020), with a posterior over its loadings.

    x ~ NB(mu, theta), log mu = log library + log softmax(b + B s + W z), z ~ N(0, 1), q(z|x) = N(m, diag v) from an
    encoder of log(1 + x); q(W) is a mean-field Gaussian whose prior N(0, tau_k²) is learnt (``loadings_prior="ard"``).
    ``decoder="nonlinear"`` puts scVI's hidden layers (Lopez et al. 2018) between z and W; W is then a point.
    ``latent_distribution="ln"`` takes the softmax of the Gaussian as z.

    ``encoder="relative"`` is what is trained: it sees log(1 + counts brought to one library size), and in training only
    a random share of the genes of each cell, up to 0.8 of them hidden. Repeating a count that it was shown would earn
    nothing for those that it was not, so that a latent position is what genes say about each other. Hiding is a valid
    bound still, since q may look at a part of the data.

    Others are read, never trained: ``"ldvae"``, of log(1 + counts), in files of before; ``"scvi"`` and
    ``lib_size="latent"`` hold what a model of scvi-tools has on top (covariates that enter its encoder, and an encoder
    of the library size); ``"given"`` has no encoder, since positions are those of an embedding.
    """

    def __init__(self, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        self.config = c = config
        if c.encoder != "given":
            self._build_encoder(generator)
        linear = c.decoder == "linear"
        self.hidden = nn.ModuleList(
            _block((c.n_latent if i == 0 else c.n_hidden) + c.n_design, c.n_hidden, generator)
            for i in range(0 if linear else c.n_layers)
        )
        width = c.n_latent if linear else c.n_hidden
        self.loadings = nn.Parameter(
            torch.randn(c.n_genes, width, generator=generator) * (0.05 if linear else width**-0.5)
        )
        self.shrunken = linear and c.loadings_prior == "ard"
        if self.shrunken:
            self.loadings_log_variance = nn.Parameter(torch.full((c.n_genes, width), -6.0))
        self.intercept = nn.Parameter(torch.zeros(c.n_genes))
        self.design_effect = nn.Parameter(torch.zeros(c.n_design, c.n_genes))
        self.log_dispersion = nn.Parameter(torch.ones(c.n_genes))
        self.zero_logit = nn.Parameter(torch.full((c.n_genes,), -3.0))

    def _build_encoder(self, generator: torch.Generator) -> None:
        c = self.config
        bound = c.n_genes**-0.5
        self.input_weight = nn.Parameter(
            torch.empty(c.n_genes, c.n_hidden).uniform_(-bound, bound, generator=generator)
        )
        # normalisation takes out what a bias before it adds: trained, it would follow rounding
        self.input_bias = nn.Parameter(torch.zeros(c.n_hidden), requires_grad=False)
        self.input_norm = _norm(c.n_hidden)
        beside = c.n_design if c.encoder == "scvi" else 0
        self.encoder = nn.ModuleList(_block(c.n_hidden + beside, c.n_hidden, generator) for _ in range(c.n_layers - 1))
        if c.encoder == "scvi":
            self.input_design = nn.Parameter(torch.zeros(c.n_design, c.n_hidden))
        if c.lib_size == "latent":
            self.lib_size_weight = nn.Parameter(torch.zeros(c.n_genes, c.n_hidden))
            self.lib_size_design = nn.Parameter(torch.zeros(c.n_design, c.n_hidden))
            self.lib_size_bias = nn.Parameter(torch.zeros(c.n_hidden))
            self.lib_size_head = _linear(c.n_hidden, 2, generator)
        self.mean = _linear(c.n_hidden, c.n_latent, generator)
        self.log_variance = _linear(c.n_hidden, c.n_latent, generator)

    @torch.no_grad()
    def start_at(self, mean_expression: np.ndarray, design_effect: np.ndarray) -> None:
        """Begin with these shares of the library per gene and effects of covariates (design × genes, log)."""
        self.intercept.copy_(torch.from_numpy(np.log(mean_expression)))
        self.design_effect.copy_(torch.from_numpy(design_effect))

    @property
    def log_theta(self) -> torch.Tensor:
        """Log inverse dispersion per gene, within its bounds."""
        return _within(self.log_dispersion, *_LOG_THETA)

    def encode(
        self, batch: Minibatch, generator: torch.Generator | None = None, share: torch.Tensor | float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance of the Gaussian latent (n × K each); `share` of the genes is in the counts (n × 1)."""
        rate = self.config.dropout_rate if self.training else 0.0
        relative, scvi = (self.config.encoder == kind for kind in ("relative", "scvi"))
        if relative:
            scale = (math.log(self.config.input_scale) - batch.log_library).exp().squeeze(1)
            h = batch.times(scale[batch.cells]).log1p_times(self.input_weight) / share
        else:
            h = batch.log1p_times(self.input_weight)
        h = h + self.input_bias
        h = self.input_norm(h + batch.design @ self.input_design if scvi else h)
        h = _dropout(torch.relu(self._normed(h, "encoder")), rate, generator, batch)
        for block in self.encoder:
            h = block(torch.cat([h, batch.design], -1) if scvi else h)
            h = _dropout(torch.relu(self._normed(h, "encoder")), rate, generator, batch)
        log_variance = self.log_variance(h)
        if scvi:
            return self.mean(h), (log_variance.exp() + _SCVI_VARIANCE).log()
        return self.mean(h), _within(log_variance, *_LOG_VARIANCE)

    def latent_library(self, batch: Minibatch) -> torch.Tensor:
        """Posterior mean of a latent library size (n), which is log-normal."""
        h = batch.log1p_times(self.lib_size_weight) + batch.design @ self.lib_size_design + self.lib_size_bias
        mean, log_variance = self.lib_size_head(torch.relu(self._normed(h, "encoder"))).unbind(-1)
        return (mean + 0.5 * (log_variance.exp() + _SCVI_VARIANCE)).exp()

    def latent(self, gaussian: torch.Tensor) -> torch.Tensor:
        """The Gaussian latent, or its softmax for the logistic normal."""
        return torch.softmax(gaussian, -1) if self.config.latent_distribution == "ln" else gaussian

    def features(self, z: torch.Tensor, design: torch.Tensor) -> torch.Tensor:
        """What the loadings multiply: z itself, or the last hidden layer (n × width)."""
        for block in self.hidden:
            z = torch.relu(self._normed(block(torch.cat([z, design], -1)), "decoder"))
        return z

    def _normed(self, h: torch.Tensor, part: str) -> torch.Tensor:
        """Hidden units of each cell brought to mean 0 and variance 1, if that was done in this part of the model."""
        return nn.functional.layer_norm(h, h.shape[-1:]) if self.config.layer_norm in (part, "both") else h

    def decode(self, z: torch.Tensor, design: torch.Tensor) -> torch.Tensor:
        """Logits of expression (n × genes)."""
        logits = torch.addmm(self.intercept, self.features(z, design), self.loadings.T)
        return logits.addmm_(design, self.design_effect) if design.shape[1] else logits

    def sample_loadings(self, generator: torch.Generator) -> torch.Tensor:
        """One draw of the loadings (the point itself where they have no posterior)."""
        if not self.shrunken:
            return self.loadings
        noise = torch.randn(self.loadings.shape, generator=generator, device=self.loadings.device)
        return torch.addcmul(self.loadings, noise, (0.5 * self.loadings_log_variance).exp())

    def elbo(self, batch: Minibatch, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Reconstruction and KL of the latent, summed over the cells of a minibatch (scalars, nats).

        The encoder sees a part of the genes, drawn anew for each cell; all are reconstructed.
        """
        seen, share = batch, torch.ones(())
        if self.config.encoder == "relative":
            share = 1 - _HIDDEN[0] - (_HIDDEN[1] - _HIDDEN[0]) * batch.random(torch.rand, 1, generator)
            group = torch.randint(_GROUPS, (batch.n_genes,), generator=generator, device=share.device)
            kept = batch.random(torch.rand, _GROUPS, generator) < share
            seen = batch.times(kept[batch.cells, group[batch.columns]])
        mean, log_variance = self.encode(seen, generator, share)
        reconstruction = self._reconstruction(batch, mean, log_variance, generator)
        return reconstruction, kl_normal(mean, log_variance)

    def prediction(self, batch: Minibatch, generator: torch.Generator) -> torch.Tensor:
        """Log-likelihood of each half of the genes at positions from the other half (scalar, nats, a lower bound)."""
        half = torch.arange(batch.n_genes, device=batch.values.device) % 2 == 0
        total = batch.log_factorial.sum()  # which both halves have
        for hidden in (half, ~half):
            mean, log_variance = self.encode(batch.times(~hidden[batch.columns]), share=0.5)
            counts = batch.times(hidden[batch.columns])
            total = total + self._reconstruction(counts, mean, log_variance, generator, hidden)
        return total

    def _reconstruction(
        self,
        batch: Minibatch,
        mean: torch.Tensor,
        log_variance: torch.Tensor,
        generator: torch.Generator,
        of: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Log-likelihood at one draw of the positions and, in training, of the loadings; `of` some genes (a mask)."""
        c, likelihood, log_theta = self.config, self.config.gene_likelihood, self.log_theta
        if of is not None:  # a gene that is never expressed has zeros with probability one
            likelihood = "nb" if likelihood == "poisson" else likelihood
            known = log_theta if likelihood == c.gene_likelihood else log_theta.new_full((), _LOG_THETA[1])
            log_theta = torch.where(of, known, _NEVER)
        noise = batch.random(torch.randn, c.n_latent, generator)
        z = self.latent(torch.addcmul(mean, noise, (0.5 * log_variance).exp()))
        features = self.features(z, batch.design)
        weights = (self.sample_loadings(generator) if self.training else self.loadings).T
        if c.n_design:
            features, weights = torch.cat([features, batch.design], 1), torch.cat([weights, self.design_effect])
        return log_likelihood(
            features, weights, self.intercept, log_theta, self.zero_logit, batch, likelihood, c.closed
        )

    def penalty(self) -> torch.Tensor:
        """What the parameters cost, once for all cells (scalar, nats).

        The KL of the loadings, and a N(0, 1) prior on the effects of covariates.
        """
        parts = [kl_shrinkage(self.loadings, self.loadings_log_variance)] if self.shrunken else []
        if self.config.n_design or not parts:
            parts.append(0.5 * self.design_effect.square().sum())
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()


def weight_shapes(config: Config) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of every parameter of a model, without the memory for it."""
    with torch.device("meta"):
        state = LDVAE(config, torch.Generator()).state_dict()
    kind = {name: "float32" if value.is_floating_point() else "int64" for name, value in state.items()}
    return {name: (tuple(value.shape), kind[name]) for name, value in state.items()}


def _linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    # skip_init and an explicit generator: the global random state is the user's, not ours
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, n_in, n_out, device=device_of_new_tensors())
    bound = n_in**-0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _block(n_in: int, n_out: int, generator: torch.Generator) -> nn.Sequential:
    linear = _linear(n_in, n_out, generator)
    linear.bias.requires_grad_(False)
    return nn.Sequential(linear, _norm(n_out))


def _norm(width: int) -> Norm:
    return Norm(width, momentum=0.05, eps=1e-3)


def _dropout(x: torch.Tensor, rate: float, generator: torch.Generator | None, batch: Minibatch) -> torch.Tensor:
    if rate == 0.0:
        return x
    keep = batch.random(torch.rand, x.shape[1], generator) >= rate
    return x * (keep * (1 / (1 - rate)))
