"""One pass over the cells: sums per unit from which the mean expression of any group follows, with its uncertainty.

The mean of a group is the model's, corrected by what the counts say about it:

    log mean = log(sum rho / n) + log(sum x / sum mu),

with rho the expression of each cell (its posterior mean) at its own batch and the average of the other covariates, and
mu its expected count at its own library. The first term takes depth and covariates out, the second whatever the model
fits badly, so the estimate is right if either is: any error in loadings or latent positions enters rho and mu alike and
cancels. Batches are taken out where groups are compared (`means`, `batches`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..counts.reader import Counts
from ..fit.cells import Cells
from ..fit.expression import ExpectedExpression, is_log_normal
from ..machine.memory import IN_CACHE
from ..machine.sparse import row_blocks
from ..model.network import LDVAE
from ..stats.centre import weighted_median

__all__ = ["HALF_COUNT", "Group", "Moments", "counted", "moments", "pool", "with_genes"]

CELLS_DECODED = 5000  # per unit; larger units decode a random subset, and count all cells (speed: growth)
_BLOCKS = 16  # whose counts are gathered at a time
_ENTRIES = 1_000_000  # non-zeros that are counted at a time, or as many as there are sums
HALF_COUNT = 0.5  # counts with which a group's own counts are drawn towards what the model expects
_LEAST_DISPERSION = 0.1  # cells that are all alike have none, which says nothing about others
_DISPERSION_COUNTS = 30.0  # counts' worth of belief that a gene's dispersion is that of the median gene


@dataclass(frozen=True)
class Moments:
    """Sums over the cells of each unit.

    `n` (units) is the number of cells, `depth` (units × 2) holds the sums of their libraries and of the squares,
    `sums` the arrays (units × genes): over all cells the counts `count`, their squares `square`, counts times library
    `by_library`, cells with a count `detected` and counts per unit of library `share`; over the decoded cells, scaled
    up to all, `rho`, `mu`, `x` and their products `rho_rho`, `mu_mu`, `x_x`, `rho_mu`, `rho_x`, `mu_x` (of the
    posterior means of rho and mu), `rho_draws` (posterior mean of rho²) and `left_open` (variance of `rho` because not
    all were decoded).
    `largest` (units × genes) is the largest count of a single cell.
    """

    n: np.ndarray
    sums: dict[str, np.ndarray]
    largest: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True)
class Group:
    """Mean expression of a group, all arrays (genes,), natural logs.

    Attributes
    ----------
    log_mean
        Log of mean expression (a share of the library).
    variance
        Its sampling variance: other cells of the group, other counts in each.
    rate_dispersion
        Variance of the group's total count over its Poisson variance.
    exposure
        Total count expected per unit of expression.
    spread
        Squared coefficient of variation of expression between cells, beyond counting.
    drop
        How much lower the log mean would be without the cell that holds most of the gene's counts.
    count, detected, share
        Total count, share of cells with a count, mean count per unit of library.
    """

    n: float
    log_mean: np.ndarray
    variance: np.ndarray
    rate_dispersion: np.ndarray
    exposure: np.ndarray
    spread: np.ndarray
    drop: np.ndarray
    count: np.ndarray
    detected: np.ndarray
    share: np.ndarray

    def variance_if(self, lower: np.ndarray) -> np.ndarray:
        """Its variance where a conclusion would suffer from a lower mean (`lower`, genes), and where it would not.

        One cell can hold most of a gene's counts in a small group. The mean is then as uncertain as the cell is
        dispensable (jackknife), but on one side: other cells could hardly have made it higher.
        """
        return np.where(lower, np.maximum(self.variance, self.drop**2), self.variance)


_DECODED = ("rho", "mu", "x", "rho_rho", "mu_mu", "x_x", "rho_mu", "rho_x", "mu_x", "rho_draws")


@torch.no_grad()
def moments(model: LDVAE, cells: Cells, codes: np.ndarray, n_units: int, average: bool, seed: int) -> Moments:
    """Sums over the cells of each unit, each cell with the posterior means of its expression.

    Noise (where it is needed) and subset depend on seed and row only, so that a cell contributes the same to whichever
    group it is in.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU.
    cells
        Counts and posterior.
    codes
        Unit of each cell, -1 for none.
    n_units
        Number of units.
    average
        Take rho at the average of the covariates that are not the batch, else at the cell's own.
    seed
        Of subset and noise.
    """
    c = model.config
    counts = cells.counts
    rng = np.random.default_rng(seed)
    priority = rng.random(len(codes))
    noise = None if is_log_normal(model) else rng.standard_normal(cells.mean.shape, dtype=np.float32)
    taken = codes >= 0
    n = np.bincount(codes[taken], minlength=n_units).astype(float)
    sums, largest, of_library = counted(counts, codes, n_units)
    decoded = np.zeros((len(_DECODED), n_units, c.n_genes))
    expected = ExpectedExpression(model, cells, average)
    order = np.flatnonzero(taken)[np.lexsort((priority[taken], codes[taken]))]  # by unit, at random within
    within_unit = np.arange(len(order)) - (np.cumsum(n) - n).astype(int)[codes[order]]
    rows = order[within_unit < CELLS_DECODED]
    theta = model.log_theta.exp()
    kept = torch.sigmoid(-model.zero_logit) if c.gene_likelihood == "zinb" else None
    step = max(1, IN_CACHE // c.n_genes)
    for start in range(0, len(rows), step):
        place = start % (_BLOCKS * step)
        if place == 0:
            matrix = counts.matrix[rows[start : start + _BLOCKS * step]]
        block = rows[start : start + step]
        local, inverse = np.unique(codes[block], return_inverse=True)
        indicator = torch.from_numpy((inverse == np.arange(len(local))[:, None]).astype(np.float32))
        drawn = None if noise is None else noise[block]
        rho, squares, mu = expected(block, drawn)
        x = torch.from_numpy(matrix[place : place + step].toarray())
        library = torch.from_numpy(counts.lib_size[block].astype(np.float32))[:, None]
        mu = mu * (library if kept is None else library * kept)
        values = (rho, mu, x, rho * rho, mu * mu, x * x, rho * mu, rho * x, mu * x, squares)
        decoded[:, local] += torch.stack([indicator @ value for value in values]).double().numpy()
    sums |= dict(zip(_DECODED, decoded, strict=True))
    _scale_up(sums, n, np.bincount(codes[rows], minlength=n_units), counts.lib_size, codes, rows)
    if c.gene_likelihood != "poisson":
        sums["mu_mu_theta"] = sums["mu_mu"] / theta.double().numpy()
    else:
        sums["mu_mu_theta"] = np.zeros_like(sums["mu_mu"])
    return Moments(n, sums, largest, of_library)


def counted(counts: Counts, codes: np.ndarray, n_units: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """What the counts alone say of each unit: `sums`, `largest` and `depth` of `Moments`."""
    n_genes = counts.matrix.shape[1]
    # the last unit is of cells without one
    count, detected, share, square, by_library = (np.zeros((n_units + 1) * n_genes) for _ in range(5))
    largest = np.zeros(count.shape, np.float32)
    of_cell = np.where(codes >= 0, codes.astype(np.int64), n_units) * n_genes
    for rows in row_blocks(counts.matrix, max(_ENTRIES, len(count))):
        x = counts.matrix[rows]
        length = np.diff(x.indptr)
        place = np.repeat(of_cell[rows], length)
        place += x.indices
        count += np.bincount(place, x.data, len(count))
        detected += np.bincount(place, minlength=len(count))
        library = np.repeat(counts.lib_size[rows], length)
        share += np.bincount(place, x.data / library, len(count))
        square += np.bincount(place, x.data.astype(np.float64) ** 2, len(count))
        by_library += np.bincount(place, x.data * library, len(count))
        np.maximum(largest, _largest(place, x.data, len(count)), out=largest)
    sums = {"count": count, "detected": detected, "share": share, "square": square, "by_library": by_library}
    sums = {name: values.reshape(-1, n_genes)[:-1] for name, values in sums.items()}
    taken, library = codes >= 0, counts.lib_size
    of_library = [np.bincount(codes[taken], values[taken], n_units) for values in (library, library**2)]
    return sums, np.maximum(largest.reshape(-1, n_genes)[:-1], sums["detected"] > 0), np.stack(of_library, 1)


def with_genes(found: Moments, beyond: Counts, codes: np.ndarray) -> Moments:
    """The same with genes that the model does not know: their expression is taken to be the same in all cells."""
    n_units = len(found.n)
    sums, largest, of_library = counted(beyond, codes, n_units)
    n, library, squares = (np.broadcast_to(v[:, None], sums["count"].shape) for v in (found.n, *of_library.T))
    sums |= {
        "rho": n, "rho_rho": n, "rho_draws": n, "mu": library, "rho_mu": library, "mu_mu": squares,
        "x": sums["count"], "rho_x": sums["count"], "mu_x": sums["by_library"], "x_x": sums["square"],
        "left_open": 0 * n, "mu_mu_theta": 0 * n,
    }  # fmt: skip
    sums = {name: np.concatenate([values, sums[name]], axis=1) for name, values in found.sums.items()}
    return Moments(found.n, sums, np.concatenate([found.largest, largest], axis=1), found.depth)


def _largest(place: np.ndarray, value: np.ndarray, n: int) -> np.ndarray:
    """The largest of the counts at each of n places; a count of 1 is not looked at: most are, and `detected` knows."""
    out = np.zeros(n, np.float32)
    place, value = place[value > 1], value[value > 1]
    for small in range(2, 9):  # written one after the other, far faster than compared
        out[place[value == small]] = small
    np.maximum.at(out, place[value > 8], value[value > 8])
    return out


def _scale_up(
    sums: dict[str, np.ndarray],
    n: np.ndarray,
    decoded: np.ndarray,
    library: np.ndarray,
    codes: np.ndarray,
    rows: np.ndarray,
) -> None:
    """From the decoded cells of a unit to all of them; expected counts in proportion to the library, not the number."""
    n_units = len(n)
    taken = codes >= 0
    every = np.bincount(codes[taken], library[taken], n_units)
    n, decoded = np.maximum(n, 1), np.maximum(decoded, 1)  # of units without cells every sum is 0
    by_cells = n / decoded
    by_library = every / np.maximum(np.bincount(codes[rows], library[rows], n_units), 1e-300)
    squares = np.bincount(codes[taken], library[taken] ** 2, n_units)
    spread = squares * n / np.maximum(every, 1e-100) ** 2 - 1  # squared coefficient of variation of libraries
    # what is lost is only how expression and library go together in the cells that were not decoded
    variance = sums["rho_rho"] / decoded[:, None] - (sums["rho"] / decoded[:, None]) ** 2
    sums["left_open"] = (n**2 * spread * (1 / decoded - 1 / n))[:, None] * np.maximum(variance, 0)
    for name in _DECODED:
        sums[name] *= by_cells[:, None]
    sums["mu"] *= (by_library / by_cells)[:, None]


def _spread(s: dict[str, np.ndarray], library: np.ndarray) -> np.ndarray:
    """Squared coefficient of variation of expression between cells, from counts, drawn towards the median gene's."""
    total, squares = library
    rate = s["count"] / max(total, 1e-300)
    residual = s["square"] - 2 * rate * s["by_library"] + rate**2 * squares
    raw = (residual - s["count"]) / np.maximum(rate**2 * squares, 1e-300)
    raw = np.where(s["count"] > 0, np.maximum(raw, 0.0), 0.0)
    typical = float(np.nan_to_num(weighted_median(raw, np.minimum(s["count"], 100.0)), nan=0.0))
    return np.asarray((s["count"] * raw + _DISPERSION_COUNTS * typical) / (s["count"] + _DISPERSION_COUNTS))


