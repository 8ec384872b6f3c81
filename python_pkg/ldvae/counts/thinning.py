"""Every count of a matrix in two independent parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .. import checks
from .reader import Counts

__all__ = ["thinned"]


def thinned(
    obs: pd.DataFrame, var: pd.DataFrame, counts: Counts, theta: np.ndarray, share: float, seed: int
) -> tuple[AnnData, AnnData]:
    """Counts in two parts, cells without a count in one of them left out.

    Negative binomial counts of inverse dispersion `theta` (genes; infinite: Poisson) are split by a beta-binomial draw
    with parameters `share` theta and (1 - `share`) theta.
    """
    rng = np.random.default_rng(seed)
    x, p = counts.matrix, np.full(counts.matrix.nnz, share)
    of_entry = theta[x.indices]
    finite = np.isfinite(of_entry)
    p[finite] = rng.beta(share * of_entry[finite], (1 - share) * of_entry[finite])
    first = rng.binomial(x.data.astype(np.int64), p).astype(np.float32)
    parts = [sp.csr_matrix((data, x.indices.copy(), x.indptr.copy()), x.shape) for data in (first, x.data - first)]
    for part in parts:
        part.eliminate_zeros()
    kept = np.logical_and(*(part.getnnz(axis=1) > 0 for part in parts))
    if not kept.any():
        raise ValueError("No cell has counts in both parts; split more counts, or more evenly (`share`).")
    if not kept.all():
        checks.warn(f"{int((~kept).sum())} cells have no count in one of the parts, and are left out of both.")
    one, two = (AnnData(part[kept], obs=obs[kept].copy(), var=var.copy()) for part in parts)
    return one, two
