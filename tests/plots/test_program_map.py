"""The map of programs: what is filled, how large, in which order, and what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ldvae.plots.program_map import plot_program_map
from pictures import NAMES, legible, map_table, texts

POPULATIONS = ["A", "B", "C"]


def small() -> pd.DataFrame:
    """Three programs: of A alone, of C and B, of none."""
    facts = {
        ("program_1", "A"): (16, 1e-9, True), ("program_1", "B"): (4, 1e-9, False), ("program_1", "C"): (1, 0.5, False),
        ("program_2", "A"): (-1, 0.9, False), ("program_2", "B"): (9, 1e-3, True), ("program_2", "C"): (64, 0.01, True),
        ("program_3", "A"): (2, 0.06, False), ("program_3", "B"): (1, 1.0, False), ("program_3", "C"): (0, 1.0, False),
    }  # fmt: skip
    rows = [
        {
            "program": program, "population": population, "variance": float(variance), "padj": padj, "active": active,
            "top_up": f"{population}1, {population}2, {population}3" if active else "",
            "top_down": f"{population}9" if active and population == "C" else "",
        }
        for (program, population), (variance, padj, active) in facts.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def shown(figure: Figure) -> dict[tuple[str, str], tuple[str, float]]:
    """What stands at each program and population: the kind of dot and its area."""
    axes = figure.axes[0]
    rows, columns = ([t.get_text() for t in labels] for labels in (axes.get_yticklabels(), axes.get_xticklabels()))
    return {
        (rows[int(y)].split()[-1], columns[int(x)]): (dots.get_gid(), float(size))
        for dots in axes.collections
        for (x, y), size in zip(dots.get_offsets(), dots.get_sizes(), strict=True)
    }


def rows(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def columns(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_a_dot_says_whether_and_how_much() -> None:
    found = shown(plot_program_map(small()))
    assert {at: kind for at, (kind, _) in found.items()} == {
        ("program_2", "B"): "active", ("program_2", "C"): "active", ("program_1", "A"): "active",
        ("program_1", "B"): "varies", ("program_1", "C"): "not sure",
    }  # fmt: skip
    area = {at: size / found["program_2", "C"][1] for at, (_, size) in found.items()}
    for at, variance in {("program_2", "B"): 9, ("program_1", "A"): 16, ("program_1", "B"): 4}.items():
        assert area[at] == pytest.approx(np.sqrt(variance / 64))


def test_filled_is_active_and_rings_are_not() -> None:
    axes = plot_program_map(small()).axes[0]
    faces = {dots.get_gid(): to_hex(dots.get_facecolors()[0]).upper() for dots in axes.collections}
    edges = {dots.get_gid(): to_hex(dots.get_edgecolors()[0]).upper() for dots in axes.collections}
    assert faces == {"active": "#0072B2", "varies": "#FFFFFF", "not sure": "#FFFFFF"}
    assert len(set(edges.values())) == 3


def test_an_active_program_without_measured_variance_is_still_seen() -> None:
    table = small()
    table.loc[0, "variance"] = -0.5
    kind, area = shown(plot_program_map(table))["program_1", "A"]
    assert kind == "active" and area > 4


def test_the_key_has_the_sizes_of_the_dots() -> None:
    figure = plot_program_map(small())
    legend = figure.axes[1].get_legend()
    assert legend is not None
    said = [t.get_text() for t in legend.get_texts()]
    assert said == ["active", "varies", "not sure", "1", "2.5", "5"]  # the largest is 8
    sizes = [float(handle.get_sizes()[0]) for handle in legend.legend_handles]
    found = shown(figure)
    assert sizes[5] == pytest.approx(found["program_2", "C"][1] * 5 / 8)
    assert sizes[3] == pytest.approx(sizes[5] / 5)


def test_those_of_most_populations_come_first_with_the_genes_of_where_they_are_strongest() -> None:
    figure = plot_program_map(small())
    assert rows(figure) == ["C1, C2 / C9   program_2", "A1, A2, A3   program_1"]
    assert columns(figure) == POPULATIONS
    assert "1 program active nowhere here" in texts(figure, "foot")[0]
    assert rows(plot_program_map(small(), n_genes=1)) == ["C1   program_2", "A1   program_1"]
    assert rows(plot_program_map(small(), n_genes=0)) == ["program_2", "program_1"]
    of_one = small().assign(population=lambda t: t["population"].map({"A": "C", "B": "B", "C": "A"}))
    of_one.loc[4, ["active", "top_up", "top_down"]] = [False, "", ""]
    assert [row.split()[-1] for row in rows(plot_program_map(of_one, populations=["A", "B", "C"], n_genes=0))] == [
        "program_2", "program_1",
    ]  # fmt: skip
    assert rows(plot_program_map(of_one, populations=["C", "B", "A"], n_genes=0)) == ["program_1", "program_2"]


def test_chosen_ones_are_drawn_in_that_order() -> None:
    figure = plot_program_map(small(), programs=["program_1", "program_3", "program_2"], populations=["C", "A"])
    assert rows(figure) == ["A1, A2, A3   program_1", "program_3", "C1, C2 / C9   program_2"]
    assert columns(figure) == ["C", "A"]
    assert shown(figure)["program_3", "A"][0] == "not sure"
    assert "nowhere" not in texts(figure, "foot")[0]
    assert rows(plot_program_map(small(), populations="A", n_genes=0)) == ["program_1"]


def test_more_than_fit_are_cut_and_it_says_so() -> None:
    figure = plot_program_map(small(), max_programs=1, n_genes=0)
    assert rows(figure) == ["program_2"]
    foot = texts(figure, "foot")[0].replace("\n", " ")
    assert "First 1 of 2 programs: choose with `programs` or raise `max_programs`." in foot
    parts = [small().assign(population=lambda t, i=i: t["population"] + f" {i:02d}") for i in range(21)]
    many = pd.concat(parts, ignore_index=True)
    figure = plot_program_map(many)
    assert columns(figure) == [f"{name} {i:02d}" for i in range(20) for name in POPULATIONS]
    assert "First 60 of 63 populations: choose with `populations`." in texts(figure, "foot")[0].replace("\n", " ")


@pytest.mark.parametrize("table", [small().assign(active=False), small().head(0)])
def test_nothing_active_says_so(table: pd.DataFrame) -> None:
    said = [t.get_text() for t in plot_program_map(table).axes[0].texts]
    assert said == ["No program is active in any of these populations."]


def test_missing_numbers_are_no_dots() -> None:
    table = small()
    table.loc[1, ["variance", "padj"]] = np.nan
    table.loc[2, "padj"] = np.nan
    found = shown(plot_program_map(table))
    assert ("program_1", "B") not in found
    assert found["program_1", "C"][0] == "not sure"


@pytest.mark.parametrize(("n", "n_programs"), [(1, 2), (2, 4), (6, 14), (30, 63)])
def test_it_can_be_read(n: int, n_programs: int, tmp_path: Path) -> None:
    figure = plot_program_map(map_table(n, n_programs))
    axes = figure.axes[0]
    assert len(rows(figure)) == min(60, n_programs - 1)
    whole = [name.rstrip("…") for name in columns(figure)]
    assert all(name.startswith(short) for name, short in zip(NAMES[:n], whole, strict=True))
    box = axes.get_window_extent()
    pitch = min(box.width / n, box.height / len(rows(figure))) * 72 / figure.dpi
    assert max(np.sqrt(size) for _, size in shown(figure).values()) < pitch  # dots do not touch
    legible(figure, tmp_path)
