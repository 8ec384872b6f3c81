"""How time and memory of a fit and of the questions grow with cells, genes, factors and groups."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from timing import Row, counts, timed

import ldvae

# what varies, beside 10,000 cells × 1,000 genes, 30 factors, 8 groups
VARIED = {
    "n_cells": (1_000, 3_000, 10_000, 30_000, 100_000),
    "n_genes": (500, 1_000, 2_000, 4_000),
    "n_latent": (5, 10, 20, 40),
    "n_groups": (2, 5, 10, 20),
}
USUAL = {"n_cells": 10_000, "n_genes": 1_000, "n_latent": 30, "n_groups": 8}

MEMORY = """
import ctypes, json, sys
sys.path.insert(0, sys.argv[1])
from timing import counts
import ldvae
small = counts(500, 2000, 300.0)
ldvae.fit_ldvae(small, max_epochs=1, progress=False, device="cpu")  # libraries and their caches
n = int(sys.argv[2])
adata = counts(n, 2000, 300.0)
matrix = adata.X
csr = (matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes) / 2**20
ctypes.CDLL(None).malloc_trim(0)  # what making the counts has left would be used again
now = int([l for l in open("/proc/self/status") if l.startswith("VmRSS")][0].split()[1]) / 1024
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
ldvae.fit_ldvae(adata, max_epochs=1, progress=False, device="cpu")
top = int([l for l in open("/proc/self/status") if l.startswith("VmHWM")][0].split()[1]) / 1024
print(json.dumps({"csr": csr, "more": top - now}))
"""

DISK = """
import ctypes, json, sys, tempfile, threading, time
sys.path.insert(0, sys.argv[1])
import anndata as ad
from timing import counts
import ldvae
from ldvae.machine import sparse as store

def anonymous():
    return int([l for l in open("/proc/self/status") if l.startswith("RssAnon")][0].split()[1]) / 1024

def watched(work):
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be used again
    top, done = [anonymous()], threading.Event()
    def watch():
        while not done.wait(0.02):
            top[0] = max(top[0], anonymous())
    thread = threading.Thread(target=watch)
    before, start = anonymous(), time.perf_counter()
    thread.start()
    out = work()
    took = time.perf_counter() - start
    done.set()
    thread.join()
    return out, took, top[0] - before

fit = lambda x: ldvae.fit_ldvae(x, batch_key="batch", max_epochs=2, batch_size=128, progress=False, device="cpu")
fit(counts(500, 2000, 300.0))
adata = counts(int(sys.argv[2]), 2000, 300.0)
with tempfile.TemporaryDirectory() as folder:
    adata.write_h5ad(folder + "/x.h5ad")
    fit(adata)  # memory that is freed is used again
    _, memory, _ = watched(lambda: fit(adata))
    del adata
    store._SHARE = 0.0  # as if nothing were free
    backed = ad.read_h5ad(folder + "/x.h5ad", backed="r")
    found, disk, more = watched(lambda: fit(backed))
    _, _, more_de = watched(lambda: ldvae.differential_expression(found, backed, groupby="group"))
print(json.dumps({"ratio": memory / disk, "fit": more, "de": more_de}))
"""


def run() -> list[Row]:
    """Seconds along each axis, with the fitted exponent."""
    torch.set_num_threads(2)
    rows = []
    ldvae.fit_ldvae(counts(1_000, 500, 75.0), max_epochs=1, progress=False, device="cpu")  # what a first fit loads
    for axis, values in VARIED.items():
        found: dict[str, list[float]] = {"one epoch": [], "differential expression": [], "between": []}
        for value in values:
            now = USUAL | {axis: value}
            adata = counts(now["n_cells"], now["n_genes"], 0.15 * now["n_genes"], now["n_groups"])
            settings = {"n_latent": now["n_latent"], "batch_size": 128, "progress": False, "device": "cpu"}
            took, fit = timed(ldvae.fit_ldvae, adata, batch_key="batch", max_epochs=1, **settings)
            found["one epoch"].append(took)
            ask = {"groupby": "group"}
            found["differential expression"].append(timed(ldvae.differential_expression, fit, adata, **ask)[0])
            found["between"].append(timed(ldvae.population_loadings, fit, adata, kind="between", **ask)[0])
        for what, times in found.items():
            rows += [Row("growth", what, f"{axis} {v:,}", t, "s") for v, t in zip(values, times, strict=True)]
            exponent = np.polyfit(np.log(values[-3:]), np.log(times[-3:]), 1)[0]
            rows.append(Row("growth", f"exponent of {what} in {axis}", "last three", float(exponent), ""))
    return rows


def _alone(code: str, n_cells: int) -> dict[str, float]:
    """What code prints last, run in a process of its own."""
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(n_cells)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def memory() -> list[Row]:
    """Memory that a fit takes beyond the data, over the size of the counts; in a process of its own (Linux)."""
    rows, sizes = [], (20_000, 100_000)
    found = [_alone(MEMORY, n_cells) for n_cells in sizes]
    for n_cells, one in zip(sizes, found, strict=True):
        setting = f"{n_cells:,} × 2,000 ({one['csr']:.0f} MB of counts)"
        rows.append(Row("memory", "a fit takes beside the counts it is given", setting, one["more"], "MB"))
    more, counts = (found[1][what] - found[0][what] for what in ("more", "csr"))
    rows.append(Row("memory", "peak per byte of counts, beside a constant", "between these", 1 + more / counts, "×"))
    return rows


def disk() -> list[Row]:
    """Counts that stay on disk: speed beside the same counts in memory, and memory that is not the file's (Linux)."""
    rows = []
    for n_cells in (20_000, 80_000):
        found = _alone(DISK, n_cells)
        setting = f"{n_cells:,} × 2,000, reading and writing the counts included"
        rows.append(Row("disk", "speed of two epochs from disk over memory", setting, found["ratio"], "×"))
        rows.append(Row("disk", "memory of a fit from disk", setting, found["fit"], "MB"))
        rows.append(Row("disk", "memory of differential expression from disk", setting, found["de"], "MB"))
    return rows
