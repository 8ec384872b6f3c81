"""Volcanoes, contributions and associations: the pictures show what the tables say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ldvae.plots.comparisons import plot_association, plot_differential_expression
from ldvae.tables import factor_names
from pictures import (
    NAMES,
    association_table,
    contributions_table,
    de_table,
    drawn,
    legible,
    marked,
    overlapping,
    texts,
    titles,
)


@pytest.mark.parametrize("n", [1, 6, 24])
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


@pytest.mark.parametrize(("page", "panels"), [(1, 24), (2, 9)])
def test_volcanoes_beyond_24_are_on_another_page(page: int, panels: int) -> None:
    de = de_table(33)
    figure = plot_differential_expression(de, n_labels=0, page=page)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == panels
    assert f"Page {page} of 2, of 33 panels: see `page`." in texts(figure, "foot")[0]
    assert titles(figure)[0] == de["group1"].unique()[24 * (page - 1)]


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


@pytest.mark.parametrize("n", [6, 24])
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


@pytest.mark.parametrize("n", [6, 24])
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
