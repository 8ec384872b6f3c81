"""Count log-likelihoods with their gradients in closed form, and the Kullback–Leibler terms.

Every likelihood here is the sum over cells and genes of log p(x | mu, theta), where log mu = log library + log rho and
rho = softmax(logits) (``closed``) or exp(logits). Work that depends on the count (lgamma, digamma) is done at the
non-zeros alone; the zeros need one log and one division.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from .data import Minibatch

__all__ = ["LIKELIHOODS", "kl_normal", "kl_shrinkage", "log_expression", "log_likelihood"]

LIKELIHOODS = ("nb", "zinb", "poisson")
_TABLE = 16  # counts up to here take lgamma(x + theta) - lgamma(theta) from a table
_BLOCK = 200_000  # cells × genes worked on at a time on a CPU: about a megabyte, so that it stays in the cache
_LOG_RHO_MAX = 5.0  # only without softmax: keeps exp() finite far outside any plausible expression


def log_expression(logits: torch.Tensor, closed: bool) -> torch.Tensor:
    """log rho (n × genes): a softmax where the modelled genes are the whole library, else the logits."""
    return torch.log_softmax(logits, -1) if closed else logits.clamp(max=_LOG_RHO_MAX)


def log_likelihood(
    logits: torch.Tensor,
    log_theta: torch.Tensor,
    zero_logit: torch.Tensor,
    batch: Minibatch,
    likelihood: str,
    closed: bool,
) -> torch.Tensor:
    """Sum of log p(x) over a minibatch (scalar, differentiable in the first three arguments).

    Parameters
    ----------
    logits
        n × genes.
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
    value: torch.Tensor = _CountLikelihood.apply(logits, log_theta, zero_logit, batch, likelihood, closed)
    return value


