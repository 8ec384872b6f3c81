"""Tables to draw, and what a reader sees of a picture."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from ldvae.tables import factor_names, score_name, table, wide

MARKERS = (
    "CD79A MS4A1 GNLY NKG7 LYZ S100A8 S100A9 FCGR3A MS4A7 PPBP PF4 FCER1A CST3 HLA-DRA HLA-DPB1 HLA-DQA1 CD74 "
    "IL7R CCR7 LTB GZMH GZMB GZMK CCL5 PRF1 FGFBP2 CD8A CD8B KLRB1 TRGV9 IGHG1 JCHAIN MZB1 ISG15 IFI6 IFIT1 "
    "MX1 LGALS3 FCN1 VCAN ENSG00000278704 MT-CO1 HIST1H2AC AC092580.4 TNFRSF13B"
).split()


NAMES = (
    "CD4 T cells, CD14+ Monocytes, B cells, CD8 T cells, NK cells, FCGR3A+ Monocytes, Dendritic cells, "
    "Megakaryocytes, Plasma cells, Hepatocytes, Cholangiocytes, Endothelial cells (sinusoidal), Kupffer cells, "
    "Stellate cells, pDC, Mast cells, ILC2, ILC3, MAIT, gamma-delta T, Treg, CD4 naive, CD4 central memory, "
    "CD8 effector memory, Pro-B, Pre-B, Erythroblasts, HSC / MPP, Neutrophils, Transitional stage B cells of "
    "the bone marrow"
).split(", ")


GENES = [*MARKERS, *(f"GENE{i}" for i in range(1500 - len(MARKERS)))]


def loadings_table(k: int = 12, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 0.05, (len(GENES), k))
    for j in range(k):
        strong = rng.choice(len(MARKERS), 14, replace=False)
        values[strong, j] = rng.gamma(3, 0.3, 14) * np.where(rng.random(14) < 0.65, 1, -1)
    return wide("gene", GENES, factor_names(k), values)


def history_table(n: int = 60, seed: int = 0) -> pd.DataFrame:
    epoch = np.arange(1, n + 1)
    noise = np.random.default_rng(seed).normal(0, 0.4, n)
    train = -620 - 700 * np.exp(-epoch / 2) - 25 * np.exp(-epoch / 12)
    validation = train - 2 - 0.002 * np.maximum(epoch - 35, 0) ** 2 + noise
    kl = 14 * (1 - np.exp(-epoch / 6))
    return table(
        "history",
        {"epoch": epoch, "elbo_train": train, "elbo_validation": validation, "reconstruction": train + kl, "kl": kl},
    )


def program_tables(n: int, kind: str = "specific", seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every third population has only what is left, which is not called; the others have one or two programs."""
    rng = np.random.default_rng(seed)
    parts, facts, number = [], [], 0
    for i, population in enumerate(NAMES[:n]):
        called = kind == "between" or i % 3 != 2
        for _ in range(1 + (kind != "between" and called and i % 4 == 1)):
            number += called
            program = "between" if kind == "between" else f"program_{number}" if called else "rest"
            loading = np.concatenate([rng.normal(0, 1.1, len(MARKERS)), rng.normal(0, 0.05, 60)])
            order = np.argsort(-np.abs(loading))
            rank = np.empty(len(loading), dtype=int)
            rank[order] = np.arange(1, len(loading) + 1)
            std = rng.gamma(4, 0.04, len(loading))
            genes = [*rng.permutation(MARKERS), *GENES[len(MARKERS) : len(MARKERS) + 60]]
            columns = {"population": population, "kind": kind, "program": program, "gene": genes, "loading": loading}
            lfsr = np.exp(-((loading / std) ** 2) / 2) / 2
            if called:
                parts.append(table("population_loadings", {**columns, "std": std, "lfsr": lfsr, "rank": rank}))
            padj = 10.0 ** -rng.uniform(2, 20) if called else 0.4
            facts.append(
                {
                    "population": population, "kind": kind, "program": program, "called": called,
                    "reason": "" if called else "does not vary beyond counting noise", "variance": 2.0,
                    "share": rng.uniform(0.05, 0.6), "ratio_to_reference": 3.0, "reference_population": NAMES[i - 1],
                    "like_population": NAMES[i - 2], "like_cosine": 0.1, "share_of_samples": np.nan, "pval": padj / 9,
                    "padj": padj, "n_cells": 300, "n_genes": 22, "top_up": "A", "top_down": "B",
                }
            )  # fmt: skip
    frame = pd.DataFrame(facts)
    return pd.concat(parts, ignore_index=True), table("population_programs", {c: frame[c] for c in frame})


