"""How a picture is made: colours everybody can tell apart, shapes in panels, names that do not overlap.

This and `layout` are the only modules that import matplotlib; `plots` loads them when a picture is asked for.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory
from mpl_toolkits.axes_grid1 import make_axes_locatable  # type: ignore[import-untyped]

from .layout import (
    PAGE,
    SMALL,
    Panel,
    Picture,
    arrange,
    grid,
    heading,
    inches,
    sentence,
    settle,
    shorten,
    tidy,
)

__all__ = [
    "SMALL", "VERMILLION", "BLUE", "GREEN", "GREY", "Panel", "Picture", "activity", "arrange", "colour_bar", "dot_axes",
    "dots", "genes", "grey_tile", "grid", "heading", "inches", "label_points", "marks", "sentence", "settle", "shorten",
    "split_below", "stack_key", "stacks", "tidy", "tiles", "volcano",
]  # fmt: skip

# Okabe & Ito (2008): blue against vermillion is told apart with every common form of colour blindness.
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
# Six more of theirs and of Paul Tol's, none of them a colour of up and down, and the greys of what is no single factor.
STACK = ["#E69F00", "#56B4E9", GREEN, "#CC79A7", "#F0E442", "#332288"]
RESTS = {"other factors": "#CFCFCF", "remainder": GREY}
# The centre is light grey, not white, so that a cell without activity is still seen on white paper.
DIVERGING = LinearSegmentedColormap.from_list("ldvae_diverging", ["#00426B", BLUE, "#E4E4E4", VERMILLION, "#8A3A00"])


def split_below(axes: Axes) -> Axes:
    """Axes of their own in the lower third of `axes`, which shrink; with the same horizontal axis."""
    return make_axes_locatable(axes).append_axes("bottom", size="38%", pad=0.12, sharex=axes)


def genes(
    axes: Axes, names: Sequence[str], values: np.ndarray, errors: np.ndarray | None = None, sure: Any = True
) -> None:
    """One row per gene from the top down: bars from zero, or, with `errors`, points with their intervals.

    Up is vermillion, down is blue; where `sure` is false the point is hollow.
    """
    rows = np.arange(len(values))[::-1]
    colours = np.where(values >= 0, VERMILLION, BLUE)
    if errors is None:
        axes.barh(rows, values, color=colours.tolist(), height=0.7)
    else:
        axes.hlines(rows, values - errors, values + errors, color=colours.tolist(), linewidth=1.1)
        faces = np.where(sure, colours, "white")
        axes.scatter(values, rows, s=15, c=faces.tolist(), edgecolors=colours.tolist(), linewidths=0.9, zorder=3)
    axes.axvline(0, color="#555555", linewidth=0.6, zorder=1)
    axes.set_yticks(rows, [shorten(name) for name in names])
    axes.set_ylim(-0.7, len(values) - 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
    axes.margins(x=0.08)
    tidy(axes, lines="x")
    axes.tick_params(axis="y", length=0)


def stack_colours(columns: Sequence[str]) -> dict[str, str]:
    """A colour for each column of `stacks`."""
    return dict(zip([c for c in columns if c not in RESTS], STACK, strict=False)) | RESTS


def stacks(axes: Axes, table: pd.DataFrame, rows: int) -> None:
    """One row per gene from the top down, with room for `rows`.

    Positive parts are to the right of zero, negative ones to the left, and a dot is at their sum.
    """
    if table.empty:
        axes.set(xticks=[], yticks=[])  # not `set_axis_off`: the key may hang below
        axes.spines[:].set_visible(False)
        axes.text(0.5, 0.5, "no gene called", ha="center", va="center", fontsize=SMALL, transform=axes.transAxes)
        return
    at, values, colours = -np.arange(len(table)), table.to_numpy(), stack_colours(list(table.columns))
    for j, column in enumerate(table.columns):
        before = np.where(np.sign(values[:, :j]) == np.sign(values[:, [j]]), values[:, :j], 0).sum(axis=1)
        axes.barh(at, values[:, j], left=before, color=colours[column], height=0.75, edgecolor="w", linewidth=0.3)
    axes.scatter(values.sum(axis=1), at, s=13, c="black", edgecolors="w", linewidths=0.7, zorder=3, gid="total")
    axes.axvline(0, color="#555555", linewidth=0.6, zorder=2)
    axes.set_yticks(at, [shorten(str(name)) for name in table.index])
    axes.set_ylim(0.3 - rows, 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    tidy(axes, lines="x")
    axes.tick_params(axis="y", length=0)


def stack_key(axes: Axes, columns: Sequence[str], figsize: tuple[float, float] | None) -> None:
    """The colours of `stacks`, in the middle of the figure below `axes`."""
    figure, colours = axes.figure.canvas.figure, stack_colours(columns)
    handles = [Rectangle((0, 0), 1, 1, facecolor=colours[c], label=c) for c in columns]
    dot = axes.scatter([], [], s=13, c="black", label="total")
    below = axes.transAxes + ScaledTranslation(0, -0.4, figure.dpi_scale_trans)
    axes.legend(
        handles=[*handles, dot], ncols=max(1, round(1.2 * (figsize[0] if figsize else PAGE))), loc="upper center",
        bbox_to_anchor=(0.5, 0), bbox_transform=blended_transform_factory(figure.transFigure, below), borderaxespad=0,
        fontsize=SMALL, frameon=False, handlelength=0.9, handletextpad=0.4, columnspacing=1.0,
    )  # fmt: skip


def activity(axes: Axes, at: np.ndarray, scores: np.ndarray) -> None:
    """Cells at `at`, coloured by score about 0, the strongest on top; cells without a score are grey."""
    known = np.isfinite(scores)
    sizes = np.abs(scores[known])
    # A rare population must not drown in the noise of all others, nor all others in one extreme cell.
    limit = float(max(np.quantile(sizes, 0.98), sizes.max() / 2)) if known.any() else 0.0
    size = float(np.clip(2500 / max(len(at), 1), 0.4, 8))
    axes.scatter(at[~known, 0], at[~known, 1], s=size, color="#CCCCCC", linewidths=0, rasterized=True)
    order = np.flatnonzero(known)[np.argsort(sizes, kind="stable")]
    axes.scatter(
        at[order, 0], at[order, 1], s=size, c=scores[order], cmap=DIVERGING, vmin=-(limit or 1.0), vmax=limit or 1.0,
        linewidths=0, rasterized=True,
    )  # fmt: skip
    axes.set_axis_off()


def volcano(axes: Axes, x: np.ndarray, y: np.ndarray, called: np.ndarray, beyond: np.ndarray) -> None:
    """Points of a volcano; called ones in colour, those beyond the axis as triangles."""
    for which, colour in ((~called, "#BBBBBB"), (called & (x < 0), BLUE), (called & (x >= 0), VERMILLION)):
        for where, marker, size in ((which & ~beyond, "o", 6), (which & beyond, "^", 10)):
            if where.any():
                axes.scatter(x[where], y[where], s=size, c=colour, marker=marker, linewidths=0, rasterized=True)
    axes.axvline(0, color="#555555", linewidth=0.6, zorder=0)
    # Room for names above the highest points, and beside the outermost.
    top, side = max(1.0, float(y.max(initial=0))), max(0.5, float(np.abs(x).max(initial=0)))
    axes.set(ylim=(-0.03 * top, 1.35 * top), xlim=(-1.2 * side, 1.2 * side))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.set_yticks(
        [tick for tick in MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(0, top) if 0 <= tick <= top]
    )
    tidy(axes)


def tiles(axes: Axes, values: np.ndarray, limit: float) -> Any:
    """A heat map of `values` with colours from -limit to limit, the first row at the top."""
    columns, rows = (np.arange(n + 1) - 0.5 for n in values.shape[::-1])
    mesh = axes.pcolormesh(
        columns, rows, values, cmap=DIVERGING, vmin=-limit, vmax=limit, edgecolors="w", linewidth=0.6
    )
    axes.set(xlim=(columns[0], columns[-1]), ylim=(rows[-1], rows[0]))
    tidy(axes)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return mesh


def grey_tile(axes: Axes, column: float, row: float, height: float) -> None:
    """A tile without a value, `height` rows tall."""
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, height, facecolor="#D9D9D9", edgecolor="w", linewidth=0.6))


def marks(axes: Axes, at: Sequence[tuple[float, float]]) -> None:
    """Dots on tiles, black with a white rim to be seen on every colour."""
    if at:
        x, y = zip(*at, strict=True)
        axes.scatter(x, y, s=13, c="black", edgecolors="w", linewidths=0.7, zorder=3, gid="marks")


def dot_axes(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Room for dots: the names of the columns stand above, the first row is at the top."""
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.xaxis.tick_top()
    tidy(axes, lines="both")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def dots(
    axes: Axes, key: Axes, x: np.ndarray, y: np.ndarray, sizes: np.ndarray, filled: np.ndarray, dark: np.ndarray
) -> None:
    """Dots whose areas are as `sizes`: filled, dark rings or pale rings, with what that means in `key`.

    The axes must have their final size. A filled dot is always seen, a ring of size zero is not.
    """
    box, unit = axes.get_window_extent(), axes.figure.canvas.figure.dpi / 72
    pitch = min(box.width / abs(np.diff(axes.get_xlim())[0]), box.height / abs(np.diff(axes.get_ylim())[0])) / unit
    most, largest = float(sizes.max(initial=0)) or 1.0, max(3.0, min(14.0, pitch) - 1.6) ** 2
    kinds = [(~filled & ~dark, "white", "#BDBDBD", "not sure"), (~filled & dark, "white", "#555555", "varies")]
    handles: list[Any] = []
    for where, face, edge, label in [*kinds, (filled, BLUE, BLUE, "active")]:
        where = where & (filled | (sizes > 0))
        area = np.maximum(largest * sizes[where] / most, 6.0 if label == "active" else 0.0)
        axes.scatter(x[where], y[where], s=area, c=face, edgecolors=edge, linewidths=0.9, zorder=3, gid=label)
        handles.insert(0, key.scatter([], [], s=35, c=face, edgecolors=edge, linewidths=0.9, label=label))
    power = 10.0 ** np.floor(np.log10(most))
    top = power * max(step for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))
    for value in (top / 5, top / 2, top):
        handles.append(key.scatter([], [], s=largest * value / most, c=GREY, linewidths=0, label=f"{value:.3g}"))
    key.legend(
        handles=handles, ncols=6, loc="center", fontsize=SMALL, frameon=False, handletextpad=0.2, columnspacing=1.0,
        borderaxespad=0,
    )  # fmt: skip


