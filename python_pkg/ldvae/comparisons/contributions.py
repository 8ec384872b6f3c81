"""A difference between groups in log expression, split into what each factor contributes."""

from __future__ import annotations

import numpy as np
import torch

from ..fit.cells import Cells
from ..fit.expression import average_expression, batch_levels, latent_draw
from ..fit.posterior import linear_map, rebuild
from ..fit.record import Fit
from ..machine.memory import AT_A_TIME
from ..model.link import log_expression
from ..model.network import LDVAE
from ..stats.replicates import NotEnough, sample_design
from ..tables import LN2
from .batches import warn_apart
from .moments import CELLS_DECODED
from .observed import batch_sets, moved, registered, set_weights
from .plan import Comparison, Plan, leave_out

__all__ = ["contributions", "path_jacobian"]

_STEPS = 32  # of the path between two groups, by the midpoint rule; what it misses is in the row `remainder`


def contributions(
    fit: Fit, cells: Cells, plan: Plan, seed: int = 0
) -> tuple[list[Comparison], list[tuple[np.ndarray, np.ndarray]]]:
    """Comparisons, and contributions (rows × genes) and Jensen gap (genes) of each, in log2 units.

    Factor k contributes V_gk (mean score in group 1 - mean score in group 2), V centred over genes; for a non-linear
    decoder V is the decoder's Jacobian averaged along the straight line between the mean latent positions (integrated
    gradients). The last row is what belongs to no factor: for a linear decoder the change of the normaliser, the same
    for every gene; for a non-linear one also the curvature within the groups. Rows are the active factors, the others
    together if there are any, and the remainder; they sum to the difference in E[log2 rho].
    The Jensen gap is what the difference in log2 E[rho] has beyond that. With samples, the means of a group are means
    over its samples, compared as in `replicates.sample_design`. Where batches cannot be told from groups, the
    difference is the observed one (`observed`).

    References
    ----------
    Sundararajan, Taly & Yan (2017), Axiomatic attribution for deep networks. ICML.
    """
    model = rebuild(fit)
    units = _unit_means(model, cells, plan, seed)
    if cells.batch is not None:
        warn_apart(plan.apart(cells.batch), cells.batch)
    kept, out, refused = [], [], []
    for comparison in plan.comparisons:
        try:
            (z1, log1, of_mean1), (z2, log2, of_mean2) = _sides(units, plan, comparison)
        except NotEnough as error:
            refused.append(str(error))
            continue
        linear = model.config.decoder == "linear"
        jacobian = linear_map(model, cells.mean, cells.variance) if linear else path_jacobian(model, z2, z1)
        rotation, active = fit.factors["rotation"], fit.factors["active"]
        back = np.linalg.pinv(rotation)  # scores @ back = z - center
        scores = (z1 - z2) @ rotation
        loadings = (jacobian - jacobian.mean(0)) @ back.T / LN2
        by_factor = (loadings * scores).T
        total = (log1 - log2) / LN2
        remainder = total - by_factor.sum(0)
        kept.append(comparison)
        inactive = by_factor[~active].sum(0, keepdims=True) if not active.all() else by_factor[:0]
        rows = np.vstack([by_factor[active], inactive, remainder])
        out.append((rows, (of_mean1 - of_mean2) / LN2 - total))
    leave_out(refused, len(kept))
    return kept, out


def path_jacobian(model: LDVAE, start: np.ndarray, stop: np.ndarray, steps: int = _STEPS) -> np.ndarray:
    """Jacobian of log rho at the average batch (genes × K), averaged along the line between two points (midpoints)."""
    levels, weights = batch_levels(model)

    def log_rho(z: torch.Tensor) -> torch.Tensor:
        total = 0.0
        for design, weight in zip(levels, weights, strict=True):
            logits = model.decode(z[None], design[None])
            total = total + weight * log_expression(logits, model.config.closed)[0]
        return total  # type: ignore[return-value]

    mean = torch.zeros(model.config.n_genes, len(start))
    for i in range(steps):
        at = torch.from_numpy(start + (i + 0.5) / steps * (stop - start)).float()
        mean += torch.func.jacfwd(log_rho)(at).detach() / steps
    return mean.double().numpy()


@torch.no_grad()
def _unit_means(
    model: LDVAE, cells: Cells, plan: Plan, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells, and means of z, log rho and rho (at the average of the batches that groups link), of each unit."""
    rng = np.random.default_rng(seed)
    weights, shift, of_cell = [None], np.zeros((1, cells.mean.shape[1])), np.zeros(len(plan.codes), dtype=np.int64)
    if cells.batch is not None and (known := model.config.batch) is not None:
        sets = batch_sets(known, cells.batch, np.where(plan.codes < 0, -1, plan.group[plan.codes]))
        # and last the average batch, for cells of batches that the fit has not seen
        weights, shift = [*set_weights(model, sets), None], np.vstack([moved(model, cells, sets), shift])
        number = registered(known, cells.batch)
        of_cell = np.where(number >= 0, np.unique(sets, return_inverse=True)[1][number], len(weights) - 1)
    n_units, n_genes, width = len(plan.sample), model.config.n_genes, cells.mean.shape[1]
    n = np.bincount(plan.codes[plan.codes >= 0], minlength=n_units).astype(float)
    z_mean, log_mean, mean = np.zeros((n_units, width)), np.zeros((n_units, n_genes)), np.zeros((n_units, n_genes))
    step = max(1, AT_A_TIME // n_genes)
    for unit in range(n_units):
        rows = np.flatnonzero(plan.codes == unit)
        own = of_cell[rows].min()  # the batches of a unit are linked
        z_mean[unit] = shift[own]
        if len(rows) > CELLS_DECODED:
            rows = np.sort(rng.choice(rows, CELLS_DECODED, replace=False))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            noise = rng.standard_normal((len(block), width))
            for sign in (1.0, -1.0):
                z = latent_draw(model, cells, block, sign * noise)
                z_mean[unit] += z.double().sum(0).numpy() / (2 * len(rows))
                rho = average_expression(model, z, weights[own])
                mean[unit] += rho.double().sum(0).numpy() / (2 * len(rows))
                log_mean[unit] += rho.clamp(min=1e-30).log().double().sum(0).numpy() / (2 * len(rows))
    return n, z_mean, log_mean, mean


def _sides(units: tuple[np.ndarray, ...], plan: Plan, comparison: Comparison) -> list[list[np.ndarray]]:
    """Mean of z, mean of log rho and log of mean rho in both groups; with samples, the means of theirs."""
    groups = (comparison.units1, comparison.units2)
    if not plan.samples:
        return [_pooled(units, group) for group in groups]
    own = [plan.samples_of(group, units[0]) for group in groups]
    values = [np.concatenate(_pooled(units, u)) for samples in own for u in samples.values()]
    x = np.repeat([1.0, 0.0], [len(samples) for samples in own])
    names = [plan.samples[s] for samples in own for s in samples]
    weights = sample_design(x, names, names=(comparison.group1, comparison.group2)).weights
    ends = np.cumsum([values.shape[1] for values in units[1:-1]])
    second = np.mean(np.array(values)[x == 0], axis=0)
    return [np.split(at, ends) for at in (second + weights @ np.array(values), second)]


def _pooled(units: tuple[np.ndarray, ...], group: np.ndarray) -> list[np.ndarray]:
    weight = units[0][group] / units[0][group].sum()
    z, log, mean = (weight @ values[group] for values in units[1:])
    return [z, log, np.log(mean)]
