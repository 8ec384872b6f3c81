"""Count log-likelihoods with their gradients in closed form, and the Kullback–Leibler terms.

Every likelihood here is the sum over cells and genes of log p(x | mu, theta), where log mu = log library + log rho and
rho = softmax(logits) (``closed``) or exp(logits). Gamma functions are sums over the few small counts that a gene has;
each entry of cells × genes needs one exp, one log and one division, and is otherwise added and multiplied in the cache.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from ..counts.minibatches import Minibatch
from ..machine.arithmetic import exp_, log_, on_cpu
from ..machine.memory import IN_CACHE
from .link import LOG_RHO_MAX, exp_and_sum

__all__ = ["kl_normal", "kl_shrinkage", "log_likelihood"]

_TABLE = 16  # counts up to here are looked up: they need no gamma function
_BLOCK = 3 * IN_CACHE // 2  # on a CPU; it holds fewer arrays at a time than others


def log_likelihood(
    features: torch.Tensor,
    weights: torch.Tensor,
    intercept: torch.Tensor,
    log_theta: torch.Tensor,
    zero_logit: torch.Tensor,
    batch: Minibatch,
    likelihood: str,
    closed: bool,
) -> torch.Tensor:
    """Sum of log p(x) over a minibatch (scalar, differentiable in the first five arguments).

    Parameters
    ----------
    features, weights, intercept
        n × f, f × genes and genes; the logits are features @ weights + intercept.
    log_theta
        Log inverse dispersion per gene (variance = mu + mu²/theta); not used by ``poisson``.
    zero_logit
        Logit of the probability of an excess zero per gene; used by ``zinb`` alone.
    batch
        The counts.
    likelihood
        ``nb``, ``zinb`` or ``poisson``.
    closed
        Whether expression sums to one over the modelled genes.
    """
    value: torch.Tensor = _CountLikelihood.apply(
        features, weights, intercept, log_theta, zero_logit, batch, likelihood, closed
    )
    return value


class _WithGradients(torch.autograd.Function):
    """A scalar whose gradients `forward` has found and saved, those of its first arguments: they are only scaled."""

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        found = [None if d is None else d * grads[0] for d in ctx.saved_tensors]
        return *found, *[None] * (len(ctx.needs_input_grad) - len(found))


class _CountLikelihood(_WithGradients):
    """The value and, in the same sweep, its gradient: each block of cells is decoded and left while in the cache."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> torch.Tensor:
        features, weights, intercept, log_theta, zero_logit, batch, likelihood, closed = args
        terms = {"nb": _negative_binomial, "zinb": _zero_inflated, "poisson": _poisson}[likelihood]
        total = _Totals(log_theta, zero_logit, batch, likelihood)
        counts, weights = batch.dense, weights.contiguous()
        d_features, d_weights, d_intercept = (torch.zeros_like(a) for a in (features, weights, intercept))
        n_rows = max(1, _BLOCK // weights.shape[1] if on_cpu(weights) else len(batch))
        for start in range(0, len(batch), n_rows):
            rows = slice(start, start + n_rows)
            x, log_library = counts[rows], batch.log_library[rows]
            score = torch.addmm(intercept, features[rows], weights)
            if closed:
                mu, log_sum, shift = exp_and_sum(score)
                log_scale = log_library - log_sum
                mu.mul_(log_scale.exp())
                log_scale -= shift  # log mu is the score plus this, and needs no logarithm of small numbers
            else:
                score, log_scale = score.clamp(max=LOG_RHO_MAX), log_library
                mu = exp_(score + log_scale)
            total.value += _dot(x, score) + _dot(x.sum(-1, keepdim=True), log_scale)  # sum of x log mu
            gradient = terms(mu, x, total)
            if closed:
                # through the softmax: d logits = d - rho * sum(d)
                gradient.addcmul_(mu, gradient.sum(-1, keepdim=True) / log_library.exp(), value=-1)
            # with few features several times as fast in this order
            d_features[rows] = torch.mm(weights, gradient.T).T
            d_weights.addmm_(features[rows].T, gradient)
            d_intercept += gradient.sum(0)
        ctx.save_for_backward(d_features, d_weights, d_intercept, *total.gradients())
        return total.value - batch.log_factorial.sum()


class _Totals:
    """What is summed over blocks: the value, and the gradients in theta and in the zero logit (per gene)."""

    def __init__(self, log_theta: torch.Tensor, zero_logit: torch.Tensor, batch: Minibatch, likelihood: str) -> None:
        self.log_theta, self.zero_logit, self.theta = log_theta, zero_logit, log_theta.exp()
        self.likelihood, self.value = likelihood, log_theta.new_zeros(())
        self.d_theta, self.d_zero = torch.zeros_like(log_theta), torch.zeros_like(zero_logit)
        if likelihood != "poisson":
            self.value, self.d_theta = _gamma_ratios(batch, self.theta)

    def gradients(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """By log theta and the zero logit; None for what the likelihood does not have."""
        d_log_theta = None if self.likelihood == "poisson" else self.d_theta * self.theta
        return d_log_theta, self.d_zero if self.likelihood == "zinb" else None


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.dot(a.reshape(-1), b.reshape(-1))


# Each adds to `total` what the likelihood has beside x log mu, log x! and the ratio of gamma functions, and returns the
# derivative by log mu; x and mu are cells × genes.


def _poisson(mu: torch.Tensor, x: torch.Tensor, total: _Totals) -> torch.Tensor:
    total.value -= mu.sum()
    return x - mu


def _negative_binomial(mu: torch.Tensor, x: torch.Tensor, total: _Totals) -> torch.Tensor:
    theta = total.theta
    t = mu + theta
    out = (x - mu).div_(t)
    log_t = log_(t)
    each = len(x) * total.log_theta - log_t.sum(0)
    total.value += theta @ each - _dot(x, log_t)
    total.d_theta += each - out.sum(0)  # the derivative has sum(1 - (x + theta) / t) = -sum((x - mu) / t)
    return out.mul_(theta)


def _zero_inflated(mu: torch.Tensor, x: torch.Tensor, total: _Totals) -> torch.Tensor:
    theta, zero_logit, zero = total.theta, total.zero_logit, x == 0
    log_t = log_(mu + theta)
    log_r = total.log_theta - log_t
    r = log_r.exp()
    log_zero = theta * log_r  # log p(0) of the negative binomial
    # a zero is excess with odds exp(zero_logit - log p_nb(0)); `own` is the chance that it is not
    own = torch.where(zero, torch.sigmoid(log_zero - zero_logit), 1.0)
    log_count, log_excess = torch.nn.functional.logsigmoid(-zero_logit), torch.nn.functional.logsigmoid(zero_logit)
    at_zero = torch.logaddexp(log_zero + log_count, log_excess.expand_as(log_zero))
    total.value += torch.where(zero, at_zero, log_zero + log_count).sum() - _dot(x, log_t)
    total.d_theta += (own * (log_r + 1 - r) - x * r / theta).sum(0)
    total.d_zero += (1 - own).sum(0) - len(x) * torch.sigmoid(zero_logit)
    return (x - mu).mul_(r).mul_(own)


def _gamma_ratios(batch: Minibatch, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over the non-zeros of log Gamma(x + theta) / Gamma(theta), and its derivative by theta (per gene).

    It is a sum over j < x of log(theta + j): so many logarithms as a gene has different small counts, times the number
    of cells that exceed j.
    """
    x, columns, n_genes = batch.values, batch.columns, len(theta)
    index = torch.add(columns, x.clamp(max=_TABLE).int(), alpha=n_genes)
    number = _count(index, (_TABLE + 1) * n_genes)[n_genes:].view(_TABLE, n_genes)
    at_least, before = _table(theta.device)
    exceed = at_least @ number.to(theta.dtype)
    steps = theta + before
    derivative = (exceed / steps).sum(0)
    value = _dot(exceed, log_(steps))
    if not on_cpu(x):  # all counts, in a fixed order: without waiting for how many are large, and the same every time
        lgamma, digamma = _beyond_table(batch.dense, theta)
        return value + lgamma.sum(), derivative + digamma.sum(0)
    large = torch.nonzero(x > _TABLE).squeeze(-1)
    if not len(large):
        return value, derivative
    x, columns = x[large], columns[large]
    lgamma, digamma = _beyond_table(x, theta[columns])
    return value + lgamma.sum(), derivative.index_add_(0, columns, digamma)


def _beyond_table(x: torch.Tensor, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log Gamma(x + theta) / Gamma(`_TABLE` + theta) and its derivative by theta; 0 for counts that are looked up."""
    lgamma, digamma = _stirling(x.clamp(min=_TABLE) + theta)
    lgamma_table, digamma_table = _stirling(theta + _TABLE)
    return lgamma - lgamma_table, digamma - digamma_table


def _count(index: torch.Tensor, n: int) -> torch.Tensor:
    """How often each number below n is there; on a device without waiting for the largest."""
    if on_cpu(index):
        return torch.bincount(index, minlength=n)
    return torch.zeros(n, device=index.device).index_add_(0, index, torch.ones(len(index), device=index.device))


@lru_cache
def _table(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Which counts are at least 1, 2, ... `_TABLE`, and 0, 1, ... that come before them."""
    at_least = torch.ones(_TABLE, _TABLE, device=device).triu()
    return at_least, torch.arange(_TABLE, device=device)[:, None]


def _stirling(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log Gamma and digamma from 16 up, where three terms of their series are exact to single precision."""
    log, u = z.log(), 1 / z
    u2 = u * u
    return (z - 0.5) * log - z + u * (1 / 12 - u2 / 360), log - u * (0.5 + u * (1 / 12 - u2 / 120))


def kl_normal(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Sum of KL(N(mean, variance) || N(0, 1)) over all elements."""
    value: torch.Tensor = _Normal.apply(mean, log_variance)
    return value


class _Normal(_WithGradients):
    @staticmethod
    def forward(ctx: Any, *args: torch.Tensor) -> torch.Tensor:
        mean, log_variance = args
        variance = log_variance.exp()
        value = 0.5 * (torch.addcmul(variance, mean, mean).sub_(log_variance).sum() - mean.numel())
        ctx.save_for_backward(mean, variance.sub_(1).mul_(0.5))
        return value


def kl_shrinkage(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL of a mean-field Gaussian over loadings (genes × factors) to N(0, tau_k²), at the best tau_k.

    Empirical Bayes: tau_k² = mean over genes of E[W_gk²] minimises the divergence, which leaves
    G/2 log tau_k² - 1/2 sum_g log s_gk². A factor that the data do not support shrinks to nothing.
    """
    value: torch.Tensor = _Shrinkage.apply(mean, log_variance)
    return value


class _Shrinkage(_WithGradients):
    @staticmethod
    def forward(ctx: Any, *args: torch.Tensor) -> torch.Tensor:
        mean, log_variance = args
        variance = log_variance.exp()
        tau2 = torch.addcmul(variance, mean, mean).mean(0)
        ctx.save_for_backward(mean / tau2, variance.div_(2 * tau2).sub_(0.5))
        return 0.5 * (len(mean) * tau2.log().sum() - log_variance.sum())
