"""On a CUDA device: a fit of a million cells to convergence, how busy the device is, a step against LinearSCVI."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from timing import Row, counts, timed
from torch.profiler import ProfilerActivity, profile
from training import epoch, scvi_epoch

import ldvae
from ldvae.counts.minibatches import SparseCounts


def run(n_cells: int = 1_000_000, n_genes: int = 2_000, device: str = "cuda") -> list[Row]:
    """All of it."""
    name = torch.cuda.get_device_name() if device == "cuda" else device
    name += f", {os.cpu_count()} cores, torch {torch.__version__}"
    setting = f"{n_cells:,} × {n_genes:,}, 20 groups, {name}"
    adata = counts(n_cells, n_genes, 150.0, 20)
    small = adata[: min(n_cells, 20_000)].copy()
    ldvae.fit_ldvae(small, batch_key="batch", max_epochs=1, progress=False, device=device)  # what is loaded once
    took, fit = timed(ldvae.fit_ldvae, adata, batch_key="batch", progress=False, device=device)
    reached = float(np.nanmax(fit.history["elbo_validation"]))
    rows = [
        Row("GPU", "seconds, fit to convergence", setting, took, "s"),
        Row("GPU", "held-out ELBO", setting, reached, "nats per cell"),
        Row("GPU", "epochs", setting, len(fit.history["epoch"]), ""),
    ]
    took, _ = timed(ldvae.differential_expression, fit, adata, groupby="group")
    rows.append(Row("GPU", "seconds, differential expression of all groups (CPU)", setting, took, "s"))
    ours = small.n_obs / epoch(small, device=device)
    at = f"{small.n_obs:,} × {n_genes:,}, minibatch 128, {name}"
    rows.append(Row("GPU", "cells per second, ldvae", at, ours, "1/s"))
    with patch.object(SparseCounts, "recordable", False):
        rows.append(Row("GPU", "the same without a graph", at, small.n_obs / epoch(small, device=device), "1/s"))
    rows.append(Row("GPU", "the same on the CPU", at, small.n_obs / epoch(small), "1/s"))
    if find_spec("scvi") is not None:
        theirs = small.n_obs / scvi_epoch(small, device)
        rows.append(Row("GPU", "cells per second, LinearSCVI", at, theirs, "1/s"))
        rows.append(Row("GPU", "times as fast on a GPU as LinearSCVI", at, ours / theirs, "×"))
    if device == "cuda":
        rows.append(Row("GPU", "share of an epoch in which the device is busy", at, busy(small), ""))
    return rows


def busy(adata: Any) -> float:
    """Kernel time over wall time of an epoch."""
    epoch(adata, 1, "cuda")
    with profile(activities=[ProfilerActivity.CUDA]) as watched:
        took = epoch(adata, 2, "cuda")  # one epoch to warm up, and two
    kernels = sum(event.self_device_time_total for event in watched.key_averages())
    return kernels / 1e6 / (3 * took)
