"""Samples, not cells, as replicates: pairs as blocks, covariates of samples, and the weight of every sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from .centre import centre
from .moderation import moderated_contrast

__all__ = ["NotEnough", "SampleDesign", "compare_samples", "equally_known", "sample_design", "without_shifts"]

_LEAST_DF = 2  # residual degrees of freedom for covariates of samples, or for pairs of a few features
_MANY_DF = 1  # the same where many features lend each other their variances
_CAUTION = 0.5  # see `squeeze_variance`
_MIN_FEATURES = 100  # of fewer, most may have changed: nothing is then taken to move all of them alike
_ROUNDS = 4
_LITTLE = 0.5  # residual degrees of freedom of paired or other rows that tell their variance
_BISECTIONS = 40


class NotEnough(ValueError):
    """A comparison that its samples do not allow; the message says why."""


@dataclass(frozen=True)
class SampleDesign:
    """A linear model of samples.

    Attributes
    ----------
    design, contrast
        Design matrix (rows × coefficients) and the contrast that is asked for: group 1 minus group 2, or a slope.
    blocked
        Rows whose sample is in the model with a coefficient of its own.
    n1, n2
        Samples on either side (of a slope: all, 0).
    paired
        Samples that are compared with themselves.
    n_samples
        Different samples that take part.
    pairs_lost
        Pairs that are compared as if they were none, since there are too few.
    """

    design: np.ndarray
    contrast: np.ndarray
    blocked: np.ndarray
    n1: int
    n2: int
    paired: int
    n_samples: int
    pairs_lost: int = 0

    @property
    def weights(self) -> np.ndarray:
        """The contrast as weights of the rows."""
        return np.asarray(self.contrast @ np.linalg.pinv(self.design))

    @property
    def df(self) -> int:
        """Residual degrees of freedom."""
        return len(self.design) - int(np.linalg.matrix_rank(self.design))


def sample_design(
    x: np.ndarray,
    samples: Sequence[str],
    adjust: np.ndarray | None = None,
    *,
    names: tuple[str, str] = ("group1", "group2"),
    slope: bool = False,
    many: bool = False,
) -> SampleDesign:
    """The model in which samples are compared.

    Samples with rows at different `x` are compared with themselves: each has a coefficient of its own (a block). The
    others share an intercept, so they help, too. Where too few pairs would leave nothing to estimate variances from,
    they are compared like other samples, which is cautious.

    Parameters
    ----------
    x
        Of each row 1 (first group) or 0 (second group), or a number whose slope is asked for.
    samples
        Sample of each row.
    adjust
        Covariates of the rows (rows × columns).
    names
        Of the groups, for messages.
    slope
        Whether `x` is a number.
    many
        Whether hundreds of features are compared, which lend each other their variances.

    Raises
    ------
    NotEnough
        If a group has fewer than two samples (a slope fewer than three), `adjust` cannot be told from `x`, or nothing
        is left to estimate variances from.
    """
    x = np.asarray(x, dtype=np.float64)
    sample = np.unique(np.asarray(samples, dtype=str), return_inverse=True)[1]
    first, second = (np.unique(sample[x == side]) for side in (1, 0))
    if slope:
        if len(np.unique(sample)) < 3 or np.ptp(x) == 0:
            raise NotEnough("a slope needs at least 3 samples with different values")
        inside = [s for s in np.unique(sample) if np.ptp(x[sample == s]) > 0]
    else:
        for name, own in zip(names, (first, second), strict=True):
            if len(own) < 2:
                count = f"{len(own)} sample{'' if len(own) == 1 else 's'}"
                raise NotEnough(f"group '{name}' has {count}; a comparison with sample_key needs at least 2 per group")
        inside = np.intersect1d(first, second).tolist()
    columns = np.zeros((len(x), 0)) if adjust is None else np.asarray(adjust, dtype=np.float64)

    def model(blocks: Sequence[int]) -> SampleDesign:
        member = sample[:, None] == np.asarray(blocks, dtype=int)
        rest = ~member.any(1)
        design = np.column_stack([x, *([rest.astype(float)] if rest.any() else []), member, columns])
        n = (len(np.unique(sample)), 0) if slope else (len(first), len(second))
        contrast = np.eye(1, design.shape[1])[0]
        return SampleDesign(design, contrast, ~rest, *n, len(blocks), len(np.unique(sample)))

    found = model(inside)
    least = _MANY_DF if many else _LEAST_DF
    if inside and found.df < least <= model([]).df:
        found = replace(model([]), pairs_lost=len(inside))
    if not _estimable(found):
        raise NotEnough(
            "the samples differ in `adjust` as they do in what is compared, so the two cannot be told apart"
        )
    if columns.shape[1] and found.df < _LEAST_DF:
        raise NotEnough(
            f"{found.n_samples} samples are too few for the columns of `adjust`: {found.df} degrees of freedom are left"
        )
    return found


def _estimable(found: SampleDesign) -> bool:
    projected = np.linalg.pinv(found.design) @ found.design @ found.contrast
    return bool(np.allclose(projected, found.contrast, atol=1e-8))


def without_shifts(y: np.ndarray, variance: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Rows without what moves all features of a row alike beyond the model: composition, in shares of a library."""
    if y.shape[1] < _MIN_FEATURES:
        return y
    hat = design @ np.linalg.pinv(design)
    residual = y - hat @ y
    spread = residual.std() ** 2
    return y - np.array([[centre(r, np.sqrt(v + spread))] for r, v in zip(residual, variance, strict=True)])


