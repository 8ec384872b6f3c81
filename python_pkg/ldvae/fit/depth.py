"""Library sizes of cells that a fit is asked about, also where an object was cut to some of its genes."""

from __future__ import annotations

import numpy as np
import torch

from ..checks import warn
from ..counts.reader import Counts
from ..model.link import log_expression
from .posterior import rebuild
from .record import Fit

__all__ = ["known_cells", "library_of", "share_of_genes"]

_CELLS = 500  # whose expected share of the library is looked at
_LOST = 0.02  # by how much the share of the fit's genes is larger where an object has lost others
_NEAR = 0.1  # how far the counts of known cells may be from what the fit expects of them, in all
_SPREAD = 0.15  # and how much that may differ between cells (median deviation, log), beside libraries that differ more
_ALL = 0.9999  # of the counts, if the object has no other genes
_MORE = 1.1  # times the largest share of the library that the fit's genes have in training cells


def known_cells(fit: Fit, counts: Counts, of_fit: np.ndarray, there: np.ndarray) -> bool:
    """Whether all cells are training cells (numbers `of_fit`, -1: unknown) with the counts that they had.

    Their library sizes are the same, or else the object has lost genes, and the counts of those that the fit models
    (`there`: which are left) are what the fit expects of these cells at their library sizes of then.
    """
    if (of_fit < 0).any():
        return False
    library = fit.lib_size[of_fit]
    if there.all() and np.allclose(counts.lib_size, library):
        return True
    if (counts.lib_size > library * (1 + 1e-6)).any():
        return False
    rows = _some(len(of_fit))
    modelled = np.asarray(counts.matrix[rows].sum(axis=1), dtype=np.float64).ravel()
    share = _shares(fit, of_fit[rows])[:, there].sum(1)
    if there.all() and np.median(modelled / counts.lib_size[rows] / share) < 1 + _LOST:
        return False  # no genes were lost: these are other counts
    ratio = np.log(np.maximum(modelled, 0.5) / (library[rows] * share))
    spread = min(_SPREAD, 0.5 * _deviation(np.log(library[rows])))
    return bool(abs(np.median(ratio)) < _NEAR and _deviation(ratio) < spread)


def library_of(fit: Fit, counts: Counts, there: np.ndarray) -> np.ndarray:
    """Library sizes over all genes, of which a fit models some, of cells that it has not seen.

    What genes that the object lacks would have had is added on average.

    Raises
    ------
    ValueError
        If the object was cut to genes of the fit, so that nobody can tell.
    """
    of_training = _shares(fit, _some(len(fit.cells)))
    modelled = np.asarray(counts.matrix.sum(axis=1), dtype=np.float64).ravel()
    now, then = float(np.median(modelled / counts.lib_size)), of_training[:, there].sum(1)
    if now > min(_MORE * then.max(), _ALL):
        seems = (
            f"`adata` seems to be cut to some genes: those of the fit have {now:.0%} of its counts, and "
            f"{np.median(then):.0%} of those in the fit. Library sizes are over all genes: give the object before it "
            "was cut (layer='raw' if adata.raw has it), or fit with `size_factor_key`."
        )
        if now > min((1 + then.max()) / 2, _ALL):
            raise ValueError(seems)
        warn(seems)
    return np.asarray(counts.lib_size / (1 - of_training[:, ~there].sum(1).mean()))


def share_of_genes(fit: Fit, there: np.ndarray) -> float:
    """Average share of the fit's expression that some of its genes have."""
    shares = _shares(fit, _some(len(fit.cells)))
    return float((shares[:, there].sum(1) / shares.sum(1)).mean())


def _some(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, _CELLS)).astype(int))


@torch.no_grad()
def _shares(fit: Fit, rows: np.ndarray) -> np.ndarray:
    """Share of the library that each gene is expected to have in training cells (cells × genes), average batch."""
    model = rebuild(fit)
    z = model.latent(torch.from_numpy(fit.latent_mean[rows]))
    logits = model.decode(z, torch.zeros(len(rows), fit.config.n_design))
    return np.asarray(log_expression(logits, fit.config.closed).exp().double().numpy())


def _deviation(values: np.ndarray) -> float:
    return float(np.median(np.abs(values - np.median(values))))
