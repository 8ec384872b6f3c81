"""Figures that show themselves, and room for every panel and its labels; see `drawing`."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

SMALL, LARGE = 7.0, 8.0  # points; no text is smaller
PAGE = 7.5  # inches; grids are as wide as a printed page, so that print does not shrink the text


class Picture(Figure):
    """A figure outside pyplot's registry that shows itself at the end of a notebook cell.

    A pyplot figure stays in memory until it is closed, wants a backend, and is shown twice when a function returns it.
    A plain `Figure` has none of that, but Jupyter prints it as text until pyplot has been imported; hence `_repr_png_`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)  # keeps its renderer, so that measuring texts is quick

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


class Panel(Axes):
    """Axes that show their figure at the end of a notebook cell, for the functions that return axes."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.canvas.figure.savefig(buffer, format="png")
        return buffer.getvalue()


def grid(n: int, parts: int = 1, columns: int | None = None) -> tuple[Picture, list[list[Axes]], int]:
    """An empty figure, `n` slots of `parts` panels each, one above the other, and the number of columns of slots."""
    columns = columns or (n if n <= 3 else 3 if n <= 9 else 4)
    figure = Picture(figsize=(PAGE, 2.0 * parts * math.ceil(n / columns)))
    # A panel starts about as large as it will be, so that it has its final ticks when `arrange` measures them.
    size = (0.7 / columns, 0.7 / (parts * math.ceil(n / columns)))
    return figure, [[figure.add_axes((0, 0, *size), axes_class=Panel) for _ in range(parts)] for _ in range(n)], columns


def _overhang(axes: Axes) -> np.ndarray:
    """What sticks out of the axes at the left, top and bottom, in pixels; titles are not counted at the left."""
    if not axes.axison:
        return np.zeros(3)
    body, ticks = axes.get_window_extent(), axes.yaxis.get_tightbbox()
    tight = axes.get_tightbbox() or body
    left = 0.0 if ticks is None else max(0.0, body.x0 - ticks.x0)
    return np.array([left, tight.y1 - body.y1, body.y0 - tight.y0])


def arrange(
    figure: Figure,
    slots: Sequence[Sequence[Axes]],
    columns: int,
    heights: Sequence[float],
    foot: Sequence[str] = (),
    *,
    figsize: tuple[float, float] | None = None,
    body: float | None = None,
    gap: float = 0.12,
) -> None:
    """Give every panel its place: room for what sticks out of it is measured, not guessed, so nothing overlaps.

    `heights` has inches for each line of panels from the top down, and the figure grows to hold them; `figsize` scales
    them instead. `body` is the width of the panels in inches where the width of the figure should adapt. matplotlib's
    constrained layout centres titles on axes, not on slots, and shrinks axes beside long gene names to nothing.
    """
    width = figsize[0] if figsize else PAGE if columns > 2 else 3.75 * columns
    for axes in figure.axes if body is None else ():
        axes.title.set_text(_wrap(axes.get_title(), width / columns))
    figure.draw_without_rendering()
    # Lines of panels: the first panels of a row of slots, then their second ones, then the next row.
    rows = [slots[i : i + columns] for i in range(0, len(slots), columns)]
    lines = [[slot[part] for slot in row] for row in rows for part in range(len(row[0]))]
    over = [np.array([_overhang(axes) for axes in line]) / figure.dpi for line in lines]  # inches
    # Long names need a little more at another resolution than the one they are measured at.
    left = [0.1 + 1.04 * max(o[c, 0] for o in over if c < len(o)) for c in range(len(lines[0]))]
    if body is not None and not figsize:
        width = max(3.4, left[0] + body + 0.1)
    wide = int((width - 0.2) * 72 / (SMALL * 0.64))  # names of cell types have many capitals
    text = "\n".join(part for sentence in foot for part in textwrap.wrap(sentence, wide))
    chrome = (
        0.1 + (text.count("\n") + 1) * SMALL * 1.4 / 72 * bool(text) + sum(o[:, 1:].max(0).sum() + gap for o in over)
    )
    scale = max(0.1, figsize[1] - chrome) / sum(heights) if figsize else 1.0
    height, pitch = chrome + scale * sum(heights), width / columns
    figure.set_size_inches(width, height)
    figure.text(0.5, 0.05 / height, text, ha="center", va="bottom", fontsize=SMALL, linespacing=1.25, gid="foot")
    bottom = height - 0.05
    for line, size, o in zip(lines, scale * np.array(heights), over, strict=True):
        bottom -= o[:, 1].max() + size
        for c, axes in enumerate(line):
            x0 = c * pitch + (left[c] if axes.axison else 0.1)
            room = (c + 1) * pitch - 0.1 - x0
            axes.set_position((x0 / width, bottom / height, room / width, size / height))
            shift = (c + 0.5) * pitch - (x0 + room / 2) if body is None else 0.0
            axes.title.set_x(0.5 + shift / room)
            for details in [t for t in axes.texts if isinstance(t, Annotation) and t.get_gid() == "details"]:
                details.xyann = (72 * shift, details.xyann[1])
        bottom -= o[:, 2].max() + gap


def _wrap(title: str, inches: float) -> str:
    """A bold title in at most two lines."""
    return "\n".join(textwrap.wrap(title, max(8, int(inches * 72 / (LARGE * 0.72))), max_lines=2, placeholder="…"))


def tidy(axes: Axes, *, lines: Any = None) -> None:
    """Two spines, thin ticks, labels of at least 7 points; without touching rcParams."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL, length=2.5, width=0.6, pad=2)
    axes.xaxis.label.set_fontsize(SMALL + 0.5)
    axes.yaxis.label.set_fontsize(SMALL + 0.5)
    if lines is not None:
        axes.grid(axis=lines, color="#DDDDDD", linewidth=0.5)
        axes.set_axisbelow(True)


def shorten(text: str, length: int = 18) -> str:
    """At most `length` characters, with an ellipsis where some were left out."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def sentence(text: str, figsize: tuple[float, float] | None) -> Picture:
    """A figure that holds nothing but one sentence."""
    figure = Picture(figsize=figsize or (4.5, 1.2))
    axes = figure.add_axes((0, 0, 1, 1), axes_class=Panel)
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", wrap=True, fontsize=LARGE, transform=axes.transAxes)
    return figure


def settle(axes: Axes) -> None:
    """Lay the figure out now, so that positions and sizes in pixels are the final ones."""
    axes.figure.canvas.figure.draw_without_rendering()


def inches(axes: Axes) -> float:
    """The width of the axes."""
    return float(axes.get_window_extent().width / axes.figure.canvas.figure.dpi)


def heading(axes: Axes, title: str, details: Sequence[str] = ()) -> None:
    """A bold title over smaller lines of details, above the axes."""
    axes.set_title(title, fontsize=LARGE, fontweight="bold", pad=5 + len(details) * SMALL * 1.25, linespacing=1.1)
    axes.annotate(
        "\n".join(details), (0.5, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha="center",
        va="bottom", fontsize=SMALL, linespacing=1.15, annotation_clip=False, gid="details",
    )  # fmt: skip
