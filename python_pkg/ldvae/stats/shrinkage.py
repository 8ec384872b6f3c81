"""Estimates with standard errors become posteriors by empirical Bayes shrinkage; and what may be called thereupon."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtr, ndtri

from .. import checks

__all__ = ["Shrunk", "ash"]

_FACTOR = np.sqrt(2.0)  # ratio of neighbouring standard deviations: the mixture then bends less than any data can show
_FINEST = 10.0  # the narrowest component is a tenth of a small standard error: below that nothing differs from zero
_WARM_UP = 10  # EM steps before Newton's: EM gets near the optimum quickly and reaches it slowly
_BISECTIONS = 60  # as many as a float64 can tell apart; about six are needed
_CONVERGED = 1e-8  # violation of the optimality conditions at which the mixture weights are done


@dataclass(frozen=True)
class Shrunk:
    """Posterior of each effect under the mixture prior; all arrays have the shape of the estimates.

    Attributes
    ----------
    mean, std
        Posterior mean and standard deviation, in the unit of the estimates (`std` is NaN where nothing was measured).
    lfsr
        Local false sign rate: probability that an effect called by its more probable sign has the other sign or is 0.
    lfdr
        Local false discovery rate: probability that the effect is exactly 0.
    pi0
        Share of effects that are exactly 0, drawn towards 1 by the `null_penalty` of `ash`.
    estimate, std_error
        What was shrunk.
    prior_std, prior_weight
        The components of the mixture prior that have weight; the first is the point mass at 0.
    """

    mean: np.ndarray
    std: np.ndarray
    lfsr: np.ndarray
    lfdr: np.ndarray
    pi0: float
    estimate: np.ndarray
    std_error: np.ndarray
    prior_std: np.ndarray
    prior_weight: np.ndarray

    def below(self, value: float) -> np.ndarray:
        """Posterior probability that an effect is below `value`; NaN where nothing was measured."""
        responsibility, centre, spread, used = self._mixture
        out = np.full(self.mean.shape, np.nan)
        point = responsibility[:, 0] * (value > 0)
        out[used] = point + (responsibility[:, 1:] * ndtr((value - centre[:, 1:]) / spread[:, 1:])).sum(1)
        return np.minimum(out, 1.0)

    def of_components(self) -> tuple[np.ndarray, np.ndarray]:
        """Posterior weight of each component of the prior for what was measured (entries × components), and its std."""
        return self._mixture[0], self.prior_std

    def quantiles(self, *probabilities: float) -> np.ndarray:
        """Quantiles of each posterior (quantiles × entries), 0 where the point mass covers one; NaN if not measured."""
        responsibility, centre, spread, used = self._mixture
        point, weight, centre, spread = responsibility[:, 0], responsibility[:, 1:], centre[:, 1:], spread[:, 1:]
        mean, std, (at_zero, least, most) = self.mean[used], self.std[used], self._reach
        p = np.array(probabilities)[:, None]
        in_mass = (at_zero <= p) & (p <= at_zero + point)
        # of what is spread out, as much must lie below as is asked for, the point mass counted where it is below
        target = (p - point * (p > at_zero)).ravel()
        x = np.where(in_mass, 0.0, np.clip(mean + ndtri(p) * std, least, most)).ravel()
        low, high, entry = (np.tile(a, len(p)) for a in (least, most, np.arange(len(mean))))
        todo = np.flatnonzero(~in_mass)
        for _ in range(_BISECTIONS):  # Newton's steps, and half of the interval where they lead out of it
            at, e = x[todo], entry[todo]
            w, s = weight[e], spread[e]
            z = (at[:, None] - centre[e]) / s
            excess = (w * ndtr(z)).sum(1) - target[todo]
            low[todo], high[todo] = np.where(excess < 0, at, low[todo]), np.where(excess < 0, high[todo], at)
            slope = (w * np.exp(-0.5 * z**2) / s).sum(1) / np.sqrt(2 * np.pi)
            newton = at - excess / np.maximum(slope, 1e-300)
            inside = (newton > low[todo]) & (newton < high[todo])
            x[todo] = np.where(inside, newton, 0.5 * (low[todo] + high[todo]))
            todo = todo[np.abs(x[todo] - at) > 1e-3 * std[e]]  # the error is the square of the step
            if not len(todo):
                break
        out = np.full((len(p), *self.mean.shape), np.nan)
        out[:, used] = x.reshape(len(p), -1)
        return out

    @cached_property
    def _reach(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How much of the components lies below 0, and between which values all but nothing of them lies."""
        responsibility, centre, spread, _ = self._mixture
        weight, centre, spread = responsibility[:, 1:], centre[:, 1:], spread[:, 1:]
        reach = 9.0 * spread.max(1, initial=0.0)
        at_zero = (weight * ndtr(-centre / spread)).sum(1)
        return at_zero, centre.min(1, initial=0.0) - reach, centre.max(1, initial=0.0) + reach

    @cached_property
    def _mixture(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Posterior weight, mean and standard deviation of each component (entries × components), and which entries."""
        used = np.isfinite(self.std)
        b, se = self.estimate[used], self.std_error[used]
        joint = _likelihood(b, se, self.prior_std) * self.prior_weight
        shrink = self.prior_std**2 / (self.prior_std**2 + se[:, None] ** 2)
        return joint / joint.sum(1, keepdims=True), shrink * b[:, None], np.sqrt(shrink) * se[:, None], used


def ash(estimate: np.ndarray, std: np.ndarray, *, null_penalty: float = 10.0, n_iter: int = 100) -> Shrunk:
    """Shrink many estimates towards zero by as much as all of them together ask for.

    The true effects are taken as draws from a mixture of a point mass at zero and normals around zero; the mixture
    weights are estimated from the data, and each effect gets its posterior. Nothing is assumed about how many
    effects there are or how large they are, only that small ones are more common than large ones.

    Parameters
    ----------
    estimate, std
        Estimates and their standard errors, of any (equal) shape. Entries without a finite estimate and a finite,
        positive standard error take no part and come back as mean 0, std NaN, lfsr and lfdr 1.
    null_penalty
        Dirichlet parameter of the weight of zero (the others have 1): the higher, the more cautious.
    n_iter
        Most Newton steps for the weights; about ten suffice.

    Returns
    -------
    Shrunk
        Posterior means, standard deviations, lfsr, lfdr and the share of zeros (1 when no entry takes part).

    References
    ----------
    Stephens (2017), False discovery rates: a new deal. Biostatistics 18(2).
    """
    checks.number("null_penalty", null_penalty, 1.0)
    shape = np.shape(estimate)
    b, se = (np.asarray(a, dtype=np.float64).ravel() for a in np.broadcast_arrays(estimate, std))
    mean, spread, lfsr, lfdr = np.zeros(b.size), np.full(b.size, np.nan), np.ones(b.size), np.ones(b.size)
    used = np.isfinite(b) & np.isfinite(se) & (se > 0)
    pi0, prior_std, prior_weight = 1.0, np.zeros(1), np.ones(1)
    if used.any():
        grid = _grid(b[used], se[used])
        likelihood = _likelihood(b[used], se[used], grid)  # (entries, components)
        weights = _mixture_weights(likelihood, null_penalty, n_iter)
        mean[used], spread[used], lfsr[used], lfdr[used] = _posterior(b[used], se[used], grid, likelihood * weights)
        pi0 = float(weights[0])
        kept = (weights > 1e-8) | (grid == 0.0)
        prior_std, prior_weight = grid[kept], weights[kept]
    return Shrunk(
        mean.reshape(shape), spread.reshape(shape), lfsr.reshape(shape), lfdr.reshape(shape), pi0,
        b.reshape(shape), se.reshape(shape), prior_std, prior_weight,
    )  # fmt: skip


def _grid(b: np.ndarray, se: np.ndarray) -> np.ndarray:
    """Standard deviations of the prior's components: 0, then a geometric series up to twice the largest effect."""
    finest = np.quantile(se, 0.05) / _FINEST
    widest = max(2.0 * np.sqrt(max(np.max(b**2 - se**2), 0.0)), 8.0 * finest)
    n_steps = int(np.ceil(np.log(widest / finest) / np.log(_FACTOR)))
    return np.concatenate([[0.0], widest / _FACTOR ** np.arange(n_steps, -1, -1)])


def _likelihood(b: np.ndarray, se: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Density of each estimate under each component, up to one constant per estimate (its largest is 1)."""
    variance = se[:, None] ** 2 + grid**2
    log_density = -0.5 * (np.log(variance) + b[:, None] ** 2 / variance)
    return np.exp(log_density - log_density.max(1, keepdims=True))


def _mixture_weights(likelihood: np.ndarray, null_penalty: float, n_iter: int) -> np.ndarray:
    """Penalised maximum likelihood of the mixture weights, to the optimality conditions of a concave problem.

    EM alone takes thousands of steps here, since neighbouring components look alike; sequential quadratic
    programming takes about ten (Kim, Carbonetto, Stephens & Anitescu 2020, mix-SQP). The penalty is an observation
    that only the zero component explains, `null_penalty - 1` times.
    """
    n_components = likelihood.shape[1]
    rows = np.vstack([likelihood, np.eye(1, n_components)])
    share = np.append(np.ones(len(likelihood)), null_penalty - 1.0)
    rows, share = rows[share > 0], share[share > 0] / share.sum()

    def objective(x: np.ndarray) -> float:
        # sum(x) in place of the constraint sum(x) = 1: the optimum is the same, and only x >= 0 is left
        return float(x.sum() - share @ np.log(np.maximum(rows @ x, 1e-300)))

    x = np.full(n_components, 1.0 / n_components)
    for _ in range(_WARM_UP):
        x *= (share / (rows @ x)) @ rows
    value = objective(x)
    for _ in range(n_iter):
        ratio = rows / (rows @ x)[:, None]
        score = share @ ratio  # at the optimum 1 where x > 0 and below 1 elsewhere
        if score.max() < 1.0 + _CONVERGED:
            break
        hessian = (ratio.T * share) @ ratio
        hessian[np.diag_indices(n_components)] += 1e-9 * np.trace(hessian) / n_components
        root = np.linalg.cholesky(hessian).T  # the quadratic model over x >= 0 is non-negative least squares
        target, _ = nnls(root, np.linalg.solve(root.T, hessian @ x + score - 1.0))
        direction, step = target - x, 1.0
        while step > 1e-8 and objective(x + step * direction) > value + 1e-4 * step * ((1.0 - score) @ direction):
            step /= 2.0
        x = x + step * direction
        value = objective(x)
    return x / x.sum()


def _posterior(b: np.ndarray, se: np.ndarray, grid: np.ndarray, joint: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, standard deviation, lfsr and lfdr of each effect, given likelihood times prior of each component."""
    responsibility = joint / joint.sum(1, keepdims=True)
    shrink = grid**2 / (grid**2 + se[:, None] ** 2)  # 0 for the point mass
    centre, variance = shrink * b[:, None], shrink * se[:, None] ** 2
    mean = (responsibility * centre).sum(1)
    variance = (responsibility * (variance + (centre - mean[:, None]) ** 2)).sum(1)
    lfdr = responsibility[:, 0]
    # The sign opposite to the estimate's is the less probable one in every component, hence in the mixture.
    wrong = ndtr(-np.sqrt(shrink[:, 1:]) * np.abs(b / se)[:, None])
    return mean, np.sqrt(variance), np.minimum(lfdr + (responsibility[:, 1:] * wrong).sum(1), 1.0), lfdr