def map_table(n: int, n_programs: int, seed: int = 0) -> pd.DataFrame:
    """The first tenth of the programs is active in most populations, the others in one or two, the last in none."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n_programs):
        home = set() if k == n_programs - 1 else set(rng.choice(n, 1 + (rng.random() < 0.2 and n > 1), replace=False))
        for i, population in enumerate(NAMES[:n]):
            active = k != n_programs - 1 and (i in home or (k < n_programs / 10 and rng.random() < 0.8))
            padj = 10.0 ** -rng.uniform(3, 30) if active else rng.choice([1e-4, 0.03, 0.06, 0.7])
            genes = rng.choice(MARKERS, 10, replace=False)
            up, down = (", ".join(part) for part in np.split(genes, [int(rng.integers(2, 6))]))
            rows.append(
                {
                    "program": f"program_{k + 1}", "population": population, "std": 0.5,
                    "variance": rng.gamma(2, 15) if active else rng.normal(1, 1), "share": 0.3 * active,
                    "pval": padj / 9, "padj": padj, "active": active, "n_genes": 20 * active,
                    "top_up": up * active, "top_down": down * active,
                }
            )  # fmt: skip
    frame = pd.DataFrame(rows)
    return table("program_map", {c: frame[c] for c in frame})


def score_tables(programs: pd.DataFrame, n_cells: int = 900, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    populations = list(dict.fromkeys(programs["population"]))
    label = rng.integers(0, len(populations), n_cells)
    centres = rng.normal(0, 6, (len(populations), 2))
    names = [score_name(*each) for each in zip(programs["population"], programs["program"], strict=True)]
    scores = rng.normal(0, 0.15, (n_cells, len(names)))
    for j, population in enumerate(programs["population"]):
        own = label == populations.index(population)
        scores[own, j] += rng.normal(0, 1, int(own.sum()))
    at = centres[label] + rng.normal(0, 0.9, (n_cells, 2))
    return wide("cell", [f"c{i}" for i in range(n_cells)], list(names), scores), at


def de_table(n: int, floor: bool = False, seed: int = 0) -> pd.DataFrame:
    """One-vs-rest comparisons; `floor` puts the surest genes at an lfsr of zero."""
    rng = np.random.default_rng(seed)
    parts = []
    for name in NAMES[:n] if n <= len(NAMES) else [f"group {i}" for i in range(n)]:
        lfc = np.concatenate([rng.normal(0, 1.3, len(MARKERS)), rng.normal(0, 0.25, len(GENES) - len(MARKERS))])
        std = rng.gamma(6, 0.045, len(GENES))
        lfsr = np.exp(-((lfc / std) ** 2) / 2) / 2
        lfsr = np.where(lfsr < 1e-14, 0.0, lfsr) if floor else np.maximum(lfsr, 1 / 5000)
        lfc[-20:] = lfsr[-20:] = np.nan
        is_de = (lfsr < 0.01) & (np.abs(lfc) > 0.25)
        others = (
            "bayes_factor lfc_median lfc_std lfc_lower lfc_upper mean1 mean2 raw_mean1 raw_mean2 detected1 detected2 "
            "pval padj n_samples1 n_samples2 paired"
        )
        numbers = dict.fromkeys(others.split(), 0.0)
        columns = {"within": "", "gene": GENES, "group1": name, "group2": "rest"}
        parts.append(
            table(
                "differential_expression",
                {**columns, **numbers, "proba_de": 1 - lfsr, "is_de": is_de, "lfsr": lfsr, "lfc_mean": lfc},
            )
        )
    return pd.concat(parts, ignore_index=True)


def contributions_table(de: pd.DataFrame, k: int = 9, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for (group1, group2), rows in de.groupby(["group1", "group2"], sort=False):
        values = np.vstack([rng.normal(0, np.arange(1, k + 1)[:, None] / 9, (k, len(rows))), np.full(len(rows), 0.2)])
        for factor, value in zip([*factor_names(k), "remainder"], values, strict=True):
            columns = {"gene": rows["gene"], "group1": group1, "group2": group2, "factor": factor}
            parts.append(table("contributions", {**columns, "contribution": value, "jensen_gap": 0.0}))
    return pd.concat(parts, ignore_index=True)


def association_table(levels: list[str], within: tuple[str, ...] = ("",), k: int = 12, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for w in within:
        for factor in [*factor_names(k), "all"]:
            for level in levels:
                effect = rng.normal(0, 0.3) + (rng.random() < 0.15) * rng.normal(0, 2)
                pval = float(np.exp(-(effect**2) * 8))
                rows.append(
                    {
                        "factor": factor, "key": "cell_type", "level": level, "within": w, "unit": "sample",
                        "effect": np.nan if factor == "all" else effect, "std": 0.3, "statistic": 1.0, "pval": pval,
                        "padj": min(1.0, 2 * pval), "auc": 0.5, "n_cells": 100, "n_samples": 8,
                    }
                )  # fmt: skip
    frame = pd.DataFrame(rows)
    return table("association", {c: frame[c] for c in frame})


def drawn(figure: Figure) -> list[Text]:
    """The texts that a reader sees: findobj also has the labels of ticks that are outside the limits or not in use."""
    figure.draw_without_rendering()
    hidden: set[int] = set()
    for axes in figure.findobj(Axes):
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = min(limits) - 1e-9, max(limits) + 1e-9
            ticks = [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high and t.label1.get_visible()]
            shown = {id(t) for t in [*ticks, axis.label]} if axes.axison else set()
            hidden |= {id(t) for t in axis.findobj(Text)} - shown
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and id(t) not in hidden]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes share more than half a point."""
    # Of an annotation the box of the text, without its line.
    boxes = [(t.get_text(), Text.get_window_extent(t).padded(-figure.dpi / 72 / 2)) for t in drawn(figure)]
    return [(a, b) for (a, one), (b, two) in combinations(boxes, 2) if one.overlaps(two)]


