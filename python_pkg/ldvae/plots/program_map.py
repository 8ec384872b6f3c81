"""A picture of where each program varies: programs × populations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import checks
from ..tables import LEVEL
from .arguments import check_known, check_table, load_drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_program_map"]

_MAX_POPULATIONS = 60  # columns; more cannot be read on a page
_PITCH = (0.24, 0.2)  # inches from dot to dot


def plot_program_map(
    program_map: pd.DataFrame,
    *,
    populations: str | Sequence[str] | None = None,
    programs: str | Sequence[str] | None = None,
    n_genes: int = 3,
    max_programs: int = 60,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw where each program varies: a dot per program and population, larger where it moves the genes by more.

    The area of a dot is the standard deviation of what the program does there (the square root of `variance`); there is
    none where that is no more than counting noise. A filled dot is an active program. A dark ring varies (adjusted
    p-value below .05) but is not called a program there, of a pale ring not even that is sure.

    Parameters
    ----------
    program_map
        The table of `get_program_map`.
    populations
        Names of populations to draw, the columns in this order; all if not given (the first 60, and it says so).
    programs
        Names of programs to draw, the rows in this order. If not given, those that are active in any of the
        populations: those of most populations first, the others in the order of the columns.
    n_genes
        Genes to name of each program, from both of its ends, of the population in which it is active most strongly.
    max_programs
        Most rows; it says so if there are more.
    figsize
        Width and height in inches.

    Returns
    -------
    Figure
        One panel, as large as it needs to be.

    Raises
    ------
    ValueError
        If `program_map` is not such a table, or a population or program is unknown.
    """
    columns = ["program", "population", "variance", "padj", "active", "top_up", "top_down"]
    table = check_table("program_map", program_map, columns, "get_program_map", empty=True)
    n_genes, figsize = checks.integer("n_genes", n_genes, 0), checks.optional(checks.size, "figsize", figsize)
    max_programs = checks.integer("max_programs", max_programs, 1, 500)
    across = _chosen("populations", populations, table["population"])
    down = None if programs is None else _chosen("programs", programs, table["program"])
    foot = ["Area: √variance, in log2 over all genes."]
    if len(across) > _MAX_POPULATIONS:
        foot.append(f"First {_MAX_POPULATIONS} of {len(across)} populations: choose with `populations`.")
    across = across[:_MAX_POPULATIONS]
    table = table[table["population"].isin(across)]
    repeated = table[table.duplicated(["program", "population"])]
    if len(repeated):
        one = repeated.iloc[0]
        raise ValueError(
            f"`program_map` has program '{one['program']}' of '{one['population']}' more than once: take the table of "
            "one call."
        )
    d = load_drawing()
    if down is None:
        down = _active(table, across)
        silent = table["program"].nunique() - len(down)
        if not down:
            return d.sentence("No program is active in any of these populations.", figsize)
        if silent:
            foot.append(f"Not drawn: {silent} program{'s' * (silent > 1)} active nowhere here.")
    if len(down) > max_programs:
        foot.append(f"First {max_programs} of {len(down)} programs: choose with `programs` or raise `max_programs`.")
    down = down[:max_programs]
    table = table[table["program"].isin(down)]
    if n_genes:
        foot.insert(1, "Genes: up / down where it is most active.")
    figure, slots, _ = d.grid(2, columns=1)
    (axes,), (key,) = slots
    key.set_axis_off()
    labels = [_label(d, name, table[table["program"] == name], n_genes) for name in down]
    d.dot_axes(axes, [d.shorten(str(name), 28) for name in across], labels)
    d.arrange(
        figure, slots, 1, [_PITCH[1] * len(down), 0.28], foot, figsize=figsize, body=_PITCH[0] * len(across), gap=0.06
    )
    x, y = table["population"].map(across.index), table["program"].map(down.index)
    sizes = np.sqrt(np.maximum(np.nan_to_num(table["variance"].to_numpy(dtype=float)), 0))
    active, sure = table["active"].to_numpy(dtype=bool), table["padj"].to_numpy(dtype=float) < LEVEL
    # Only now, since the largest dot depends on the distance of the rows and columns.
    d.dots(axes, key, x.to_numpy(dtype=float), y.to_numpy(dtype=float), sizes, active, sure)
    return figure


def _chosen(name: str, given: Any, there: pd.Series) -> list[str]:
    """The names in `given`, or all that are there."""
    every = list(dict.fromkeys(there))
    if given is None:
        return every
    chosen = checks.strings(name, given)
    check_known(name, chosen, every)
    return chosen


def _active(table: pd.DataFrame, populations: list[str]) -> list[str]:
    """Programs that are active anywhere: those of most populations first, then by their first population."""
    active = table[table["active"].astype(bool)]
    first = active["population"].map(populations.index).groupby(active["program"], sort=False).agg(["size", "min"])
    return first.sort_values(["size", "min"], ascending=[False, True], kind="stable").index.tolist()


def _label(d: Any, name: str, rows: pd.DataFrame, n: int) -> str:
    """A program with the strongest genes at both of its ends, where it is active most strongly."""
    rows = rows.sort_values(["active", "variance"], ascending=False, kind="stable")
    rows = rows[(rows["top_up"] != "") | (rows["top_down"] != "")]
    label = str(d.shorten(str(name), 20))
    if rows.empty or not n:
        return label
    up, down = ([g for g in str(rows[c].iloc[0]).split(", ") if g] for c in ("top_up", "top_down"))
    from_up = min(len(up), max(n - len(down), n - n // 2))
    ends = (", ".join(d.shorten(gene, 12) for gene in genes) for genes in (up[:from_up], down[: n - from_up]))
    return f"{' / '.join(ends).strip(' /')}   {label}"
