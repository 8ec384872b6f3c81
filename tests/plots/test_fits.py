"""Training and loadings: the pictures show what the tables say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ldvae.plots.fits import plot_history, plot_loadings
from ldvae.tables import factor_names, wide
from pictures import history_table, legible, loadings_table, titles


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


def test_loadings_without_a_factor_and_with_many() -> None:
    with pytest.raises(ValueError, match=r"^`loadings` has no factor: none of the fit is active\.$"):
        plot_loadings(pd.DataFrame({"gene": ["A"]}))
    names = [f"Z_{i}" for i in range(1, 9)]
    figure = plot_loadings(wide("gene", ["A", "B"], names, np.ones((2, 8))))
    assert [axes.get_title() for axes in figure.axes] == names[:6]
    assert "The first 6 of 8 factors: see `factors`." in figure.texts[0].get_text().splitlines()


def test_loadings_never_call_a_positive_gene_down() -> None:
    loadings = wide("gene", ["A", "B", "C"], ["Z_1"], np.array([[1.0], [2.0], [np.nan]]))
    axes = plot_loadings(loadings).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["B", "A"]
