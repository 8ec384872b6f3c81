"""Paired timings in one process, counts to time them on, and rows of one table."""

from __future__ import annotations

import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp


class Row(NamedTuple):
    """One measured number; `low` and `high` are the smallest and largest of the repeats."""

    section: str
    measure: str
    setting: str
    value: float
    unit: str
    low: float = float("nan")
    high: float = float("nan")


def paired(ours: Callable[[], float], theirs: Callable[[], float], repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each, one after the other, so that both meet the same machine."""
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    return tuple(np.array(pairs).T)  # type: ignore[return-value]


def spread(section: str, measure: str, setting: str, values: Any, unit: str) -> Row:
    """Median with range."""
    return Row(section, measure, setting, float(np.median(values)), unit, float(np.min(values)), float(np.max(values)))


def timed(work: Callable[..., Any], *arguments: Any, **settings: Any) -> tuple[float, Any]:
    """Wall time of one call, and what it returned."""
    start = time.perf_counter()
    found = work(*arguments, **settings)
    return time.perf_counter() - start, found


def counts(n_cells: int, n_genes: int, library: float, n_groups: int = 8, seed: int = 0) -> ad.AnnData:
    """Counts with groups (markers of each) and two batches; `library` sets the density. Quick also for many cells."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1.6, n_genes)
    group = rng.integers(n_groups, size=n_cells)
    markers = rng.normal(0, 0.7, (n_groups, n_genes)) * (rng.random((n_groups, n_genes)) < 0.1)
    mean = np.exp(base + markers)
    mean /= mean.sum(1, keepdims=True)
    parts = []
    for start in range(0, n_cells, 10_000):
        g = group[start : start + 10_000]
        depth = library * rng.lognormal(0, 0.35, len(g))
        # as many draws as there are counts: each count falls on a gene
        total = rng.poisson(depth)
        cell = np.repeat(np.arange(len(g)), total)
        gene = np.empty(len(cell), np.int32)
        for k in range(n_groups):
            here = g[cell] == k
            gene[here] = rng.choice(n_genes, here.sum(), p=mean[k])
        ones = np.ones(len(cell), np.float32)
        parts.append(sp.coo_matrix((ones, (cell, gene)), (len(g), n_genes)).tocsr())
    obs = pd.DataFrame(
        {
            "group": pd.Categorical([f"P{k}" for k in group]),
            "batch": pd.Categorical.from_codes(rng.integers(2, size=n_cells), ["b0", "b1"]),
        },
        index=[f"C{i}" for i in range(n_cells)],
    )
    return ad.AnnData(sp.vstack(parts, format="csr"), obs, pd.DataFrame(index=[f"G{j}" for j in range(n_genes)]))


def peak_megabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def quiet() -> Iterator[None]:
    """scvi-tools says much."""
    os.environ["TQDM_DISABLE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
