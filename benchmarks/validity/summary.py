"""Rows become a table with what was promised beside what was measured, and a figure."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from rows import pooled
from scipy.stats import kstest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#8A8A8A"
AMPLITUDES = ("0.8", "0.6")


# of comparisons in real studies: the least and the most
STUDIES: dict[str, tuple[float | None, float | None]] = {
    "between: coverage, called genes": (0.92, 0.98),
    "DE: coverage, called genes": (0.92, 0.98),
    "DE: realised FDR at 5%": (None, 0.06),
    "programs in populations that have none": (None, 0.0),
    "nested batch: fold change over that without batch": (0.9, 1.1),
    "nested batch: a sentence says so": (1.0, None),
    "few cells: any call": (None, 0.05),
    "own clusters: DE, genes called a cluster": (None, 0.05),
    "own clusters: between, genes with lfsr < .05 a cluster": (None, 0.05),
    "donors: realised FDR at 5%": (None, 0.06),
    "donors: any call where nothing changes": (None, 0.1),
    "responses: realised FDR at 5%": (None, 0.06),
    "responses: any call where all answer alike": (None, 0.1),
}

# Correlation with what all genes say, by the share of them that is missing.
NEW_DATA = {" 5% of": 0.97, " 20% of": 0.9, " 50% of": 0.8}


def select(rows: pd.DataFrame, section: str, measure: str, setting: str = "", method: str = "ldvae") -> pd.DataFrame:
    """Rows of one measure; `setting` is a part of the setting's name."""
    chosen = (rows["section"] == section) & (rows["measure"] == measure) & (rows["method"] == method)
    return rows[chosen & rows["setting"].str.contains(setting, regex=False)]


