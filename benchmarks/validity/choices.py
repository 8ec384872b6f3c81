"""Two choices that were made on data reported elsewhere, on data that had no part in them.

Section `choices`: the learning rate (held-out likelihood, as in `heldout`), and batches that start at their own means
(also: how far one factor tells a batch from the others; 0.5 is not at all).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata as ad
import heldout
import numpy as np
from rows import Row

import ldvae
from ldvae.fit import fitting as training

RATES = (0.005, 0.01, 0.02)
MOST_CELLS = 6000


def run(name: str, seed: int, data: Path | None = None) -> list[Row]:
    """Each learning rate, and the default without the start of batches at their means."""
    if data is None:
        adata = heldout.simulated(seed)
    else:
        adata = heldout.real(data, name)
        adata.obs["batch"] = ad.read_h5ad(data / name, backed="r").obs["batch"].reindex(adata.obs_names).astype(str)
        rows = np.sort(np.random.default_rng(seed).permutation(adata.n_obs)[:MOST_CELLS])
        adata = adata[rows].copy()
    parts = heldout.split(adata, seed)
    out = [
        Row(
            "choices",
            "held-out log-likelihood",
            name,
            f"learning rate {r:g}",
            seed,
            heldout.of_ldvae(*parts, learning_rate=r),
        )
        for r in RATES
    ]
    for method in ("batches start at their means", "batches start alike"):
        with alike(method == "batches start alike"):
            score = heldout.of_ldvae(*parts)
            fit = ldvae.fit_ldvae(adata, batch_key="batch", seed=0, progress=False, device="cpu")
        table = ldvae.associate_factors(fit, adata, key="batch")
        apart = table.loc[table["factor"] != "all", "auc"]
        out.append(Row("choices", "held-out log-likelihood", name, method, seed, score))
        largest = float(np.maximum(apart, 1 - apart).max())
        out.append(Row("choices", "largest AUROC of a batch by a factor", name, method, seed, largest))
    return out


@contextmanager
def alike(yes: bool) -> Iterator[None]:
    """Let batches start without effects of their own."""
    start = training._start
    if yes:
        training._start = lambda *arguments: (start(*arguments)[0], 0 * start(*arguments)[1])
    try:
        yield
    finally:
        training._start = start
