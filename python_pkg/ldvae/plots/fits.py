"""Pictures of a fit: how training went, which genes make its factors. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import checks
from .arguments import check_axes, check_known, check_table, load_drawing, paged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_history", "plot_loadings"]


def plot_history(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how training went.

    The ELBO on training cells and what is predicted of held-out ones (`get_history`), higher is better, with the best
    held-out epoch marked, and below it the KL divergence of the latent variables. The axis leaves out the steep start
    where it would flatten the rest.

    Parameters
    ----------
    history
        The table of `get_history`; nats per cell.
    ax
        Axes to draw into; their lower third goes to the KL. A new figure if not given.

    Returns
    -------
    Axes
        The axes of the bound; the figure is its `.figure`.

    Raises
    ------
    ValueError
        If `history` is not such a table.
    """
    history = check_table("history", history, ["epoch", "elbo_train", "elbo_validation", "kl"], "get_history")
    check_axes(ax)
    d = load_drawing()
    if ax is None:  # no automatic layout: it does not know the axes that are split off below
        ax = d.Picture(figsize=(4.5, 3.4)).add_axes((0.15, 0.13, 0.81, 0.83), axes_class=d.Panel)
    below = d.split_below(ax)
    for column, colour, label in [("elbo_train", d.GREY, "training"), ("elbo_validation", d.BLUE, "held out")]:
        drawn = history[["epoch", column]].dropna()
        if len(drawn):
            ax.plot(drawn["epoch"], drawn[column], color=colour, linewidth=1.3, label=label)
    below.plot(history["epoch"], history["kl"], color=d.GREEN, linewidth=1.3)
    elbo = history[["elbo_train", "elbo_validation"]].to_numpy(dtype=float)
    if np.isfinite(elbo).sum() > 1:
        low, high = np.nanquantile(elbo, 0.1), np.nanmax(elbo)
        margin = 0.08 * (high - low) or 1.0
        ax.set_ylim(low - margin, high + 2.5 * margin)
    if history["elbo_validation"].notna().any():
        best = history.iloc[int(np.nanargmax(elbo[:, 1]))]
        ax.plot(
            best["epoch"], best["elbo_validation"], "o", color=d.VERMILLION, markersize=5,
            label=f"best, epoch {int(best['epoch'])}",
        )  # fmt: skip
        for axes in (ax, below):
            axes.axvline(best["epoch"], color=d.VERMILLION, linewidth=0.7, linestyle=":", zorder=0)
    ax.set_ylabel("bound (nats per cell)")
    below.set(ylabel="KL (nats)", xlabel="epoch")
    for axes in (ax, below):
        d.tidy(axes)
    ax.tick_params(labelbottom=False)
    ax.legend(fontsize=d.SMALL, frameon=False, loc="lower right")
    return ax


def plot_loadings(
    loadings: pd.DataFrame,
    *,
    factors: str | Sequence[str] | None = None,
    n_genes: int = 10,
    page: int = 1,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the genes that make each factor: its strongest genes up and down.

    Parameters
    ----------
    loadings
        The table of `get_loadings`: log2 units per standard deviation of the factor.
    factors
        Names of factors, one panel each; the first six if not given.
    n_genes
        Genes per panel, half of them from each end.
    page
        Which page, if there are more than 24 panels.
    figsize
        Width and height in inches.

    Returns
    -------
    Figure
        One panel per factor.

    Raises
    ------
    ValueError
        If `loadings` is not such a table, or lacks a factor.
    """
    loadings = check_table("loadings", loadings, ["gene"], "get_loadings")
    if list(loadings) == ["gene"]:
        raise ValueError("`loadings` has no factor: none of the fit is active.")
    loadings = check_table("loadings", loadings, ["Z_1"], "get_loadings")
    every = [str(column) for column in loadings.columns if column != "gene"]
    chosen = every[:6] if factors is None else checks.strings("factors", factors)
    check_known("factors", chosen, every)
    n_genes, figsize = checks.integer("n_genes", n_genes, 1), checks.optional(checks.size, "figsize", figsize)
    chosen, foot = paged(chosen, page)
    if factors is None and len(every) > len(chosen):
        foot = [f"The first {len(chosen)} of {len(every)} factors: see `factors`."]
    d = load_drawing()
    figure, slots, columns = d.grid(len(chosen))
    for factor, (axes,) in zip(chosen, slots, strict=True):
        column = loadings.set_index("gene")[factor].dropna().sort_values(ascending=False, kind="stable")
        up = column[column > 0].head(n_genes - n_genes // 2)
        drawn = pd.concat([up, column[column < 0].tail(n_genes // 2)])
        d.genes(axes, drawn.index.astype(str).tolist(), drawn.to_numpy(dtype=float))
        d.heading(axes, factor)
    heights = [0.14 * n_genes] * -(-len(slots) // columns)
    d.arrange(figure, slots, columns, heights, ["loading (log2 units per SD of the factor)", *foot], figsize=figsize)
    return figure
