"""Differential expression between random pairs of cells, as scvi-tools defines it in its `change` mode."""

from __future__ import annotations

import numpy as np
import torch

from ..fit.cells import Cells
from ..fit.expression import batch_levels, latent_draw
from ..machine.memory import AT_A_TIME
from ..machine.sparse import sums_of_rows
from ..model.link import LOG_RHO_MAX
from ..model.network import LDVAE

__all__ = ["change_statistics", "compare_pairs", "pseudocount"]

_RARE = 0.01  # mean count below which a gene tells what the decoder calls zero


@torch.no_grad()
def compare_pairs(
    model: LDVAE,
    cells: Cells,
    rows1: np.ndarray,
    rows2: np.ndarray,
    *,
    delta: float,
    batch_correction: bool,
    n_samples: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Statistics of log2(rho1 + c) - log2(rho2 + c) over random pairs of cells, one of each group.

    Each pair is one draw of z per cell, decoded in the same batch for both (the registered batches take equal turns)
    or, without `batch_correction`, each in its own. Expression is decoded twice in blocks of genes, first for the
    normaliser, so that memory does not grow with the number of genes.

    Parameters
    ----------
    model, cells
        The model and the posterior of all cells.
    rows1, rows2
        Row numbers of the two groups.
    delta
        Log2 fold change from which a change counts.
    batch_correction
        Decode both cells of a pair in the same batch.
    n_samples
        Number of pairs.
    rng
        Chooses cells and draws.

    Returns
    -------
    dict of np.ndarray
        The statistics of `change_statistics` and `mean1`, `mean2` (expression per 10,000), each (genes,).

    References
    ----------
    Boyeau et al. (2023), An empirical Bayes method for differential expression analysis of single cells with deep
    generative models. PNAS 120(21).
    """
    shared, _ = batch_levels(model)
    turn = np.arange(n_samples) % len(shared)
    sides = []
    for rows in (rows1, rows2):
        chosen = rng.choice(rows, n_samples)
        z = latent_draw(model, cells, chosen, rng.standard_normal((n_samples, cells.mean.shape[1])))
        design = shared[turn] if batch_correction else torch.from_numpy(cells.design[chosen])
        sides.append(_Decoded(model, z, design))
    rare = [_mean_count(cells, rows) < _RARE for rows in (rows1, rows2)]
    n_genes = model.config.n_genes
    c = max(pseudocount(side.maximum(np.flatnonzero(r)), n_genes) for side, r in zip(sides, rare, strict=True))
    parts = []
    step = max(1, AT_A_TIME // n_samples)
    for start in range(0, n_genes, step):
        genes = np.arange(start, min(start + step, n_genes))
        parts.append(change_statistics(sides[0].expression(genes), sides[1].expression(genes), c, delta))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def pseudocount(largest: np.ndarray, n_genes: int) -> float:
    """What is added to expression: from the largest draws of the genes that a group does not express."""
    return max(1e-10, (float(np.quantile(largest, 0.9)) if len(largest) else 1e-10) / n_genes)


def change_statistics(rho1: np.ndarray, rho2: np.ndarray, c: float, delta: float) -> dict[str, np.ndarray]:
    """Summaries of the log2 fold changes of pairs (draws × genes each).

    The three-way test: `proba_de` is the larger of the shares of pairs with a change of at least `delta` and below
    `-delta`.
    """
    change = np.log2(rho1 + c) - np.log2(rho2 + c)
    lower, median, upper = np.quantile(change, [0.025, 0.5, 0.975], axis=0)
    up, down = (change >= delta).mean(0), (change < -delta).mean(0)
    return {
        "proba_de": np.maximum(up, down),
        "lfsr": 1 - np.maximum((change > 0).mean(0), (change < 0).mean(0)),
        "lfc_mean": change.mean(0),
        "lfc_median": median,
        "lfc_std": change.std(0),
        "lfc_lower": lower,
        "lfc_upper": upper,
        "mean1": 1e4 * rho1.mean(0),
        "mean2": 1e4 * rho2.mean(0),
    }


class _Decoded:
    """Expression of some draws of z, gene by gene on demand."""

    def __init__(self, model: LDVAE, z: torch.Tensor, design: torch.Tensor) -> None:
        self.model, self.design, self.closed = model, design, model.config.closed
        self.features = model.features(z, design)
        self.log_total = torch.zeros(len(z))
        if self.closed:
            step = max(1, AT_A_TIME // len(z))
            self.log_total = torch.full((len(z),), -torch.inf)
            for start in range(0, model.config.n_genes, step):
                genes = np.arange(start, min(start + step, model.config.n_genes))
                self.log_total = torch.logaddexp(self.log_total, self._logits(genes).logsumexp(-1))

    def _logits(self, genes: np.ndarray) -> torch.Tensor:
        m, at = self.model, torch.from_numpy(genes)
        return m.intercept[at] + self.features @ m.loadings[at].T + self.design @ m.design_effect[:, at]

    def expression(self, genes: np.ndarray) -> np.ndarray:
        """Rho, draws × genes."""
        logits = self._logits(genes)
        log_rho = logits - self.log_total[:, None] if self.closed else logits.clamp(max=LOG_RHO_MAX)
        return log_rho.exp().double().numpy()

    def maximum(self, genes: np.ndarray) -> np.ndarray:
        """The largest rho of each gene over the draws."""
        step = max(1, AT_A_TIME // len(self.features))
        parts = [self.expression(genes[i : i + step]).max(0) for i in range(0, len(genes), step)]
        return np.concatenate(parts) if parts else np.zeros(0)


def _mean_count(cells: Cells, rows: np.ndarray) -> np.ndarray:
    weight = np.zeros((len(cells.mean), 1))
    weight[rows] = 1 / len(rows)
    return sums_of_rows(cells.counts.matrix, weight)[0]
