"""The pictures show what the tables say, and nobody has to guess at a label."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from ldvae.plots.comparisons import plot_association, plot_differential_expression
from ldvae.plots.fits import plot_history, plot_loadings
from ldvae.plots.programs import plot_programs
from ldvae.tables import factor_names, table, wide

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
    """Every third population has no called program; the others have one or two."""
    rng = np.random.default_rng(seed)
    parts, facts = [], []
    for i, population in enumerate(NAMES[:n]):
        for j in range(1 if kind == "between" else 1 + (i % 4 == 1)):
            called = kind == "between" or i % 3 != 2
            program = f"{kind}_{j + 1}"
            loading = np.concatenate([rng.normal(0, 1.1, len(MARKERS)), rng.normal(0, 0.05, 60)])
            order = np.argsort(-np.abs(loading))
            rank = np.empty(len(loading), dtype=int)
            rank[order] = np.arange(1, len(loading) + 1)
            std = rng.gamma(4, 0.04, len(loading))
            genes = [*rng.permutation(MARKERS), *GENES[len(MARKERS) : len(MARKERS) + 60]]
            columns = {"population": population, "kind": kind, "program": program, "gene": genes, "loading": loading}
            lfsr = np.exp(-((loading / std) ** 2) / 2) / 2
            parts.append(table("population_loadings", {**columns, "std": std, "lfsr": lfsr, "rank": rank}))
            padj = 10.0 ** -rng.uniform(2, 20) if called else 0.4
            facts.append(
                {
                    "population": population, "kind": kind, "program": program, "called": called,
                    "variance": 2.0, "share": rng.uniform(0.05, 0.6), "ratio_to_reference": 3.0, "pval": padj / 9,
                    "padj": padj, "n_cells": 300, "n_genes": 22, "top_up": "A", "top_down": "B",
                }
            )  # fmt: skip
    frame = pd.DataFrame(facts)
    return pd.concat(parts, ignore_index=True), table("population_programs", {c: frame[c] for c in frame})


def score_tables(programs: pd.DataFrame, n_cells: int = 900, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    populations = list(dict.fromkeys(programs["population"]))
    label = rng.integers(0, len(populations), n_cells)
    centres = rng.normal(0, 6, (len(populations), 2))
    names = programs["population"] + "_" + programs["program"]
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
            "bayes_factor lfc_median lfc_std lfc_lower lfc_upper mean1 mean2 raw_mean1 raw_mean2 detected1 detected2"
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


def test_overlaps_are_seen() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.text(0.5, 0.5, "first")
    axes.text(0.51, 0.5, "second")
    axes.text(2.5, 0.5, "away")
    assert overlapping(figure) == [("first", "second")]
    assert outside(figure) == ["away"]


# ---------------------------------------------------------------- history


def test_history_draws_the_table_and_marks_the_best_epoch(tmp_path: Path) -> None:
    history = history_table()
    axes = plot_history(history)
    train, validation, best = axes.lines[:3]
    np.testing.assert_array_equal(train.get_ydata(), history["elbo_train"])
    np.testing.assert_array_equal(validation.get_ydata(), history["elbo_validation"])
    expected = history.sort_values("elbo_validation").iloc[-1]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (expected["epoch"], expected["elbo_validation"])
    assert f"best, epoch {int(expected['epoch'])}" in [t.get_text() for t in axes.get_legend().get_texts()]
    below = next(a for a in axes.figure.axes if a is not axes)
    axes.figure.draw_without_rendering()
    np.testing.assert_array_equal(below.lines[0].get_ydata(), history["kl"])
    assert below.get_window_extent().y1 < axes.get_window_extent().y0
    # The first epochs are 700 nats below and would flatten the rest.
    assert axes.get_ylim()[0] > history["elbo_train"].min() + 300
    assert axes.get_ylim()[1] > history["elbo_validation"].max()
    legible(axes.figure, tmp_path)


def test_history_without_validation_marks_nothing() -> None:
    axes = plot_history(history_table(1).assign(elbo_validation=np.nan))
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["training"]


# ---------------------------------------------------------------- loadings


def test_loadings_show_both_ends_of_each_factor(tmp_path: Path) -> None:
    loadings = loadings_table()
    figure = plot_loadings(loadings)
    assert titles(figure) == factor_names(6)
    for factor, axes in zip(factor_names(6), figure.axes, strict=True):
        shown = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.patches, strict=True))
        column = loadings.set_index("gene")[factor]
        ends = [*column.nlargest(5).index, *column.nsmallest(5).index[::-1]]
        assert list(shown) == ends
        for gene, bar in shown.items():
            assert bar.get_width() == column[gene]
        heights = [bar.get_y() for bar in shown.values()]
        assert heights == sorted(heights, reverse=True)
    legible(figure, tmp_path)


def test_loadings_of_chosen_factors() -> None:
    figure = plot_loadings(loadings_table(), factors=["Z_9", "Z_2"], n_genes=3.0)  # type: ignore[arg-type]
    assert titles(figure) == ["Z_9", "Z_2"]
    assert [len(axes.patches) for axes in figure.axes] == [3, 3]


def test_loadings_never_call_a_positive_gene_down() -> None:
    loadings = wide("gene", ["A", "B", "C"], ["Z_1"], np.array([[1.0], [2.0], [np.nan]]))
    axes = plot_loadings(loadings).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["B", "A"]


# ---------------------------------------------------------------- programs


@pytest.mark.parametrize("n", [6, 30])
@pytest.mark.parametrize("with_scores", [False, True])
def test_programs_one_panel_per_called_program(n: int, with_scores: bool, tmp_path: Path) -> None:
    loadings, programs = program_tables(n)
    scores, at = score_tables(programs) if with_scores else (None, None)
    figure = plot_programs(loadings, programs, scores=scores, embedding=at)
    called = programs[programs["called"]]
    panels = [axes for axes in figure.axes if axes.axison]
    for axes, (_, fact) in zip(panels, called.iterrows(), strict=True):
        whole = axes.get_title().replace("\n", " ").rstrip("…")
        assert str(fact["population"]).startswith(whole)
        details = next(t.get_text() for t in axes.texts if t.get_gid() == "details")
        assert fact["program"] in details
        assert f"{100 * fact['share']:.0f} %" in details
        assert "padj" in details
    silent = set(programs["population"]) - set(called["population"])
    assert silent
    foot = " ".join(texts(figure, "foot")).replace("\n", " ")
    assert all(name in foot for name in silent)
    clouds = [axes for axes in figure.axes if not axes.axison]
    assert len(clouds) == with_scores * len(called)
    legible(figure, tmp_path)


def test_programs_draw_the_first_ranks_with_their_intervals() -> None:
    loadings, programs = program_tables(6)
    axes = plot_programs(loadings, programs, n_genes=5).axes[0]
    one = loadings[(loadings["population"] == NAMES[0]) & (loadings["rank"] <= 5)].sort_values(
        "loading", ascending=False
    )
    assert [t.get_text() for t in axes.get_yticklabels()] == one["gene"].tolist()
    segments, points = axes.collections[0].get_segments(), axes.collections[1].get_offsets()
    np.testing.assert_allclose(points[:, 0], one["loading"])
    np.testing.assert_allclose(points[:, 1], [4, 3, 2, 1, 0])
    np.testing.assert_allclose([s[0, 0] for s in segments], one["loading"] - 1.96 * one["std"])
    np.testing.assert_allclose([s[1, 0] for s in segments], one["loading"] + 1.96 * one["std"])


def test_programs_unsure_signs_are_hollow_and_directions_have_their_colour() -> None:
    loadings, programs = program_tables(1)
    loadings["lfsr"] = np.where(loadings["rank"] == 2, 0.05, 0.01)
    axes = plot_programs(loadings, programs).axes[0]
    one = loadings[loadings["rank"] <= 8].sort_values("loading", ascending=False)
    faces = [to_hex(c).upper() for c in axes.collections[1].get_facecolors()]
    colour = np.where(one["loading"] > 0, "#D55E00", "#0072B2")
    assert faces == np.where(one["rank"] == 2, "#FFFFFF", colour).tolist()


def test_programs_between_show_no_share() -> None:
    loadings, programs = program_tables(6, "between")
    details = [t.get_text() for axes in plot_programs(loadings, programs).axes for t in axes.texts]
    assert "padj" in " ".join(details) and "%" not in " ".join(details)


@pytest.mark.parametrize("n", [6, 30])
def test_programs_between_without_a_table_of_programs(n: int, tmp_path: Path) -> None:
    loadings, _ = program_tables(n, "between")
    figure = plot_programs(loadings, None)
    assert len(figure.axes) == n
    assert titles(figure)[:6] == NAMES[:6]
    assert "log2 difference from the reference" in texts(figure, "foot")[0]
    legible(figure, tmp_path)


def test_programs_colour_the_cells_by_their_score() -> None:
    loadings, programs = program_tables(6)
    scores, at = score_tables(programs)
    scores.iloc[3, 1] = np.nan
    cloud = plot_programs(loadings, programs, scores=scores, embedding=at).axes[1]
    unknown, cells = cloud.collections
    np.testing.assert_allclose(unknown.get_offsets(), at[[3]])
    rows = {tuple(xy): value for xy, value in zip(np.asarray(cells.get_offsets()), cells.get_array(), strict=True)}
    for i in (0, 1, 2, 500):
        assert rows[tuple(at[i])] == scores[f"{NAMES[0]}_specific_1"][i]
    low, high = cells.get_clim()
    assert low == -high


def test_programs_of_chosen_populations_in_that_order() -> None:
    loadings, programs = program_tables(6)
    assert titles(plot_programs(loadings, programs, populations=[NAMES[4], NAMES[0]])) == [NAMES[4], NAMES[0]]


def test_programs_none_called_says_so() -> None:
    loadings, programs = program_tables(6)
    figure = plot_programs(loadings.head(0), programs.assign(called=False))
    assert [t.get_text() for t in figure.axes[0].texts] == ["No program was called in any of these populations."]


# ---------------------------------------------------------------- differential expression


@pytest.mark.parametrize("n", [1, 6, 30])
@pytest.mark.parametrize("floor", [False, True])
def test_volcano_panels_and_labels(n: int, floor: bool, tmp_path: Path) -> None:
    de = de_table(n, floor)
    picture = plot_differential_expression(de)
    figure = picture if isinstance(picture, Figure) else picture.figure
    assert isinstance(picture, Axes if n == 1 else Figure)
    assert len(figure.axes) == n
    assert any("triangles: lfsr below 1e-12" in t.get_text() for t in drawn(figure)) == floor
    for axes, (_, rows) in zip(figure.axes, de.groupby("group1", sort=False), strict=True):
        labels = [t for t in axes.texts if t.get_gid() == "label"]
        called = rows[rows["is_de"]].set_index("gene")
        assert 3 <= len(labels) <= 10
        surest = called.assign(floor=called["lfsr"].clip(lower=1e-12), size=-called["lfc_mean"].abs())
        surest = surest.sort_values(["floor", "size"], kind="stable").head(10)
        for label in labels:
            row = surest.loc[label.get_text()]
            assert label.xy == pytest.approx((row["lfc_mean"], -np.log10(row["floor"])))
        up, down = (called["lfc_mean"] > 0).sum(), (called["lfc_mean"] < 0).sum()
        details = next(t.get_text() for t in axes.texts if t.get_gid() == "details")
        assert details.endswith(f"{up} up, {down} down of 1,480")
        assert details.startswith("over rest")
    legible(figure, tmp_path)


def test_volcano_points_are_the_table_and_called_genes_are_coloured() -> None:
    de = de_table(1, floor=True)
    axes = plot_differential_expression(de, n_labels=0)
    assert isinstance(axes, Axes)
    seen = {}
    for points in axes.collections:
        triangle = len(points.get_paths()[0].vertices) < 10
        for x, y in np.asarray(points.get_offsets()):
            seen[float(x)] = (float(y), to_hex(points.get_facecolors()[0]).upper(), triangle)
    tested = de.dropna(subset=["lfc_mean"])
    assert len(seen) == len(tested)
    for row in tested.itertuples():
        y, colour, triangle = seen[row.lfc_mean]
        assert y == pytest.approx(min(-np.log10(max(row.lfsr, 1e-300)), 12))
        assert triangle == (row.lfsr < 1e-12)
        assert colour == (("#D55E00" if row.lfc_mean > 0 else "#0072B2") if row.is_de else "#BBBBBB")
    assert [t for t in axes.texts if t.get_gid() == "label"] == []


def test_volcano_more_than_thirty_comparisons_are_cut_with_a_sentence() -> None:
    figure = plot_differential_expression(de_table(33), n_labels=0)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 30
    assert "First 30 of 33 comparisons: choose with `group1` and `group2`." in texts(figure, "foot")[0]


def test_volcano_of_one_group_and_within() -> None:
    de = pd.concat([de_table(3).assign(within="day 1"), de_table(3).assign(within="day 2")])
    figure = plot_differential_expression(de, group1=NAMES[1], group2="rest", n_labels=0)
    assert [t.split("\n")[1] for t in texts(figure, "details")] == ["in day 1", "in day 2"]
    assert titles(figure) == [NAMES[1]] * 2


def test_volcano_without_a_tested_gene_is_empty() -> None:
    axes = plot_differential_expression(de_table(1).assign(lfsr=np.nan, is_de=False))
    assert next(t.get_text() for t in axes.texts).endswith("0 up, 0 down of 0")


@pytest.mark.parametrize("n", [1, 4])
def test_contributions_of_the_called_genes_are_stacked_by_factor(n: int, tmp_path: Path) -> None:
    de = de_table(n)
    contributions = contributions_table(de)
    figure = plot_differential_expression(de, contributions=contributions, n_labels=5)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 2 * n
    key = [t.get_text() for t in figure.axes[-1].get_legend().get_texts()]
    assert key == [f"Z_{j}" for j in range(4, 10)] + ["other factors", "remainder", "total"]
    colours = [to_hex(h.get_facecolor()) for h in figure.axes[-1].get_legend().legend_handles[:-1]]
    assert len(set(colours)) == 8
    for axes, name in zip(figure.axes[1::2], NAMES, strict=False):
        rows = de[(de["group1"] == name) & de["is_de"]]
        rows = rows.assign(size=-rows["lfc_mean"].abs()).sort_values(["lfsr", "size"], kind="stable").head(5)
        own = contributions[(contributions["group1"] == name) & contributions["gene"].isin(rows["gene"])]
        own = own.pivot(index="gene", columns="factor", values="contribution")
        total = own.sum(axis=1).sort_values(ascending=False)
        assert [t.get_text() for t in axes.get_yticklabels()] == list(total.index)
        dots = next(c for c in axes.collections if c.get_gid() == "total")
        np.testing.assert_allclose(np.asarray(dots.get_offsets())[:, 0], total)
        own["other factors"] = own[["Z_1", "Z_2", "Z_3"]].sum(axis=1)
        for bars, column in zip(axes.containers, key, strict=False):
            np.testing.assert_allclose([b.get_width() for b in bars], own.loc[total.index, column])
        for i, gene in enumerate(total.index):  # the bars of a gene reach as far as its positive and negative parts
            sides = own.loc[gene, key[:-1]]
            ends = [(b.get_x(), b.get_x() + b.get_width()) for bars in axes.containers for b in [bars[i]]]
            assert np.max(ends) == pytest.approx(sides[sides > 0].sum())
            assert np.min(ends) == pytest.approx(sides[sides < 0].sum())
    assert [t for t in figure.axes[0].texts if t.get_gid() == "label"]
    legible(figure, tmp_path)


def test_contributions_without_a_called_gene_say_so() -> None:
    de = de_table(3)
    contributions = contributions_table(de, k=4)
    figure = plot_differential_expression(
        de.assign(is_de=de["is_de"] & (de["group1"] != NAMES[2])), contributions=contributions
    )
    assert [t.get_text() for t in figure.axes[-1].texts] == ["no gene called"]
    assert [t.get_text() for t in figure.axes[-1].get_legend().get_texts()][-2:] == ["remainder", "total"]
    assert overlapping(figure) == []
    figure = plot_differential_expression(de.assign(is_de=False), contributions=contributions)
    assert figure.axes[-1].get_legend() is None


def test_contributions_that_do_not_belong_to_the_volcano_are_refused() -> None:
    de = de_table(2)
    contributions = contributions_table(de)
    gene = de.loc[de["is_de"], "gene"].iloc[0]

    def refused(contributions: object, de: pd.DataFrame = de, **kwargs: object) -> str:
        return message(plot_differential_expression, de, contributions=contributions, **kwargs)

    assert refused(de) == (
        "`contributions` must be the table that `differential_contributions` returns, but it lacks the columns "
        "'factor', 'contribution'."
    )
    assert refused(contributions[contributions["group1"] == NAMES[0]], n_labels=1).endswith(
        f" for '{NAMES[1]}' over 'rest': ask `differential_contributions` for the same groups with the same fit."
    )
    dropped = contributions[(contributions["gene"] != gene) | (contributions["factor"] != "Z_3")]
    assert refused(dropped, n_labels=len(de)).startswith(f"`contributions` lacks '{gene}' for '{NAMES[0]}' over 'rest'")
    assert refused(pd.concat([contributions] * 2)) == (
        f"`contributions` has '{NAMES[0]}' over 'rest' more than once: take the table of one call."
    )
    assert refused(contributions, pd.concat([de.assign(within="day 1"), de.assign(within="day 2")])) == (
        "`contributions` are those of one set of cells, but `de` has several populations in `within`: draw one at a "
        "time."
    )
    assert refused(contributions, n_labels=0) == "`n_labels` must be a whole number of at least 1, not 0."
    assert refused(contributions, de[de["group1"] == NAMES[0]], ax=Figure().add_subplot()) == (
        "`ax` holds the volcano alone: leave out `ax` or `contributions`."
    )


# ---------------------------------------------------------------- association


def marked(axes: Axes) -> set[tuple[float, float]]:
    return {(float(x), float(y)) for c in axes.collections if c.get_gid() == "marks" for x, y in c.get_offsets()}


@pytest.mark.parametrize("n", [6, 30])
def test_association_tiles_and_marks(n: int, tmp_path: Path) -> None:
    association = association_table(NAMES[:n], k=20)
    axes = plot_association(association)
    assert isinstance(axes, Axes)
    values = np.ma.filled(axes.collections[0].get_array(), np.nan).reshape(n, 20)
    expected = set()
    for row in association.itertuples():
        level = NAMES.index(row.level)
        column = 20.5 if row.factor == "all" else int(row.factor[2:]) - 1
        if row.factor != "all":
            assert values[level, column] == row.effect
        if row.padj < 0.05:
            expected.add((float(column), float(level)))
    assert len(expected) > 3
    assert marked(axes) == expected
    low, high = axes.collections[0].get_clim()
    assert low == -high
    assert [t.get_text() for t in axes.get_xticklabels()] == [*factor_names(20), "all"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first level is at the top
    assert len(axes.patches) == n  # grey tiles of the test of all factors
    legible(axes.figure, tmp_path)


def test_association_one_test_for_all_levels_spans_them() -> None:
    association = association_table(["CTRL", "STIM", "REC"])
    association = association[(association["factor"] != "all") | (association["level"] == "CTRL")].copy()
    association.loc[association["factor"] == "all", ["level", "padj"]] = ["", 0.01]
    axes = plot_association(association)
    assert [p.get_height() for p in axes.patches] == [3]
    assert (12.5, 1.0) in marked(axes)


@pytest.mark.parametrize("n", [6, 30])
def test_association_within_populations_are_facets(n: int, tmp_path: Path) -> None:
    association = association_table(["CTRL", "STIM"], tuple(NAMES[:n]))
    figure = plot_association(association)
    assert isinstance(figure, Figure)
    facets = figure.axes[:n]
    assert len(figure.axes) == n + 1  # and the colour bar
    assert [a.get_ylabel()[:20] for a in facets] == [name[:20] for name in NAMES[:n]]
    one = association[(association["within"] == NAMES[2]) & (association["factor"] == "Z_3")]
    np.testing.assert_array_equal(facets[2].collections[0].get_array().reshape(2, 12)[:, 2], one["effect"])
    legible(figure, tmp_path)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_association_of_few_factors_keeps_its_legend(k: int, tmp_path: Path) -> None:
    legible(plot_association(association_table(["treated"], ("P0", "P1"), k=k)), tmp_path)


def test_association_without_effects_is_still_drawn() -> None:
    association = association_table(["a", "b"]).assign(effect=np.nan, padj=np.nan)
    axes = plot_association(association)
    assert marked(axes) == set()


# ---------------------------------------------------------------- all of them


def every_picture() -> list[Axes | Figure]:
    loadings, programs = program_tables(6)
    return [
        plot_history(history_table()),
        plot_loadings(loadings_table()),
        plot_programs(loadings, programs),
        plot_differential_expression(de_table(2)),
        plot_differential_expression(de_table(1)),
        plot_differential_expression(de_table(1), contributions=contributions_table(de_table(1))),
        plot_association(association_table(NAMES[:6])),
        plot_association(association_table(["a"], ("x", "y"))),
    ]


def test_nothing_is_left_behind_and_every_picture_shows_itself() -> None:
    with matplotlib.style.context("default"), np.errstate(divide="raise", invalid="raise", over="raise"):
        before, figures, backend = dict(matplotlib.rcParams), plt.get_fignums(), matplotlib.get_backend()
        pictures = every_picture()
        assert dict(matplotlib.rcParams) == before
        assert plt.get_fignums() == figures
        assert matplotlib.get_backend() == backend
    for picture in pictures:
        assert picture._repr_png_().startswith(b"\x89PNG")  # type: ignore[union-attr]


def test_the_table_is_not_changed() -> None:
    tables = [history_table(), loadings_table(), *program_tables(6), de_table(2, True), association_table(["a", "b"])]
    tables.append(contributions_table(tables[4]))
    copies = [t.copy() for t in tables]
    plot_history(tables[0])
    plot_loadings(tables[1])
    plot_programs(tables[2], tables[3])
    plot_differential_expression(tables[4], contributions=tables[6])
    plot_association(tables[5])
    for t, copy in zip(tables, copies, strict=True):
        pd.testing.assert_frame_equal(t, copy)


def test_into_axes_of_the_caller() -> None:
    figure = Figure(figsize=(12, 4))
    axes = figure.subplots(1, 3)
    assert plot_history(history_table(), ax=axes[0]) is axes[0]
    assert plot_differential_expression(de_table(1), ax=axes[1]) is axes[1]
    assert plot_association(association_table(NAMES[:6]), ax=axes[2]) is axes[2]
    assert overlapping(figure) == []


def test_figsize_is_kept() -> None:
    loadings, programs = program_tables(6)
    for figure in (
        plot_loadings(loadings_table(), figsize=(9, 6)),
        plot_programs(loadings, programs, figsize=(9, 6)),
        plot_differential_expression(de_table(6), figsize=(9, 6)),
        plot_differential_expression(de_table(1), contributions=contributions_table(de_table(1)), figsize=(9, 6)),
        plot_differential_expression(de_table(1), figsize=(9, 6)).figure,
    ):
        assert figure.get_size_inches().tolist() == [9, 6]
        assert overlapping(figure) == []
        assert outside(figure) == []


def message(call: object, *args: object, **kwargs: object) -> str:
    with pytest.raises(ValueError) as caught:
        call(*args, **kwargs)  # type: ignore[operator]
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


def test_wrong_tables_are_refused_with_the_function_they_come_from() -> None:
    loadings, programs = program_tables(6)
    assert message(plot_history, history_table().drop(columns=["kl", "elbo_train"])) == (
        "`history` must be the table that `get_history` returns, but it lacks the columns 'elbo_train', 'kl'."
    )
    assert message(plot_history, history_table().head(0)) == (
        "`history` must be the table that `get_history` returns, but it has no rows."
    )
    assert message(plot_loadings, [1, 2]) == (
        "`loadings` must be the table that `get_loadings` returns, but it is a list."
    )
    assert message(plot_loadings, loadings) == (
        "`loadings` must be the table that `get_loadings` returns, but it lacks the column 'Z_1'."
    )
    assert "`population_loadings` returns, but it lacks the column" in message(
        plot_programs, loadings_table(), programs
    )
    assert "`population_programs` returns, but it lacks the column" in message(plot_programs, loadings, loadings)
    assert "`differential_expression` returns" in message(plot_differential_expression, programs)
    assert "`associate_factors` returns" in message(plot_association, programs)


def test_wrong_arguments_are_refused() -> None:
    loadings, programs = program_tables(6)
    scores, at = score_tables(programs)
    assert message(plot_loadings, loadings_table(3), factors="Z_7") == (
        "`factors` names 'Z_7', but the table has 'Z_1', 'Z_2', 'Z_3'."
    )
    assert message(plot_programs, loadings, programs, populations=["T"]).startswith("`populations` names 'T', but")
    assert message(plot_programs, loadings, programs, scores=scores) == (
        "`scores` and `embedding` must be given together, or neither."
    )
    assert message(plot_programs, loadings, programs, scores=scores, embedding=at[:5]) == (
        "`embedding` must have one row of two coordinates for each of the 900 cells of `scores`, not the shape (5, 2)."
    )
    assert "`get_program_scores` returns, but it lacks the column" in message(
        plot_programs, loadings, programs, scores=scores.iloc[:, :2], embedding=at
    )
    assert message(plot_programs, loadings[loadings["population"] != NAMES[0]], programs) == (
        f"`loadings` has no genes for program 'specific_1' of '{NAMES[0]}': take `loadings` and `programs` from calls "
        "with the same arguments."
    )
    assert message(plot_differential_expression, de_table(2), group1="T").startswith(
        "`group1` names 'T', but the table"
    )
    axes = Figure().add_subplot()
    assert message(plot_differential_expression, de_table(2), ax=axes) == (
        "`ax` holds one comparison, but there are 2: choose `group1` and `group2`."
    )
    pair = de_table(2).assign(group2=lambda t: np.where(t["group1"] == NAMES[0], "x", "y"))
    assert message(plot_differential_expression, pair, group1=NAMES[0], group2="y") == (
        "`group2` names 'y', but the table has 'x'."
    )
    assert message(plot_association, association_table(["a"], ("x", "y")), ax=axes) == (
        "`ax` holds one facet, but the table has 2: choose one `key` and one `within`."
    )
    with pytest.raises(ValueError, match="`n_genes` must be a whole number of at least 1, not 0"):
        plot_loadings(loadings_table(), n_genes=0)


def test_without_matplotlib_one_sentence_and_nothing_else_breaks() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import pandas as pd\n"
        "from ldvae.plots import plot_loadings\n"
        "try: plot_loadings(pd.DataFrame({'gene': ['A'], 'Z_1': [1.0]}))\n"
        "except ImportError as error: print(error)"
    )
    path = {"PYTHONPATH": str(Path(__file__).parents[1] / "python_pkg")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path, check=True)
    assert done.stdout == "Plots need matplotlib: pip install 'ldvae[plot]'.\n"
