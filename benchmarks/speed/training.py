"""The training step against LinearSCVI, and the time until a fully trained LinearSCVI is reached."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Row, counts, paired, quiet, spread, timed

from ldvae.counts.minibatches import SparseCounts
from ldvae.counts.reader import read_counts
from ldvae.machine.arithmetic import sparse_product
from ldvae.model.config import Config
from ldvae.model.schedule import schedule_for
from ldvae.model.training import train

sys.path.insert(0, str(Path(__file__).parents[1] / "validity"))
import heldout

REPEATS = 3
LIBRARY = {"17 % of entries": 600.0, "5 % of entries": 125.0}


def step(threads: int) -> list[Row]:
    """Cells per second of one epoch: batch 128, 128 hidden units, 10 factors, 20,000 cells × 2,000 genes."""
    torch.set_num_threads(threads)
    rows = []
    for density, library in LIBRARY.items():
        adata = counts(20_000, 2_000, library)
        share = adata.X.nnz / np.prod(adata.shape)
        ours, theirs = paired(lambda adata=adata: epoch(adata), lambda adata=adata: scvi_epoch(adata), REPEATS)
        setting = f"{density} ({100 * share:.1f}), threads: {threads}"
        rows += [
            spread("training", "cells per second, ldvae", setting, adata.n_obs / ours, "1/s"),
            spread("training", "cells per second, LinearSCVI", setting, adata.n_obs / theirs, "1/s"),
            spread("training", "times as fast as LinearSCVI", setting, theirs / ours, "×"),
        ]
    return rows


def epoch(adata: Any, n_epochs: int = 2, device: str = "cpu") -> float:
    """Seconds of one epoch of ldvae, all that `train` does included, after one that warms up."""
    read = read_counts(adata, layer=None, genes=None, size_factor_key=None)
    design = np.zeros((adata.n_obs, 0), np.float32)
    data = SparseCounts(read.matrix, read.lib_size, design, torch.device(device))
    config = Config(n_genes=adata.n_vars, n_latent=10)
    for epochs in (1, n_epochs):
        took, _ = timed(
            train, config, data, schedule_for(adata.n_obs, 128, epochs, 1e-3), validation_size=0.0,
            mean_expression=np.full(adata.n_vars, 1 / adata.n_vars), design_effect=np.zeros((0, adata.n_vars)),
            early_stopping=False, seed=0, progress=False,
        )  # fmt: skip
    return took / n_epochs


def floor(repeats: int = 200) -> list[Row]:
    """What a step cannot do without, each part alone and warm on one thread: how far is the step from their sum?

    Two sparse products of the first layer, three of the decoder; per entry of cells × genes an exp, a log, a division
    and five sweeps that add or multiply; Adam over all parameters.
    """
    torch.set_num_threads(1)
    rows = []
    n, n_genes, n_hidden, k = 128, 2_000, 128, 10
    for density, library in LIBRARY.items():
        adata = counts(20_000, n_genes, library)
        x, turned = (
            [torch.from_numpy(a) for a in (m.data, m.indices, m.indptr)] for m in (adata.X[:n], adata.X[:n].T.tocsr())
        )
        weight, hidden = (torch.rand(shape) for shape in ((n_genes, n_hidden), (n, n_hidden)))
        a, b, out = (torch.rand(n, n_genes) + 0.1 for _ in range(3))
        z, loadings = torch.rand(n, k), torch.rand(n_genes, k)
        parameter = torch.nn.Parameter(torch.rand(n_genes * n_hidden + 2 * n_genes * k))
        parameter.grad = torch.rand_like(parameter)
        adam = torch.optim.Adam([parameter], fused=True)
        parts = {
            "first layer": lambda x=x, t=turned, w=weight, h=hidden: (sparse_product(*x, w), sparse_product(*t, h)),
            "decoder": lambda z=z, a=a, w=loadings: (z @ w.T, w.T @ a.T, z.T @ a),
            "exp": lambda a=a: torch.softmax(a, -1),
            "log": lambda a=a, out=out: np.log(a.numpy(), out=out.numpy()),
            "division": lambda a=a, b=b, out=out: torch.div(a, b, out=out),
            "sweeps": lambda a=a, b=b, out=out: [torch.add(a, b, out=out) for _ in range(5)],
            "Adam": adam.step,
        }
        alone = {}
        for name, work in parts.items():
            work()
            alone[name] = min(timed(lambda work=work: [work() for _ in range(repeats // 10)])[0] for _ in range(10))
        least = 1e3 * sum(alone.values()) / (repeats // 10)
        step_ms = 1e3 * n * epoch(adata, 1) / adata.n_obs
        setting = f"{density}, threads: 1"
        each = {name: 1e3 * took / (repeats // 10) for name, took in alone.items()}
        rows += [Row("floor", f"milliseconds, {name} alone", setting, took, "ms") for name, took in each.items()]
        rows += [
            Row("floor", "milliseconds, all of these", setting, least, "ms"),
            Row("floor", "milliseconds, a step", setting, step_ms, "ms"),
            Row("floor", "a step over its floor", setting, step_ms / least, "×"),
        ]
    return rows


def scvi_epoch(adata: Any, device: str = "cpu") -> float:
    """Seconds of the second epoch of LinearSCVI as its trainer counts them, without what comes before and after."""
    import time

    import lightning.pytorch as pl
    import scvi

    class Clock(pl.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            self.start = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.took = time.perf_counter() - self.start

    clock, threads = Clock(), torch.get_num_threads()
    with quiet():
        scvi.settings.verbosity = 40
        data = adata.copy()
        scvi.model.LinearSCVI.setup_anndata(data)
        model = scvi.model.LinearSCVI(data, n_latent=10)
        torch.set_num_threads(threads)
        model.train(
            max_epochs=2, accelerator="gpu" if device == "cuda" else device, train_size=1.0, batch_size=128,
            callbacks=[clock], logger=False, enable_progress_bar=False,
        )  # fmt: skip
    return clock.took


def quality(data: Path | None) -> list[Row]:
    """Wall time to the held-out likelihood of LinearSCVI after its default 400 epochs."""
    torch.set_num_threads(1)
    sets = {"simulated, seed 501": heldout.simulated(501)}
    if data:
        sets["pbmc3k.h5ad"] = heldout.real(data, "pbmc3k.h5ad")
    rows = []
    for name, adata in sets.items():
        parts = heldout.split(adata, 501)
        theirs, wanted = timed(heldout.of_scvi, "LinearSCVI", *parts)
        rows.append(Row("quality", "seconds of LinearSCVI, 400 epochs", name, theirs, "s"))
        rows.append(Row("quality", "held-out log-likelihood of LinearSCVI", name, wanted, "nats per cell"))
        default = schedule_for(round(0.9 * parts[0].n_obs), None, None, 1e-2).max_epochs
        for n_epochs in sorted({4, 8, 16, default}):
            ours, reached = timed(heldout.of_ldvae, *parts, max_epochs=n_epochs)
            rows.append(Row("quality", f"seconds of ldvae, {n_epochs} epochs", name, ours, "s"))
            rows.append(Row("quality", f"held-out, ldvae, {n_epochs} epochs", name, reached, "nats per cell"))
            if reached >= wanted:
                break
        ratio = theirs / ours if reached >= wanted else 0.0  # not reached at all
        rows.append(Row("quality", "times as fast to LinearSCVI's likelihood", name, ratio, "×"))
    return rows