class _CountLikelihood(torch.autograd.Function):
    """The value and, in the same sweep, its gradient: each block of cells is read while it is in the cache."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> torch.Tensor:
        logits, log_theta, zero_logit, batch, likelihood, closed = args
        terms = {"nb": _negative_binomial, "zinb": _zero_inflated, "poisson": _poisson}[likelihood]
        total = _Totals(log_theta, zero_logit, batch, counted=likelihood != "poisson")
        gradient = torch.empty_like(logits)
        n_rows = max(1, _BLOCK // logits.shape[1]) if logits.device.type == "cpu" else len(batch)
        for start in range(0, len(batch), n_rows):
            rows = slice(start, min(start + n_rows, len(batch)))
            nonzero = slice(*batch.row_start[[rows.start, rows.stop]].tolist()) if n_rows < len(batch) else slice(None)
            flat = batch.flat[nonzero] - start * batch.n_genes
            library = batch.log_library[rows].exp()
            # the one exponential per entry; logarithms of mu are taken at the non-zeros alone
            rho = torch.softmax(logits[rows], -1) if closed else log_expression(logits[rows], closed).exp_()
            mu = rho.mul_(library)
            out = gradient[rows]
            terms(mu, flat, nonzero, total, out)
            if closed:
                # through the softmax: d logits = d - rho * sum(d)
                out.addcmul_(mu, out.sum(-1, keepdim=True) / library, value=-1)
        ctx.save_for_backward(gradient, total.d_theta.mul_(total.theta), total.d_zero)
        return total.value - _log_factorial(batch.values).sum()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        d_logits, d_log_theta, d_zero = ctx.saved_tensors
        g = grads[0]
        return d_logits.mul_(g), d_log_theta * g, d_zero * g, None, None, None


class _Totals:
    """What is summed over blocks: the value, and the gradients in theta and in the zero logit (per gene)."""

    def __init__(self, log_theta: torch.Tensor, zero_logit: torch.Tensor, batch: Minibatch, counted: bool) -> None:
        self.x, self.columns, self.log_theta, self.zero_logit = batch.values, batch.columns, log_theta, zero_logit
        self.theta = log_theta.exp()
        self.value = torch.zeros((), device=log_theta.device)
        self.d_theta, self.d_zero = torch.zeros_like(log_theta), torch.zeros_like(log_theta)
        if counted:
            lgamma, digamma = _gamma_differences(self.x, self.theta, self.columns)
            self.value += lgamma.sum()
            self.d_theta.index_add_(0, self.columns, digamma)


def _poisson(mu: torch.Tensor, flat: torch.Tensor, nonzero: slice, total: _Totals, out: torch.Tensor) -> None:
    x = total.x[nonzero]
    torch.neg(mu, out=out)
    total.value += (x * _log(mu.view(-1)[flat])).sum() - mu.sum()
    out.view(-1).index_add_(0, flat, x)


def _negative_binomial(mu: torch.Tensor, flat: torch.Tensor, nonzero: slice, total: _Totals, out: torch.Tensor) -> None:
    x, columns, theta = total.x[nonzero], total.columns[nonzero], total.theta
    t = mu + theta  # cells × genes, as are r and log_t
    r = theta / t
    torch.mul(mu, r, out=out).neg_()  # d log p(0) / d log mu = -mu theta / (mu + theta)
    at = t.view(-1)[flat]
    log_t = t.log_()
    log_ratio = _log(mu.view(-1)[flat]) - at.log()
    total.value += (x * log_ratio).sum() + theta @ (len(out) * total.log_theta - log_t.sum(0))
    total.d_theta += len(out) * (total.log_theta + 1) - log_t.sum(0) - r.sum(0)
    total.d_theta.index_add_(0, columns, -x / at)
    out.view(-1).index_add_(0, flat, x * r.view(-1)[flat])


def _zero_inflated(mu: torch.Tensor, flat: torch.Tensor, nonzero: slice, total: _Totals, out: torch.Tensor) -> None:
    x, columns, theta, zero_logit = total.x[nonzero], total.columns[nonzero], total.theta, total.zero_logit
    t = mu + theta
    log_r = total.log_theta - t.log()
    log_zero = theta * log_r  # log p(0) of the negative binomial
    # a zero is excess with odds exp(zero_logit - log p_nb(0)); `own` is the chance that it is not
    own = torch.sigmoid(log_zero - zero_logit)
    at = t.view(-1)[flat]
    count = log_zero.view(-1)[flat] + x * (_log(mu.view(-1)[flat]) - at.log())
    log_count, log_excess = torch.nn.functional.logsigmoid(-zero_logit), torch.nn.functional.logsigmoid(zero_logit)
    at_zero = torch.logaddexp(log_zero + log_count, log_excess.expand_as(log_zero))
    total.value += at_zero.sum() - at_zero.view(-1)[flat].sum() + (count + log_count[columns]).sum()
    own.view(-1)[flat] = 1.0  # a count above zero is never an excess zero
    r = theta / t
    torch.mul(mu, r, out=out).neg_().mul_(own)
    total.d_theta += (own * (log_r + 1 - r)).sum(0)
    total.d_theta.index_add_(0, columns, -x / at)
    total.d_zero += (1 - own).sum(0) - len(out) * torch.sigmoid(zero_logit)
    out.view(-1).index_add_(0, flat, x * r.view(-1)[flat])


def _log(mu: torch.Tensor) -> torch.Tensor:
    return mu.clamp(min=1e-30).log()  # an expression that underflows is not impossible


def _gamma_differences(
    x: torch.Tensor, theta: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """lgamma(x + theta) - lgamma(theta) and its derivative in theta, at the non-zeros.

    For small x both are sums over j < x of log(theta + j) and 1 / (theta + j): a table of genes × 16.
    """
    steps = theta + torch.arange(_TABLE, device=theta.device)[:, None]
    index = (x.long().clamp(1, _TABLE) - 1) * len(theta) + columns
    lgamma = steps.log().cumsum(0).view(-1)[index]
    digamma = steps.reciprocal().cumsum(0).view(-1)[index]
    large = torch.nonzero(x > _TABLE).squeeze(-1)
    if len(large):
        big, own = x[large], theta[columns[large]]
        lgamma[large] = torch.lgamma(big + own) - torch.lgamma(own)
        digamma[large] = torch.digamma(big + own) - torch.digamma(own)
    return lgamma, digamma


_LOG_FACTORIALS = torch.tensor([math.lgamma(k + 1) for k in range(256)])


def _log_factorial(x: torch.Tensor) -> torch.Tensor:
    out = _LOG_FACTORIALS.to(x.device)[x.long().clamp(max=255)]
    large = torch.nonzero(x > 255).squeeze(-1)
    if len(large):
        out[large] = torch.lgamma(x[large] + 1)
    return out


def kl_normal(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, variance) || N(0, 1)), element by element."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def kl_shrinkage(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL of a mean-field Gaussian over loadings (genes × factors) to N(0, tau_k²), at the best tau_k.

    Empirical Bayes: tau_k² = mean over genes of E[W_gk²] minimises the divergence, which leaves
    G/2 log tau_k² - 1/2 sum_g log s_gk². A factor that the data do not support shrinks to nothing.
    """
    n_genes = mean.shape[0]
    tau2 = (mean.square() + log_variance.exp()).mean(0)
    return 0.5 * (n_genes * tau2.log().sum() - log_variance.sum())
