"""Programs that several populations share: found in the factors of the model, refitted by counts, not assumed.

A shared program is one factor that varies within several populations and moves the same genes in them. Candidates
are the directions in which the within-population covariances of the latent are jointly diagonal: if populations share
a mixing of independent activities and differ in their variances, these are the activities (Cardoso & Souloumiac 1996).
Those whose variances do not differ are told apart by the sparsity of their loadings (varimax).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..stats.rotations import joint_diagonalizer, varimax
from ..stats.shrinkage import ash
from ..tables import GENES
from .activities import as_tensor
from .evidence import Slopes
from .local import Local
from .population import Population
from .program import heavier_tail

__all__ = ["RELIABLE", "Shared", "agreement", "candidate_programs", "find_shared"]

_CELLS = 600  # per population: settles which programs are active and their slopes
RELIABLE = 0.7  # share of the variance of a score that is not noise
_AGREE = 0.5  # correlation of two populations' slopes, freed from noise (validity: recovery)
_CLEAR = 3.0  # standard errors of the covariance of two populations' slopes
_OWN = 0.5  # of a direction's variance in one population (all counted alike): its own
_MOST = 16  # candidates: beyond these the within-population variance is noise in all data seen
_INFORMED = 0.2  # share of the variance along a direction that is the cells' and not their posteriors'


@dataclass(frozen=True)
class Shared:
    """Shared programs: loadings (genes × q, natural log per SD) with their standard errors, and where they are active.

    `active` is q × populations; `without[p]` are the loadings that the populations other than p give, for tests in p
    that must not have seen its cells.
    """

    loadings: np.ndarray
    std: np.ndarray
    active: np.ndarray
    without: list[np.ndarray]


def candidate_programs(
    loadings: np.ndarray,
    z: np.ndarray,
    z_variance: np.ndarray,
    members: list[np.ndarray],
    samples: np.ndarray | None,
) -> np.ndarray:
    """Candidate loadings (genes × r, natural log per SD within populations) from the model alone.

    Parameters
    ----------
    loadings
        Linear map from z to log expression (genes × K).
    z, z_variance
        Posterior means and variances (cells × K).
    members
        Rows of each population.
    samples
        Sample of each cell; its mean within the population is taken out.
    """
    centred = loadings - loadings.mean(0)
    covariances, weights = [], []
    for rows in members:
        values = z[rows].astype(np.float64)
        of_sample = np.zeros(len(rows), int) if samples is None else samples[rows]
        for sample in np.unique(of_sample):
            own = of_sample == sample
            values[own] -= values[own].mean(0)
        covariances.append(values.T @ values / len(rows))
        weights.append(len(rows))
    within = np.average(covariances, axis=0, weights=weights)
    # the leading directions of the expression that varies within populations
    _, triangle = np.linalg.qr(centred)
    root_values, root_vectors = np.linalg.eigh(within)
    root = (root_vectors * np.sqrt(np.maximum(root_values, 0))) @ root_vectors.T
    _, singular, right = np.linalg.svd(triangle @ root, full_matrices=False)
    to_score = np.linalg.pinv(root) @ right.T  # z -> scores of unit within-population variance
    uncertainty = np.mean([z_variance[rows].mean(0) for rows in members], axis=0) @ to_score**2
    # whitened, directions of which the counts tell next to nothing would mix with programs
    kept = np.flatnonzero((singular > 1e-6 * singular[0]) & (1 / (1 + uncertainty) >= _INFORMED))[:_MOST]
    to_score, right = to_score[:, kept], right[kept]
    profiles = np.stack([to_score.T @ s @ to_score for s in covariances])
    rotation = joint_diagonalizer(np.sqrt(weights)[:, None, None] * profiles)
    turned = centred @ root @ right.T @ rotation
    # Activities with the same variance everywhere are not told apart by their variances: sparsity has to do it
    variance = np.einsum("pij,ik,jk->pk", profiles, rotation, rotation)
    even = variance.max(0) < _OWN * variance.sum(0)
    if even.sum() > 1:
        turned[:, even] = turned[:, even] @ varimax(turned[:, even])
    return turned


def find_shared(populations: list[Population], candidates: np.ndarray, seed: int) -> Shared:
    """Which candidates are shared, in which populations, with loadings refitted to the counts of those.

    A candidate is kept if it is scored reliably in at least a third of the populations (and two) and these agree on its
    genes: the noise-corrected correlation of their slopes is at least 0.5. What fewer populations have in common is
    found in each of them.
    """
    n_genes, n = len(candidates), len(populations)
    samples = [p.sample(_CELLS, seed) for p in populations]
    reliable = np.zeros((candidates.shape[1], n), bool)
    slopes = []
    for i, (p, local) in enumerate(zip(populations, samples, strict=True)):
        own = as_tensor(candidates[p.genes])
        scores = local.score(own, local.intercept)
        reliable[:, i] = scores.reliability >= RELIABLE
        slopes.append(_spread(local.regress(scores.left_out, scores.size), p.genes, n_genes))
    groups = [_agreeing(j, np.flatnonzero(reliable[j]), slopes) for j in range(candidates.shape[1])]
    kept = [j for j, group in enumerate(groups) if len(group) >= max(2, math.ceil(n / 3))]
    active = np.array([np.isin(np.arange(n), groups[j]) for j in kept]).reshape(-1, n)
    refitted = _refit(populations, samples, candidates[:, kept], active)
    clear = [int((np.abs(refitted.loadings[:, j]) > 2 * refitted.std[:, j]).sum()) >= GENES for j in range(len(kept))]
    if all(clear):
        return refitted
    return _refit(populations, samples, refitted.loadings[:, clear], active[clear])


def _spread(slopes: Slopes, genes: np.ndarray, n_genes: int) -> tuple[np.ndarray, np.ndarray]:
    """Centred slopes and their precision on all genes; precision 0 where a gene is not tested."""
    q = slopes.slope.shape[1]
    slope, precision = np.zeros((n_genes, q)), np.zeros((n_genes, q))
    slope[genes] = np.stack([slopes.centred(j) for j in range(q)], 1) if q else 0
    precision[genes] = 1 / slopes.se**2
    return slope, precision


def _agreeing(j: int, members: np.ndarray, slopes: list[tuple[np.ndarray, np.ndarray]]) -> list[int]:
    """The largest set of populations linked by agreement on candidate j."""
    linked = {int(u): {int(u)} for u in members}
    for x, u in enumerate(members):
        for v in members[x + 1 :]:
            if agreement(slopes[u], slopes[v], j) >= _AGREE:
                merged = linked[int(u)] | linked[int(v)]
                for member in merged:
                    linked[member] = merged
    return max((sorted(group) for group in linked.values()), key=len, default=[])


def agreement(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], j: int) -> float:
    """Correlation of two populations' slopes, freed from the noise in both."""
    ok = (first[1][:, j] > 0) & (second[1][:, j] > 0)
    if ok.sum() < 10:
        return 0.0
    b = [slope[ok, j] for slope, _ in (first, second)]
    var = [1 / precision[ok, j] for _, precision in (first, second)]
    weights = 1 / (var[0] + var[1] + 0.01)
    d = [x - np.average(x, weights=weights) for x in b]
    product = weights * d[0] * d[1]
    signal = [np.average(x**2 - v, weights=weights) for x, v in zip(d, var, strict=True)]
    # next to no signal makes the ratio wild: the covariance itself must be beyond doubt
    if min(signal) <= 0 or product.sum() < _CLEAR * np.sqrt((product**2).sum()):
        return 0.0
    return float(product.sum() / weights.sum() / np.sqrt(signal[0] * signal[1]))


