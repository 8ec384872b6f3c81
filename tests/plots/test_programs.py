"""Programs: the pictures show what the tables say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ldvae.plots.programs import plot_programs
from ldvae.tables import score_name
from pictures import NAMES, legible, program_tables, score_tables, texts, titles


@pytest.mark.parametrize("n", [6, 24])
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


@pytest.mark.parametrize("n", [6, 24])
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
        assert rows[tuple(at[i])] == scores[score_name(NAMES[0], "program_1")][i]
    low, high = cells.get_clim()
    assert low == -high


def test_programs_of_chosen_populations_in_that_order() -> None:
    loadings, programs = program_tables(6)
    assert titles(plot_programs(loadings, programs, populations=[NAMES[4], NAMES[0]])) == [NAMES[4], NAMES[0]]


def test_programs_none_called_says_so() -> None:
    loadings, programs = program_tables(6)
    figure = plot_programs(loadings.head(0), programs.assign(called=False))
    assert [t.get_text() for t in figure.axes[0].texts] == ["No program was called in any of these populations."]


def test_programs_of_populations_that_have_only_what_is_left_are_silent() -> None:
    loadings, programs = program_tables(6)
    left = programs.loc[programs["program"] == "rest", "population"].tolist()
    assert left == [NAMES[2], NAMES[5]]
    figure = plot_programs(loadings, programs, populations=[NAMES[2], NAMES[0]])
    assert titles(figure) == [NAMES[0]]
    assert f"No program called in {NAMES[2]}." in texts(figure, "foot")[0]
    alone = plot_programs(loadings, programs, populations=left)
    assert [t.get_text() for t in alone.axes[0].texts] == ["No program was called in any of these populations."]