def outside(figure: Figure) -> list[str]:
    """Texts that stick out of the figure."""
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in drawn(figure)]
    frame = figure.bbox.padded(1)
    return [t for t, b in boxes if b.x0 < frame.x0 or b.y0 < frame.y0 or b.x1 > frame.x1 or b.y1 > frame.y1]


def legible(figure: Figure, folder: Path) -> None:
    """Nothing overlaps or is cut off at screen and print resolution, nothing is smaller than 7 points, and it saves."""
    for dpi in (100, 300):
        figure.set_dpi(dpi)
        assert overlapping(figure) == []
        assert outside(figure) == []
    figure.set_dpi(100)
    assert min(t.get_fontsize() for t in drawn(figure)) >= 7
    for kind in ("png", "pdf"):
        figure.savefig(folder / f"figure.{kind}")
        assert (folder / f"figure.{kind}").stat().st_size > 5000


def titles(figure: Figure) -> list[str]:
    return [axes.get_title().replace("\n", " ") for axes in figure.axes if axes.get_title()]


def texts(figure: Figure, gid: str) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if t.get_gid() == gid]


def marked(axes: Axes) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for c in axes.collections if c.get_gid() == "marks" for x, y in c.get_offsets()}


def message(call: object, *args: object, **kwargs: object) -> str:
    with pytest.raises(ValueError) as caught:
        call(*args, **kwargs)  # type: ignore[operator]
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text