def _refit(
    populations: list[Population], samples: list[Local], loadings: np.ndarray, active: np.ndarray, rounds: int = 2
) -> Shared:
    """Slopes on leave-gene-out scores, pooled over the populations in which each program is active."""
    n_genes, q = loadings.shape
    std, without = np.zeros((n_genes, q)), [loadings for _ in populations]
    for _ in range(rounds if q else 0):
        weighted, precision = np.zeros((len(populations), n_genes, q)), np.zeros((len(populations), n_genes, q))
        for i, (p, local) in enumerate(zip(populations, samples, strict=True)):
            own = as_tensor(loadings[p.genes])
            scores = local.score(own, local.intercept)
            slope, weight = _spread(local.regress(scores.left_out, scores.size), p.genes, n_genes)
            precision[i] = weight * active[:, i]
            weighted[i] = slope * precision[i]
        loadings, std = _pooled(weighted.sum(0), precision.sum(0))
        without = [
            _pooled(weighted.sum(0) - weighted[i], precision.sum(0) - precision[i])[0] for i in range(len(populations))
        ]
    sign = heavier_tail(loadings, std)
    return Shared(sign * loadings, std, active, [sign * other for other in without])


def _pooled(weighted: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = np.zeros_like(weighted), np.zeros_like(weighted)
    for j in range(weighted.shape[1]):
        seen = precision[:, j] > 1e-9
        shrunk = ash(weighted[seen, j] / precision[seen, j], precision[seen, j] ** -0.5)
        mean[seen, j], std[seen, j] = shrunk.mean, shrunk.std
    return mean, std
