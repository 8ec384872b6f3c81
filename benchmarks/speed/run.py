"""Time everything, and write rows.csv, table.md and figure.png: `make speed`."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")  # what is timed on one thread says so

import argparse
import platform
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import gpu
import growth
import matplotlib
import pandas as pd
import questions
import torch
import training
from matplotlib.ticker import NullLocator
from timing import Row

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# measure (its beginning), where (a part of the setting), at least or at most
PROMISES = (
    ("times as fast as LinearSCVI", "17 %", 5.0, None),
    ("times as fast as LinearSCVI", "5 %", 8.0, None),
    ("times as fast to LinearSCVI's likelihood", "", 20.0, None),
    ("times as fast as LinearSCVI", "8 groups", 20.0, None),
    ("all pairs over one against rest", "", None, 3.0),
    ("seconds, differential expression", "1,000,000 × 1,000,", None, 16.0),
    ("seconds, between", "1,000,000", None, 10.0),
    ("seconds, specific", "1,000,000", None, 120.0),
    ("seconds, specific", "6,000", None, 10.0),
    ("seconds, within", "6,000", None, 10.0),
    ("seconds, fit to convergence", "1,000,000", None, 60.0),
    ("share of an epoch in which the device is busy", "", 0.8, None),
    ("peak per byte of counts", "", None, 1.5),
    ("speed of two epochs from disk", "80,000", 0.5, None),
    ("exponent of", "n_cells", None, 1.1),
)


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="parts, such as step or growth")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    folder = os.environ.get("LDVAE_DATA")
    parts = {
        "memory": growth.memory,
        "disk": growth.disk,
        "populations": questions.populations,
        "floor": training.floor,
        "growth": growth.run,
        "million": questions.million,
    }
    if find_spec("scvi") is not None:
        parts |= {
            "step": lambda: training.step(1) + training.step(2),
            "expression": lambda: questions.expression(1),
            "quality": lambda: training.quality(Path(folder) if folder else None),
        }
    else:
        print("scvi-tools is not installed: without it.")
    if torch.cuda.is_available():
        parts["gpu"] = gpu.run
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "rows.csv"
    chosen = [name for name in parts if not arguments.only or name in arguments.only]
    rows = pd.DataFrame(columns=["part", *Row._fields])
    if file.is_file() and arguments.only:
        rows = pd.read_csv(file).fillna({"unit": ""})
    for name in chosen:
        start = time.monotonic()
        found = pd.DataFrame(parts[name](), columns=Row._fields).assign(part=name)
        rows = pd.concat([rows[rows["part"] != name], found]) if len(rows) else found
        rows.to_csv(file, index=False, float_format="%.5g")
        print(f"{name} ({time.monotonic() - start:.0f} s)", flush=True)
    write(rows, arguments.out)


def write(rows: pd.DataFrame, folder: Path) -> None:
    """table.md and figure.png."""
    lines = ["| what | setting | measured | range | wanted | reached |", "|---|---|---|---|---|---|"]
    for row in rows[rows["section"] != "growth"].itertuples():
        lines.append(_line(row))
    exponents = rows[rows["measure"].str.startswith("exponent")]
    text = [
        "# Speed: what was measured", "",
        f"{machine()}; `OMP_NUM_THREADS` is {os.environ['OMP_NUM_THREADS']}, threads are set as said; "
        "rows of a GPU name its machine.",
        "`make speed` writes this file.", "", *lines, "",
        "## How cost grows", "", "Time is proportional to size to the power of", "",
        "| what | exponent | wanted | reached |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in exponents.itertuples():
        wanted, reached = promise(row)
        text.append(f"| {row.measure.removeprefix('exponent of ')} | {row.value:.2f} | {wanted} | {reached} |")
    (folder / "table.md").write_text("\n".join([*text, ""]), encoding="utf-8")
    draw(rows[rows["section"] == "growth"], folder / "figure.png")
    print("\n".join(text))


def _line(row: Row) -> str:
    wanted, reached = promise(row)
    digits = f"{row.value:.3g}" if abs(row.value) < 1000 else f"{row.value:,.0f}"
    span = "" if pd.isna(row.low) else f"{row.low:.3g} to {row.high:.3g}"
    return f"| {row.measure} | {row.setting} | {digits} {row.unit} | {span} | {wanted} | {reached} |"


def promise(row: Row) -> tuple[str, str]:
    """What was wanted of a measure, and whether it was reached."""
    for measure, setting, low, high in PROMISES:
        if row.measure.startswith(measure) and (
            row.setting.startswith(setting) or setting in row.measure + row.setting
        ):
            if low is not None:
                return f"≥ {low:g}", "yes" if row.value >= low else "**no**"
            return f"≤ {high:g}", "yes" if row.value <= high else "**no**"
    return "", ""


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Seconds against each size, on logarithmic axes."""
    rows = rows[~rows["measure"].str.startswith("exponent")]
    axes_of = rows["setting"].str.split(" ").str[0]
    names = list(dict.fromkeys(axes_of))
    if not names:
        return
    figure, axes = plt.subplots(1, len(names), figsize=(3 * len(names), 3), layout="constrained", sharey=True)
    for ax, name in zip(axes, names, strict=True):
        for colour, (what, part) in zip(
            ("#0072B2", "#D55E00", "#009E73"), rows[axes_of == name].groupby("measure", sort=False), strict=False
        ):
            size = part["setting"].str.split(" ").str[1].str.replace(",", "").astype(float)
            ax.loglog(size, part["value"], "o-", color=colour, label=what, markersize=4)
        ax.set(xlabel={"n_cells": "cells", "n_genes": "genes", "n_latent": "factors", "n_groups": "groups"}[name])
        ax.set_xticks(size, [f"{v:,.0f}" for v in size], fontsize=8)
        ax.xaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("seconds")
    axes[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def machine() -> str:
    """Where this was measured."""
    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "numpy", "scvi-tools") if find_spec(p.split("-")[0]))
    python = platform.python_version()
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {python}, {packages}"


if __name__ == "__main__":
    main()