def promises(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per promise: what, measured value, its error, over how much, the bound, whether it holds."""
    lines = []

    def line(what: str, part: pd.DataFrame, low: float | None = None, high: float | None = None) -> None:
        if not len(part) or not part["n"].sum():
            return
        p = pooled(part)
        bound = " to ".join(f"{b:g}" for b in (low, high) if b is not None)
        bound = bound if low is not None and high is not None else ("≥ " if low is not None else "≤ ") + bound
        holds = (low is None or p["value"] >= low) and (high is None or p["value"] <= high)
        lines.append((what, p["value"], p["error"], p["n"], p["runs"], bound, holds))

    linear = rows[~rows["setting"].str.contains("nonlinear", regex=False)]
    plain = linear[~linear["setting"].str.contains("without|rewired|depth")]
    for amplitude, low_within, low_specific in zip(AMPLITUDES, (0.93, 0.88), (0.95, 0.90), strict=True):
        at = f"amplitude {amplitude}"
        line(f"AUPRC of own genes, within, {at}", select(plain, "recovery", "within", at), low_within)
        line(f"AUPRC of own genes, specific, {at}", select(plain, "recovery", "specific", at), low_specific)
    line("own programs called", select(plain, "programs", "called of the planted"), 0.9)
    line("false among called specific programs", select(linear, "programs", "false among called"), high=0.05)
    for kind in ("within", "specific"):
        for name in ("false discoveries", "false discoveries, small populations", "wrong signs"):
            line(f"{kind}, lfsr < .05: {name}", select(linear, "calibration", f"{kind}: {name}"), high=0.05)
        name = f"{kind}: coverage, called genes"
        line(f"{kind}: coverage of 95 % intervals, called genes", select(linear, "calibration", name), 0.92, 0.98)
    line("between, lfsr < .05: wrong signs", select(linear, "calibration", "between: wrong signs"), high=0.05)
    name = "between: coverage, all genes"
    line("between: coverage of 95 % intervals, all genes", select(linear, "calibration", name), 0.92, 0.98)
    nonlinear = rows[rows["setting"].str.contains("nonlinear", regex=False)]
    name = "specific: false discoveries"
    line(
        "specific, lfsr < .05: false discoveries, non-linear decoder", select(nonlinear, "calibration", name), high=0.05
    )
    line("deviation, lfsr < .05: false discoveries", select(rows, "rewired", "false discoveries", "rewired"), high=0.05)
    name = "genes called where nothing is rewired"
    line("deviation: genes called per data set where nothing is rewired", select(linear, "rewired", name), high=1)
    for measure in sorted(rows.loc[rows["section"] == "nulls", "measure"].unique()):
        line(f"nothing there: any call, {measure}", select(rows, "nulls", measure), high=0.05)
    nothing = rows[rows["setting"] == "treatment does nothing"]
    for measure in ("any false gene", "any false gene, within populations", "any factor associated"):
        line(
            f"treatment does nothing, donors: {measure}", select(nothing, "donors", measure, method="donors"), high=0.05
        )
    for level in ("1%", "5%", "10%"):
        nominal = float(level[:-1]) / 100
        measure = f"realised FDR at {level}"
        line(f"differential expression: {measure}", select(rows, "expression", measure), high=nominal + 0.01)
    theirs = select(rows, "expression", "power at realised 5%", method="scvi-tools change")
    if len(theirs):
        own = select(rows, "expression", "power at realised 5%")
        own = own[own["seed"].isin(theirs["seed"])]
        line(
            "differential expression: power at realised FDR 5%, scvi-tools' as bound",
            own,
            round(pooled(theirs)["value"], 3),
        )
    at = ("expression, donors", "realised FDR at 5%", "")
    line("differential expression by donors: realised FDR at 5%", select(rows, *at), high=0.06)
    for measure, (low, high) in STUDIES.items():
        own = select(rows, "studies", measure)
        for part in own["setting"].unique() if measure.startswith(("donors", "responses")) else ("",):
            line(
                f"studies, {measure}" + (f", {part}" if part else ""),
                own[own["setting"].str.startswith(part)],
                low,
                high,
            )
    power = rows[(rows["section"] == "studies") & rows["measure"].str.startswith("donors: power at realised")]
    for name, part in power.groupby("setting", sort=False):
        peers = part[part["method"] != "ldvae"]
        if len(peers):
            best = max(float(pooled(own)["value"]) for _, own in peers.groupby("method"))
            what = f"studies, {part['measure'].iloc[0]}, {name}: the better of edgeR and limma as bound"
            line(what, part[part["method"] == "ldvae"], round(best, 3))
    new = rows[rows["section"] == "new data"]
    for name, part in new.groupby("setting", sort=False):
        lowest = next((low for share, low in NEW_DATA.items() if share in name), 0.9)
        for measure in part["measure"].unique():
            if measure.endswith("correlation") and not measure.startswith("another"):
                line(f"{name}: {measure}", part[part["measure"] == measure], lowest)
    for measure, low in {
        "factors matched at |r| >= .95": 0.95, "lowest |r| of specific programs": 0.95,
        "lowest overlap of the first 20 genes": 16,
    }.items():  # fmt: skip
        line(f"five seeds: {measure}", select(rows, "stability", measure), low)
    held = rows[rows["section"] == "held-out"]
    for name, own in held.groupby("setting"):
        own = own.set_index("method")
        for ours, theirs, low in (
            ("ldvae", "LinearSCVI, 10 factors (default)", 0.0),
            ("ldvae, 10 factors", "LinearSCVI, 10 factors (default)", 0.0),
            ("ldvae", "SCVI, 10 factors (default)", -0.5),
        ):
            if theirs in own.index:
                over = 100 * (1 - own.loc[ours, "value"] / own.loc[theirs, "value"])
                gain = own.loc[[ours]].assign(value=over)
                line(f"held-out log-likelihood, {name}: {ours} over {theirs.split(',')[0]}, per cent", gain, low)
    for part in ("sorted PBMC", "interferon beta"):
        real = rows[(rows["section"] == "real") & (rows["setting"] == part)]
        for measure in real["measure"].unique():
            low = (
                None
                if "made of" in measure
                else 0.99
                if measure.startswith("share")
                else 0.95
                if "program" in measure
                else 0.9
            )
            line(f"{part}: {measure}", real[real["measure"] == measure], low, 0 if low is None else None)
    for name, best in rows[rows["section"] == "factors, gain"].groupby("setting"):
        for how in ("plain", "weighted"):
            part = best[best["measure"] == f"nats per cell, {how}"]
            components = round(float(part.loc[part["method"] != "ldvae", "value"].max()), 2)
            what = f"unseen genes of unseen cells, nats per cell, {name}: over the best components, {how}"
            line(what, part[part["method"] == "ldvae"], components)
    for name, part in rows[rows["section"] == "factors, permuted"].groupby("setting"):
        over = part[part["measure"] == "more than populations - 1"]
        line(f"permuted counts, {name}: more factors than populations tell apart", over, high=0.0)
    for name, part in rows[rows["section"] == "factors, unseen cells"].groupby("setting"):
        line(f"unseen cells, {name}: loadings replicate at", part[part["measure"] == "replicate at"], 0.8, 1.2)
        line(f"unseen cells, {name}: opposite", part[part["measure"] == "opposite"], high=0.05)
        line(f"unseen cells, {name}: intervals cover", part[part["measure"] == "intervals cover"], 0.92, 0.98)
    for name, part in rows[rows["section"] == "factors, seeds"].groupby("setting"):
        back = part[part["measure"] == "come back at |r| >= .8"]
        line(f"another seed, {name}: factors that come back at |r| >= .8", back, 0.9)
        line(f"another seed, {name}: median |r|", part[part["measure"] == "median |r|"], 0.9)
    for name, part in rows[rows["section"] == "factors, halves"].groupby("setting"):
        for measure in ("median |r|", "median |r|, genes with 200 counts"):
            line(f"the other half of the cells, {name}: {measure}", part[part["measure"] == measure], 0.8)
    for name, part in rows[rows["section"] == "factors, other latents"].groupby("setting"):
        line(f"the same factors in {name.partition(', ')[2]} of {name.partition(',')[0]}: median |r|", part, 0.9)
    _catalogue(rows, line)
    three = rows[(rows["section"] == "real") & (rows["measure"] == "largest AUROC of a chemistry by a factor")]
    line("three chemistries: largest AUROC by a factor", three[three["method"] == "batch registered"], high=0.7)
    columns = ["what", "measured", "error", "over", "runs", "bound", "holds"]
    return pd.DataFrame(lines, columns=columns)


def _catalogue(rows: pd.DataFrame, line: Callable[..., None]) -> None:
    """Programs of real counts, and of planted ones that are not as the model thinks."""
    calls = rows[rows["section"] == "programs, permuted"]
    pvalues, called = calls[calls["measure"] == "p-value"], calls[calls["measure"] == "any called"]
    for level, high in ((0.05, 0.07), (0.01, 0.015)):
        below = pvalues.assign(value=(pvalues["value"] < level).astype(float))
        line(f"permuted counts: p-values of programs below {level:g}", below, high=high)
    line("permuted counts: any program called", called, high=0.05)
    for name, part in rows[rows["section"] == "programs, halves"].groupby("setting"):
        own = part[part["method"] == "ldvae"]
        match = own[own["measure"] == "median best |r|"]
        line(f"the other half of the cells, {name}: median best |r| of a program", match, 0.75)
        for method, peer in part[part["method"] != "ldvae"].groupby("method"):
            line(f"the same, {method} of each population as bound", match, round(float(pooled(peer)["value"]), 3))
        for measure in own["measure"].unique():
            if measure.startswith("back"):
                line(f"{name}: {measure}", own[own["measure"] == measure], 0.95)
    unseen = rows[rows["section"] == "programs, unseen cells"]
    for name, part in unseen.groupby("setting"):
        line(f"unseen cells, {name}: programs vary together", part[part["measure"] == "vary together"], 0.9)
        line(f"unseen cells, {name}: loadings replicate at", part[part["measure"] == "replicate at"], 0.85, 1.15)
        line(f"unseen cells, {name}: opposite", part[part["measure"] == "opposite"], high=0.02)
    for measure, part in rows[rows["section"] == "programs, biology"].groupby("measure", sort=False):
        one = measure == "names of the interferon program"
        line(f"{part['setting'].iloc[0]}, known: {measure}", part, 1, 1 if one else None)
    mixed = rows[rows["section"] == "programs, mixtures"]
    for what, part in mixed.groupby("setting", sort=False):
        real = what == "planted programs"
        line(f"{what}: called programs pointed out", part, None if real else 0.9, 0.1 if real else None)
    for what, part in rows[rows["section"] == "programs, one-sided"].groupby("setting", sort=False):
        line(f"{what}: false discoveries", part, high=0.05)
    for what, part in rows[rows["section"] == "programs, activities"].groupby("setting", sort=False):
        cover = part[part["measure"] == "coverage, called genes"]
        line(f"{what} activity: coverage of called genes", cover, 0.9)
        line(f"{what} activity: false discoveries", part[part["measure"] == "false discoveries"], high=0.05)
    one = select(rows[~rows["setting"].str.contains("rewired")], "programs", "shared program by its name")
    line("a program of all populations: share of them in which it has the same name", one, 0.99)


def null_pvalues(rows: pd.DataFrame) -> pd.DataFrame:
    """Are p-values of programs uniform where there is no program? (Kolmogorov–Smirnov.)"""
    found = []
    for measure, part in rows[rows["section"] == "null p-values"].groupby("measure"):
        values = part["value"].to_numpy()
        below = (values < 0.05).mean()
        found.append((measure, len(values), below, kstest(values, "uniform").pvalue))
    return pd.DataFrame(found, columns=["where", "p-values", "below .05", "KS p"])


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Two choices, on data that had no part in them: a line per data set and setting."""
    part = rows[rows["section"] == "choices"]
    keys = ["setting", "method"]
    wide = part.pivot_table(index=keys, columns="measure", values="value", sort=False).reset_index()
    return wide.rename_axis(columns=None)


def everything(rows: pd.DataFrame) -> pd.DataFrame:
    """All measures, pooled over seeds."""
    kept = rows[~rows["section"].isin(["null p-values", "choices"])]
    keys = ["section", "measure", "setting", "method"]
    return kept.groupby(keys, sort=True).apply(pooled, include_groups=False).reset_index()


def markdown(frame: pd.DataFrame) -> str:
    """A table with three digits."""

    def cell(value: object) -> str:
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "**no**"
        if isinstance(value, float):
            return (
                "" if np.isnan(value) else f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.3f}"
            )
        return str(value).replace("|", "\\|")

    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * frame.shape[1]]
    lines += ["| " + " | ".join(cell(v) for v in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(lines)


def machine() -> str:
    """Where this was measured."""
    packages = []
    for name in ("torch", "numpy", "scvi-tools"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(packages)
    )


def write(rows: pd.DataFrame, folder: Path) -> bool:
    """table.md and figure.png; whether no promise is missed by far."""
    found = promises(rows)
    minutes = rows.drop_duplicates("task")["seconds"].sum() / 60
    text = [
        "# Validity: what was measured", "",
        f"{machine()}; {rows['task'].nunique()} tasks of one thread each, {minutes:.0f} minutes in all.",
        "`benchmarks/validity/run.py` (`make validity`) writes this file.", "",
        "## Promises", "",
        "`measured` is pooled over data sets (weighted by `over`: genes, programs or runs), `error` its standard error",
        "over them.", "", markdown(found), "",
        "## P-values of programs where there is none", "", markdown(null_pvalues(rows)), "",
        "## Learning rate and start of the batches, on data that had no part in choosing them", "",
        markdown(chosen(rows)), "",
        "## Everything", "", markdown(everything(rows)), "",
    ]  # fmt: skip
    (folder / "table.md").write_text("\n".join(text), encoding="utf-8")
    if rows["section"].isin(["recovery", "expression"]).any():
        draw(rows, folder / "figure.png")
    if (rows["section"] == "programs, halves").any():
        draw_catalogue(rows, folder / "programs.png")
    print(found.to_string(index=False))
    # of few genes a share is known to two binomial standard errors; only a miss beyond that is one
    share = found["measured"].clip(0, 1)
    slack = 2 * np.sqrt(share * (1 - share) / found["over"])
    near = [
        any(abs(value - float(b)) <= s for b in bound.strip("≥≤ ").split(" to "))
        for value, bound, s in zip(found["measured"], found["bound"], slack, strict=True)
    ]
    return bool((found["holds"].to_numpy(bool) | np.array(near)).all())


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Recovery against other methods, realised against nominal rates, null p-values, power."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    _recovery(axes[0, 0], rows)
    _pvalues(axes[0, 1], rows)
    _fdr(axes[1, 0], rows)
    if (rows["section"] == "held-out").any():
        _heldout(axes[1, 1], rows)
    else:
        axes[1, 1].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_catalogue(rows: pd.DataFrame, path: Path) -> None:
    """Programs of real counts: p-values where there is none, the other half of the cells, unseen cells."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    part = rows[(rows["section"] == "programs, permuted") & (rows["measure"] == "p-value")]
    values = np.sort(part["value"])
    axes[0].plot(values, (np.arange(len(values)) + 1) / max(len(values), 1), color=BLUE)
    axes[0].plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axes[0].set(
        xlabel=f"p-value of a program in permuted counts ({len(values)})",
        ylabel="share below",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    part = rows[(rows["section"] == "programs, halves") & (rows["measure"] == "median best |r|")]
    wide = part.pivot_table(index="setting", columns="method", values="value")
    for k, (method, colour) in enumerate(zip(("ldvae", "PCA", "NMF"), (BLUE, VERMILLION, GREY), strict=True)):
        axes[1].barh(np.arange(len(wide)) + 0.26 * k - 0.26, wide[method], 0.24, color=colour, label=method)
    axes[1].set(yticks=range(len(wide)), yticklabels=wide.index, xlim=(0, 1))
    axes[1].set_xlabel("median best |r| with a program of the other half")
    axes[1].invert_yaxis()
    axes[1].legend(frameon=False, fontsize=8)
    part = rows[(rows["section"] == "programs, unseen cells") & (rows["measure"] == "replicate at") & (rows["n"] > 4)]
    split = part["setting"].str.split(", counts ", expand=True)
    bins = list(dict.fromkeys(split[1].sort_values(key=lambda v: v.str.split().str[0].astype(float))))
    for k, (name, own) in enumerate(part.groupby(split[0])):
        at = [bins.index(b) + 0.08 * k for b in split.loc[own.index, 1]]
        axes[2].plot(at, own["value"], ".", label=name)
    axes[2].axhline(1, color=GREY, linewidth=0.8)
    axes[2].set(xticks=range(len(bins)), ylim=(0, 1.5), ylabel="slope in unseen cells over loading")
    axes[2].set_xticklabels(bins, rotation=20, fontsize=8)
    axes[2].set_xlabel("counts of the gene")
    axes[2].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _recovery(ax: plt.Axes, rows: pd.DataFrame) -> None:
    part = rows[
        (rows["section"] == "recovery")
        & rows["setting"].str.startswith("1 shared, amplitude")
        & (rows["measure"] == "specific")
    ]
    part = part[~part["setting"].str.contains("nonlinear")]
    methods = [
        m
        for m in ("ldvae", "LinearSCVI, once", "LinearSCVI per population", "PCA per population", "consensus NMF")
        if m in set(part["method"])
    ]
    for k, amplitude in enumerate(AMPLITUDES):
        for i, method in enumerate(methods):
            values = part[(part["method"] == method) & part["setting"].str.endswith(amplitude)]["value"]
            if len(values):
                ax.barh(
                    i + 0.38 * k - 0.19,
                    values.mean(),
                    0.36,
                    color=(BLUE, VERMILLION)[k],
                    label=f"amplitude {amplitude}" if i == 0 else None,
                )
                ax.plot(values, np.full(len(values), i + 0.38 * k - 0.19), "k.", markersize=3)
    ax.set(
        yticks=range(len(methods)),
        yticklabels=methods,
        xlim=(0, 1),
        xlabel="AUPRC, genes of a population's own program",
    )
    ax.invert_yaxis()
    ax.legend(frameon=False, fontsize=8, loc="lower right")


def _pvalues(ax: plt.Axes, rows: pd.DataFrame) -> None:
    for colour, (measure, part) in zip(
        (BLUE, VERMILLION), rows[rows["section"] == "null p-values"].groupby("measure"), strict=False
    ):
        values = np.sort(part["value"])
        ax.plot(values, (np.arange(len(values)) + 1) / len(values), color=colour, label=f"{measure} ({len(values)})")
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    ax.set(xlabel="p-value (where there is no program)", ylabel="share of p-values below", xlim=(0, 1), ylim=(0, 1))
    ax.legend(frameon=False, fontsize=8)


def _fdr(ax: plt.Axes, rows: pd.DataFrame) -> None:
    nominal = (1, 5, 10)
    part = rows[rows["section"] == "expression"]
    for colour, method in zip((BLUE, VERMILLION, GREY), ("ldvae", "scvi-tools change", "Wilcoxon"), strict=True):
        for k, (_setting, own) in enumerate(part[part["method"] == method].groupby("setting")):
            values = [pooled(own[own["measure"] == f"realised FDR at {n}%"])["value"] for n in nominal]
            ax.plot(nominal, 100 * np.array(values), ".-", color=colour, linewidth=1, label=method if k == 0 else None)
    ax.plot(np.linspace(0, 12, 200), np.linspace(0, 12, 200), color="black", linewidth=0.8, linestyle=":")
    ax.set(xlabel="nominal FDR (%)", ylabel="realised FDR (%)", yscale="symlog", xticks=nominal, ylim=(0, 100))
    ax.set_title("Differential expression, a line per setting", fontsize=9, pad=22)
    ax.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _heldout(ax: plt.Axes, rows: pd.DataFrame) -> None:
    part = rows[rows["section"] == "held-out"]
    sets = list(part["setting"].unique())
    methods = list(dict.fromkeys(part.sort_values("method")["method"]))
    for i, name in enumerate(sets):
        own = part[part["setting"] == name].set_index("method")["value"]
        base = own.get("LinearSCVI, 10 factors (default)", own.max())
        for j, method in enumerate(methods):
            if method in own:
                ax.plot(
                    own[method] - base,
                    j + 0.15 * (i - 1),
                    "os^"[i % 3],
                    color=(BLUE, VERMILLION, GREY)[i % 3],
                    label=name if method == own.index[0] else None,
                )
    ax.axvline(0, color="black", linewidth=0.6)
    ax.set(yticks=range(len(methods)), yticklabels=methods, xlabel="held out: nats per cell over LinearSCVI")
    if sets:
        ax.legend(frameon=False, fontsize=7)
