"""From many p-values or probabilities to calls: adjusted, combined, turned into odds."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm
from scipy.stats import t as t_distribution

from .. import checks

__all__ = ["bh", "log_odds", "normal_equivalent", "posterior_fdr", "simes"]


def bh(pvalues: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg adjusted p-values over all entries; NaN stays NaN and does not count.

    References
    ----------
    Benjamini & Hochberg (1995), Controlling the false discovery rate. JRSS B 57(1).
    """
    pvalues = np.asarray(pvalues, dtype=np.float64)
    adjusted = np.full(pvalues.shape, np.nan)
    tested = np.isfinite(pvalues)
    p = pvalues[tested]
    order = np.argsort(p)[::-1]
    scaled = p[order] * p.size / np.arange(p.size, 0, -1)
    ranked = np.empty(p.size)
    ranked[order] = np.minimum.accumulate(scaled)
    adjusted[tested] = ranked
    return adjusted


def simes(pvalues: np.ndarray) -> float:
    """One p-value for the hypothesis that all of many are null; 1 without any.

    References
    ----------
    Simes (1986), An improved Bonferroni procedure for multiple tests of significance. Biometrika 73(3).
    """
    adjusted = bh(np.ravel(pvalues))
    return float(np.nanmin(adjusted)) if np.isfinite(adjusted).any() else 1.0


def posterior_fdr(probability: np.ndarray, target: float) -> np.ndarray:
    """Call as many entries as the posterior expected false discovery rate allows.

    Sorted by probability, entries are called while the running mean of (1 - probability) stays within the target.
    Entries with equal probability are called together or not at all, so the order of the genes never matters.

    Parameters
    ----------
    probability
        Posterior probability that a call would be right, any shape; NaN is never called.
    target
        Expected share of false calls, between 0 and 1.

    Returns
    -------
    np.ndarray
        Boolean mask of the shape of `probability`.
    """
    target = checks.number("target", target, 0.0, 1.0)
    probability = np.asarray(probability, dtype=np.float64)
    known = np.sort(probability[np.isfinite(probability)])[::-1]
    running = np.cumsum(1.0 - known) / np.arange(1, known.size + 1)
    failing = np.flatnonzero(running > target + 1e-12)
    threshold = known[failing[0]] if failing.size else -np.inf
    return np.isfinite(probability) & (probability > threshold)


def normal_equivalent(std: np.ndarray, statistic: np.ndarray, df: np.ndarray) -> np.ndarray:
    """The standard error with which a normal test has the p-value of the t test."""
    with np.errstate(invalid="ignore"):
        z = -ndtri(np.maximum(t_distribution.sf(np.abs(statistic), df), 1e-300))
        # both are linear near zero, with slopes the densities there
        flat = np.abs(statistic) < 1e-3
        return std * np.where(flat, norm.pdf(0) / t_distribution.pdf(0, df), np.abs(statistic) / np.where(flat, 1.0, z))


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Natural log odds, finite at 0 and 1 (as scvi-tools' `bayes_factor`)."""
    return np.log(probability + 1e-8) - np.log(1 - probability + 1e-8)