def equally_known(y: np.ndarray, found: SampleDesign) -> tuple[np.ndarray, np.ndarray]:
    """Rows and design with rows of one variance: those of pairs vary within samples only, the others between them."""
    between = _between_samples(y, found, np.zeros_like(y))
    scale = np.sqrt(between / between.max())[:, None] if between.min() > 0 else np.ones((len(y), 1))
    return y / scale, found.design / scale


def compare_samples(y: np.ndarray, found: SampleDesign, variance: np.ndarray) -> dict[str, np.ndarray]:
    """Test the contrast in every feature: moderated t, each row weighed by how well it is known.

    A row's variance is what samples differ by, which most features share, plus its own sampling variance; what a
    feature has beyond that its residuals tell (`moderated_contrast`). It is the idea of limma's voom, with the
    sampling variance of a sample's mean in place of a trend.

    Parameters
    ----------
    y
        Rows × features.
    found
        The model.
    variance
        Sampling variance of `y`.

    Returns
    -------
    dict
        As `moderated_contrast`.

    References
    ----------
    Law, Chen, Shi & Smyth (2014), voom: precision weights unlock linear model analysis tools for RNA-seq read counts.
    Genome Biology 15:R29.
    """
    between = _between_samples(y, found, variance)[:, None]
    return moderated_contrast(
        y, found.design, found.contrast, weights=1 / (between + variance + 1e-6), caution=_CAUTION
    )


def _between_samples(y: np.ndarray, found: SampleDesign, variance: np.ndarray) -> np.ndarray:
    """Variance of rows beyond `variance` that a typical feature has: of paired rows, and of the others."""
    known = np.isfinite(y).all(0)
    if not known.any():
        return np.zeros(len(y))
    level = variance.mean(0)
    known &= level <= np.median(level[known])  # in the others counting hides what samples differ by
    y, variance = y[:, known], variance[:, known]
    typical, out = np.median(variance, axis=1), np.zeros(len(y))
    for _ in range(_ROUNDS):  # rows that are known badly must not blur what the others say
        weight = 1 / np.maximum(out + typical, 1e-12) if out.any() else np.ones(len(y))
        root = np.sqrt(weight)[:, None]
        hat = found.design @ np.linalg.pinv(found.design * root) * root.T
        squares, free = (y - hat @ y) ** 2, 1 - np.diag(hat)
        for rows in (found.blocked, ~found.blocked):
            df = float(free[rows].sum())
            if rows.any():
                out[rows] = _typical(squares[rows], variance[rows], df) if df > _LITTLE else np.nan
        out = np.where(np.isfinite(out), out, np.nanmax(out, initial=0.0))
    return out


def _typical(squares: np.ndarray, variance: np.ndarray, df: float) -> float:
    """The variance beyond `variance` with which the median feature has the median of a chi-squared."""
    target, low, high = chi2.ppf(0.5, df), 0.0, float(squares.sum(0).max()) / max(df, 1e-9) + 1e-12

    def excess(at: float) -> float:
        return float(np.median((squares / (at + variance + 1e-12)).sum(0))) - target

    if excess(0.0) <= 0:
        return 0.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return 0.5 * (low + high)
