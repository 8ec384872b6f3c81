"""The same cells trained with other seeds: the same factors, the same programs, the same first genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from recovery import SIZE
from rows import Row, share
from scipy.optimize import linear_sum_assignment

import ldvae

N_FITS = 5


def run(seed: int) -> list[Row]:
    """Every pair of fits with neighbouring seeds."""
    adata = ldvae.simulate_counts(**SIZE, amplitude=0.8, seed=seed)
    fits = [ldvae.fit_ldvae(adata, batch_key="batch", seed=s, progress=False, device="cpu") for s in range(N_FITS)]
    setting = "1 shared, amplitude 0.8"
    rows = []
    loadings, programs = [], []
    for s, fit in enumerate(fits):
        active = ldvae.get_factors(fit)["active"].to_numpy()
        rows.append(Row("stability", "active factors", setting, "ldvae", s, active.sum()))
        loadings.append(ldvae.get_loadings(fit).set_index("gene").to_numpy())
        table = ldvae.population_loadings(fit, adata, groupby="population", kind="specific")
        programs.append({name: part.set_index("gene") for name, part in table.groupby("population")})
        del fit
    for s in range(N_FITS):
        other = (s + 1) % N_FITS
        match = matched(loadings[s], loadings[other])
        rows.append(
            share("stability", "factors matched at |r| >= .95", setting, "ldvae", s, (match >= 0.95).sum(), len(match))
        )
        rows.append(Row("stability", "median |r| of matched factors", setting, "ldvae", s, float(np.median(match))))
        rows.append(Row("stability", "lowest |r| of matched factors", setting, "ldvae", s, float(match.min())))
        correlation, overlap = [], []
        for name in set(programs[s]) & set(programs[other]):
            both = programs[s][name].join(programs[other][name], lsuffix="_1", rsuffix="_2", how="inner")
            correlation.append(abs(np.corrcoef(both["loading_1"], both["loading_2"])[0, 1]))
            overlap.append(len(first(programs[s][name]) & first(programs[other][name])))
        rows.append(Row("stability", "lowest |r| of specific programs", setting, "ldvae", s, min(correlation)))
        rows.append(Row("stability", "lowest overlap of the first 20 genes", setting, "ldvae", s, min(overlap)))
    return rows


def first(program: pd.DataFrame, n: int = 20) -> set[str]:
    """The first genes by rank."""
    return set(program.nsmallest(n, "rank").index)


def matched(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|r| of the columns of the smaller set, each with its partner in the other (assignment of largest sum)."""
    small, large = sorted((a, b), key=lambda m: m.shape[1])
    r = np.abs(np.corrcoef(small.T, large.T)[: small.shape[1], small.shape[1] :])
    return r[linear_sum_assignment(-r)]
