"""Run everything and write rows.csv, table.md and figure.png: `make validity`, or with --quick the part that CI runs.

Every task is one data set with its fits; tasks run in processes of one thread each (two, or --processes). Which choices
saw reported data is in the README beside this file.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import multiprocessing
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import choices
import expression
import factors
import heldout
import new_data
import nulls
import pandas as pd
import peers
import real
import recovery
import stability
import studies
import summary
from rows import Row, table

import programs

Task = tuple[str, Callable[..., list[Row]], tuple[Any, ...]]
PEERS = ("PCA per population", "consensus NMF", "LinearSCVI, once", "LinearSCVI per population")


def tasks(quick: bool, data: Path | None, scvi: bool) -> list[Task]:
    """The longest first."""
    if quick:
        return [
            ("programs", recovery.run, ("1 shared", 0.8, 301)),
            ("nulls", nulls.halves, (301,)),
            ("donors", nulls.donors, (301,)),
            ("expression", expression.run, ("600 against 600 cells", 301, False)),
        ]
    out: list[Task] = []
    if scvi:
        out += [("peers", peers.recovery, (method, a, 301)) for method in PEERS[2:] for a in (0.8, 0.6)]
    out += [("held-out", heldout.run, (f"simulated, seed {seed}", seed, None, scvi)) for seed in (301,)]
    if data:
        names = ("pbmc3k.h5ad", "pbmc_sorted3500.h5ad")
        out += [("held-out", heldout.run, (name, 301, data, scvi)) for name in names]
        out += [("real", f, (data,)) for f in (real.sorted_cells, real.interferon, real.chemistries)]
        sets = ("pbmc3k", "kang_ifnb", "pbmc_sorted3500", "pbmc_multi")
        kinds = (factors.seeds, factors.halves, factors.latents)
        out += [("factors", f, (data, name)) for f in kinds for name in sets[:3]]
        out += [("factors", factors.unseen, (data, name, s)) for name in sets[:3] for s in (0, 1)]
        out += [("factors", factors.permuted, (data, name, s)) for name in sets for s in range(5)]
        out += [("factors", factors.permuted, (data, name, 5, "seurat")) for name in sets]
        out += [("factors", factors.gain, (data, name, genes)) for name in sets for genes in ("scanpy", "seurat")]
        out += [("catalogue", programs.halves, (data, name, s)) for name in sets[::-1] for s in (5, 6, 7)]
        out += [("catalogue", programs.biology, (data, name)) for name in programs.KNOWN]
        out += [("catalogue", programs.permuted, (data, name, s)) for name in sets[:3] for s in range(5)]
        out += [("catalogue", programs.permuted, (data, sets[3], s)) for s in range(2)]
        out += [("catalogue", programs.permuted, (data, name, 5, "seurat")) for name in sets]
        out += [("catalogue", programs.permuted, (data, name, s, "scanpy", 2)) for name in sets[:3] for s in (6, 7)]
        out += [("catalogue", programs.permuted, (data, "pbmc3k", 8, "all"))]
        out += [("studies", studies.nested, (data, key)) for key in ("condition", "sample")]
        out += [("new data", new_data.batches, (data, n, b)) for n, left in new_data.LEFT_OUT.items() for b in left]
        out += [("new data", new_data.genes, (data, name)) for name in new_data.LEFT_OUT]
        out += [("studies", studies.few_cells, (data, name)) for name in ("CD14+ Mono", "B")]
    out += [("studies", studies.batches, (s,)) for s in range(301, 311)]
    out += [("studies", studies.clusters, (s,)) for s in range(301, 311)]
    out += [("studies", studies.donors, (name, s)) for name in studies.DESIGNS for s in range(301, 321)]
    kinds = [(pairs, effect) for pairs in (False, True) for effect in (0.8, 0.0)]
    out += [("studies", studies.responses, (s, *kind)) for kind in kinds for s in range(301, 311)]
    out += [("catalogue", programs.mixtures, (s,)) for s in range(1, 11)]
    out += [("catalogue", programs.one_sided, (s, size)) for size in (150, 250, 320) for s in (1, 2, 3)]
    out += [("catalogue", programs.activities, (s, shape)) for shape in programs.ACTIVITIES for s in (1, 2, 3)]
    out += [("stability", stability.run, (301,))]
    out += [("choices", choices.run, (f"simulated, seed {seed}", seed)) for seed in (401, 402)]
    out += [("choices", choices.run, ("pbmc_multi.h5ad", 401, data))] if data else []
    out += [("programs", recovery.run, ("1 shared", a, s)) for a in (0.8, 0.6) for s in (301, 302, 303, 304, 305)]
    others = list(recovery.SETTINGS)[1:]
    out += [("programs", recovery.run, (name, a, 311 + i)) for i, name in enumerate(others) for a in (0.8, 0.6)]
    out += [
        ("programs", recovery.run, (name, 0.8, 321 + i))
        for i, name in enumerate(others)
        if "with" in name or "re" in name
    ]
    out += [("programs", recovery.run, ("1 shared", 0.8, 331, "nonlinear"))]
    out += [("peers", peers.recovery, (method, a, s)) for method in PEERS[:2] for a in (0.8, 0.6) for s in (301, 302)]
    out += [
        ("expression", expression.run, (n, s, scvi and s == 301)) for s in range(301, 307) for n in expression.SETTINGS
    ]
    out += [("expression, donors", expression.donors, (s,)) for s in range(301, 307)]
    out += [("nulls", nulls.halves, (s,)) for s in range(301, 307)]
    out += [("nulls", nulls.programs, (s,)) for s in range(301, 311)]
    out += [("donors", nulls.donors, (s,)) for s in range(301, 331)]
    return out


def label(task: Task) -> str:
    """What a task is called in rows.csv."""
    return ", ".join([task[0], task[1].__name__, *(getattr(d, "name", str(d)) for d in task[2])])


def do(task: Task) -> tuple[list[Row], float]:
    """In a worker: one task and its seconds."""
    warnings.filterwarnings(
        "ignore", category=UserWarning
    )  # populations that are too small, of peers: not the question
    start = time.monotonic()
    return task[1](*task[2]), time.monotonic() - start


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few data sets; fails if a bound is missed by far")
    parser.add_argument("--only", nargs="*", help="tasks whose names start so, such as programs or 'catalogue, halves'")
    parser.add_argument("--processes", type=int, default=2, help="of one thread each")
    parser.add_argument("--resume", action="store_true", help="keep the rows that are there, and do the other tasks")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    folder = os.environ.get("LDVAE_DATA")
    scvi = find_spec("scvi") is not None
    if not folder:
        print("LDVAE_DATA names no folder: without real counts.")
    if not scvi and not arguments.quick:
        print("scvi-tools is not installed: without it.")
    todo = tasks(arguments.quick, Path(folder) if folder else None, scvi)
    todo = [t for t in todo if not arguments.only or label(t).startswith(tuple(arguments.only))]
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "rows.csv"
    known = pd.read_csv(file) if arguments.resume and file.is_file() else table([]).assign(task="", seconds=0.0)
    parts, failed = [known] if len(known) else [], []
    todo = [t for t in todo if label(t) not in set(known["task"])]
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(do, task): label(task) for task in todo}
        for k, future in enumerate(as_completed(running), 1):
            name = running[future]
            try:
                found, seconds = future.result()
            except Exception as error:  # the others go on; the process ends with an error
                failed.append(f"{name}: {error}")
                continue
            parts.append(table(found).assign(task=name, seconds=seconds))
            pd.concat(parts).to_csv(file, index=False, float_format="%.6g")  # what is done is kept
            print(f"[{k}/{len(todo)}] {name} ({seconds:.0f} s)", flush=True)
    if not parts:
        raise SystemExit("; ".join(failed) or "There is nothing to do.")
    rows = pd.concat(parts).sort_values(["section", "measure", "setting", "method", "seed"], kind="stable")
    rows.to_csv(file, index=False, float_format="%.6g")
    holds = summary.write(rows, arguments.out)
    if failed or (arguments.quick and not holds):
        raise SystemExit("; ".join(failed) or "A bound is missed.")


if __name__ == "__main__":
    main()
