"""Of all pictures: nothing is left behind, nothing is changed, and every label can be read."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ldvae.plots.comparisons import plot_association, plot_differential_expression
from ldvae.plots.fits import plot_history, plot_loadings
from ldvae.plots.program_map import plot_program_map
from ldvae.plots.programs import plot_programs
from pictures import (
    NAMES,
    association_table,
    contributions_table,
    de_table,
    history_table,
    loadings_table,
    map_table,
    outside,
    overlapping,
    program_tables,
)


def test_overlaps_are_seen() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.text(0.5, 0.5, "first")
    axes.text(0.51, 0.5, "second")
    axes.text(2.5, 0.5, "away")
    assert overlapping(figure) == [("first", "second")]
    assert outside(figure) == ["away"]


def every_picture() -> list[Axes | Figure]:
    loadings, programs = program_tables(6)
    return [
        plot_history(history_table()),
        plot_loadings(loadings_table()),
        plot_programs(loadings, programs),
        plot_program_map(map_table(6, 5)),
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
    tables += [contributions_table(tables[4]), map_table(6, 5)]
    copies = [t.copy() for t in tables]
    plot_history(tables[0])
    plot_loadings(tables[1])
    plot_programs(tables[2], tables[3])
    plot_differential_expression(tables[4], contributions=tables[6])
    plot_association(tables[5])
    plot_program_map(tables[7])
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
        plot_program_map(map_table(6, 14), figsize=(9, 6)),
        plot_differential_expression(de_table(6), figsize=(9, 6)),
        plot_differential_expression(de_table(1), contributions=contributions_table(de_table(1)), figsize=(9, 6)),
        plot_differential_expression(de_table(1), figsize=(9, 6)).figure,
    ):
        assert figure.get_size_inches().tolist() == [9, 6]
        assert overlapping(figure) == []
        assert outside(figure) == []