def pool(found: Moments, units: np.ndarray) -> Group:
    """Mean expression of the cells of some units together, and its sampling variance.

    The variance of the log mean is that of the model, for counts of given mean and for the mean over cells, times a
    dispersion: the ratio of the observed variance (of each cell's influence on the estimate) to the model's, drawn
    towards that of the median gene where there are few counts.
    """
    n = found.n[units].sum()
    s = {name: values[units].sum(0) for name, values in found.sums.items()}
    rho, mu, x = (np.maximum(s[name], 1e-30) for name in ("rho", "mu", "x"))
    log_mean = np.log(rho / n) + np.log((s["count"] + HALF_COUNT) / (mu + HALF_COUNT))
    of_cells = np.maximum(s["rho_draws"] / rho**2 - 1 / n, 0) * n / max(n - 1, 1) + s["left_open"] / rho**2
    expected = 1 / (s["count"] + HALF_COUNT) + s["mu_mu_theta"] / mu**2 + of_cells
    # squared influences (rho/sum rho - 1/n) + (x/sum x - mu/sum mu), summed over the cells
    observed = s["rho_rho"] / rho**2 + s["x_x"] / x**2 + s["mu_mu"] / mu**2 - 1 / n
    observed = observed + 2 * (s["rho_x"] / (rho * x) - s["rho_mu"] / (rho * mu) - s["mu_x"] / (mu * x))
    ratio = np.where(s["x"] > 0, np.maximum(observed, 0) * n / max(n - 1, 1) / expected, 0.0)
    if n == 1:
        ratio[:] = 1.0  # a single cell shows no spread: the model's
    typical = float(np.nan_to_num(weighted_median(ratio, np.minimum(s["count"], 100.0)), nan=1.0))
    dispersion = (s["count"] * ratio + _DISPERSION_COUNTS * typical) / (s["count"] + _DISPERSION_COUNTS)
    variance = np.maximum(dispersion, _LEAST_DISPERSION) * expected
    return Group(
        n=n,
        log_mean=log_mean,
        variance=variance,
        rate_dispersion=variance * (s["count"] + HALF_COUNT),
        exposure=mu * n / rho,
        spread=_spread(s, found.depth[units].sum(0)),
        count=s["count"],
        drop=np.log((s["count"] + HALF_COUNT) / (s["count"] - found.largest[units].max(0) + HALF_COUNT)),
        detected=s["detected"] / n,
        share=s["share"] / n,
    )