def colour_bar(mesh: Any, label: str, *, beyond: bool, width: float, into: Axes | None = None) -> None:
    """A slim horizontal colour bar, `width` inches, in the axes `into`, or else under those of `mesh`."""
    place: dict[str, Any] = {"cax": into} if into is not None else {"ax": mesh.axes, "aspect": 40, "pad": 0.15}
    bar = mesh.axes.figure.colorbar(mesh, orientation="horizontal", extend="both" if beyond else "neither", **place)
    bar.ax.tick_params(labelsize=SMALL, length=2.5, width=0.6)
    text = textwrap.fill(label, max(20, int(width * 72 / (SMALL * 0.6))))
    if into is None:  # below, where lines of text are in nobody's way
        bar.set_label(text, fontsize=SMALL)
    else:
        bar.ax.set_title(text, fontsize=SMALL, pad=4)
    bar.outline.set_visible(False)


def label_points(axes: Axes, xy: np.ndarray, names: Sequence[str], others: np.ndarray) -> None:
    """Names beside points, the most important first; a name for which there is no free place is left out.

    Each name takes the nearest place around its point that lies inside the axes, with hardly a point under the name and
    its line, and touches neither the names nor the lines already there. `xy` and `others` (all points) are in data
    units; the axes must have their final size.
    """
    unit = axes.figure.canvas.figure.dpi / 72  # pixels per point
    corners, steps = axes.get_window_extent().get_points(), np.linspace(0, 1, 16)[:, None]
    points, everything = axes.transData.transform(xy), axes.transData.transform(others)
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False) + np.pi / 2
    radii = np.repeat([4.0, 7.0, 11.0, 16.0, 22.0, 30.0, 40.0], len(angles))
    around = np.tile(np.column_stack([np.cos(angles), np.sin(angles)]), (7, 1))
    placed: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # centre and half size of a name, and its line
    for name, point, at in zip(names, points, xy, strict=True):
        text = axes.annotate(
            shorten(name), at, (0, 0), textcoords="offset points", ha="center", va="center", fontsize=SMALL, zorder=5,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "#555555", "shrinkA": 0, "shrinkB": 1.5},
            gid="label",
        )  # fmt: skip
        text.set_in_layout(False)
        extent = Text.get_window_extent(text)  # the text without its line
        half = np.array([0.53 * extent.width, 0.5 * extent.height]) + unit  # a little wider: hinting depends on the dpi
        centres = point + (half + radii[:, None] * unit) * around  # places × 2
        lines = point + steps * (centres - point)[:, None]  # places × steps × 2
        near = everything[np.all(np.abs(everything - point) < 2 * half + 45 * unit, axis=1)]
        covered = _inside(near, centres[:, None], half + unit).sum(axis=1)
        struck = (_distance(near - point, (centres - point)[:, None]) < 2 * unit).sum(axis=1)
        free = np.all((centres - half >= corners[0]) & (centres + half <= corners[1]), axis=1)
        free &= (covered < 2) & (struck < 4)
        for centre, size, line in placed:
            free &= ~_inside(centres, centre, half + size)
            free &= ~_inside(lines, centre, size).any(axis=1) & ~_inside(line, centres[:, None], half).any(axis=1)
            free &= ~_cross(point, centres, line[0], line[-1])
        if not free.any():
            text.remove()
            continue
        best = int(np.argmin(np.where(free, radii + 8 * covered + 6 * struck, np.inf)))
        text.set_position(tuple((centres[best] - point) / unit))
        placed.append((centres[best], half, lines[best]))


def _inside(points: np.ndarray, centre: np.ndarray, half: np.ndarray) -> Any:
    """Which points lie in the box of half size `half` about `centre`."""
    return np.all(np.abs(points - centre) < half, axis=-1)


def _distance(points: np.ndarray, line: np.ndarray) -> Any:
    """How far `points` lie from the segment from 0 to `line`; infinity for those nearer to 0 than to the rest of it."""
    along = (points * line).sum(axis=-1) / (line * line).sum(axis=-1)
    away = points - np.clip(along, 0, 1)[..., None] * line
    return np.where(along > 0.1, np.hypot(away[..., 0], away[..., 1]), np.inf)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> Any:
    """Which of the segments from `a` to `b` (places × 2) cross the one from `c` to `d`."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> Any:
        u, v = q - p, r - p
        return np.sign(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
