"""matplotlib pictures of the tables that compare groups; see `plots`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import checks
from ..tables import LEVEL
from .arguments import check_axes, check_known, check_table, load_drawing, paged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_association", "plot_differential_expression"]

_LFSR_FLOOR = 1e-12  # beyond it there is nothing left to tell apart, and one gene would flatten all the others
_MAX_FACTORS = 6  # with a colour of their own


def plot_differential_expression(
    de: pd.DataFrame,
    *,
    group1: str | None = None,
    group2: str | None = None,
    n_labels: int = 10,
    contributions: pd.DataFrame | None = None,
    page: int = 1,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Axes | Figure:
    """Draw a volcano: how large the change is against how sure its sign is; and which factors are behind it.

    The height is -log10 of the local false sign rate, which keeps sure and very sure apart where the probability of
    differential expression is 1 for both; it ends at 12, and genes beyond are triangles at the top. Coloured genes are
    called at the false discovery rate of the table: vermillion is higher in group 1, blue in group 2.

    Parameters
    ----------
    de
        The table of `differential_expression`; genes that were not tested are left out.
    group1, group2
        Draw only the comparisons of these groups.
    n_labels
        Called genes to name per panel, the surest and largest first, as far as there is room.
    contributions
        The table of `differential_contributions` for the same comparisons, of the same cells. The change of each of
        the first `n_labels` called genes is then split into bars: the six factors that contribute most to the genes of
        all panels, the sum of the other factors, and the remainder; a dot is at the total, the change of the model's
        mean log2 expression, which is not the fold change of the volcano.
    page
        Which page, if there are more than 24 panels.
    ax
        Axes to draw a single comparison into, if there are no `contributions`.
    figsize
        Width and height in inches.

    Returns
    -------
    Axes or Figure
        Axes for one comparison, a figure with one panel each for several (the first 24, and it says so: see `page`); a
        figure if there are `contributions`.

    Raises
    ------
    ValueError
        If a table is not what it should be, the tables do not belong together, a group is unknown, or `ax` is given for
        more than one panel.
    """
    key = ["within", "group1", "group2"]
    wanted = ["gene", "group1", "group2", "lfc_mean", "lfsr", "is_de"]
    de = check_table("de", de, wanted, "differential_expression")
    de = de.assign(within="") if "within" not in de.columns else de
    for name, group in (("group1", group1), ("group2", group2)):
        if group is not None:
            groups = checks.strings(name, group)
            check_known(name, groups, list(dict.fromkeys(de[name])))
            de = de[de[name].isin(groups)]
    split = contributions is not None
    n_labels = checks.integer("n_labels", n_labels, 1 if split else 0)
    figsize = checks.optional(checks.size, "figsize", figsize)
    comparisons = list(de.groupby(key, sort=False, dropna=False))
    several = len(comparisons) > 1
    check_axes(ax)
    if ax is not None and several:
        raise ValueError(f"`ax` holds one comparison, but there are {len(comparisons)}: choose `group1` and `group2`.")
    if ax is not None and split:
        raise ValueError("`ax` holds the volcano alone: leave out `ax` or `contributions`.")
    comparisons, pages = paged(comparisons, page)
    d = load_drawing()
    figure, slots, columns = _one(ax) if ax is not None else d.grid(len(comparisons), 2 if split else 1)
    shown = [(slot[0], rows) for slot, (_, rows) in zip(slots, comparisons, strict=True)]
    width = 28 if columns > 3 else 38  # characters that are sure to fit over a panel
    points = [_volcano(d, axes, rows, bool(de["within"].nunique() > 1), width) for axes, rows in shown]
    beyond = f"triangles: lfsr below {_LFSR_FLOOR:g}" if (de["lfsr"] < _LFSR_FLOOR).any() else ""
    foot, heights = [], [1.5 if several else 2.6]
    if several:
        foot = ["log2 fold change, group 1 over group 2 (→), against -log10 lfsr (↑)", beyond]
    else:
        slots[0][0].set(xlabel="log2 fold change", ylabel="-log10 lfsr" + (beyond and f" ({beyond})"))
    foot += pages
    if split:
        genes = [names[:n_labels] for _, names in points]
        parts = _by_factor(contributions, [rows for _, rows in shown], genes)
        for (_, axes), part in zip(slots, parts, strict=True):
            d.stacks(axes, part, max(map(len, genes)))
        if any(genes):
            d.stack_key(slots[-1][1], list(parts[0].columns), figsize)
        if several:
            foot.insert(0, "bars: contributions of the factors to the change in mean log2 expression (log2 units)")
            heights.append(0.14 * max(3, *map(len, genes)))
        else:
            slots[0][1].set_xlabel("contribution to the change (log2 units)")
            slots, columns = [[axes] for axes in slots[0]], 2  # beside each other
    if figure is not None:
        d.arrange(figure, slots, columns, heights * -(-len(slots) // columns), foot, figsize=figsize)
    else:
        d.settle(slots[0][0])
    # Only now, since the places of the names depend on the sizes of the panels.
    for (axes, _), (xy, names) in zip(shown, points, strict=True):
        d.label_points(axes, xy[: min(n_labels, len(names))], names[:n_labels], xy)
    return figure if several or split else slots[0][0]


def _one(ax: Axes) -> tuple[Any, Any, int]:
    """The caller's axes in the form of `drawing.grid`."""
    return None, [[ax]], 1


def _volcano(d: Any, axes: Axes, rows: pd.DataFrame, within: bool, width: int) -> tuple[np.ndarray, list[str]]:
    """Points and title of one comparison; all points, called ones first and in order, and the names of the called."""
    tested = rows.dropna(subset=["lfc_mean", "lfsr"])
    x, lfsr = tested["lfc_mean"].to_numpy(dtype=float), tested["lfsr"].to_numpy(dtype=float)
    called, beyond = tested["is_de"].to_numpy(dtype=bool), lfsr < _LFSR_FLOOR
    y = -np.log10(np.maximum(lfsr, _LFSR_FLOOR))
    d.volcano(axes, x, y, called, beyond)
    up, down = int((called & (x > 0)).sum()), int((called & (x < 0)).sum())
    first = rows.iloc[0]
    details = [f"over {d.shorten(str(first['group2']), width - 5)}"]
    details += [f"in {d.shorten(str(first['within']), width - 3)}"] * within
    d.heading(axes, str(first["group1"]), [*details, f"{up:,} up, {down:,} down of {len(tested):,}"])
    order = np.lexsort([-np.abs(x), -y, ~called])
    return np.column_stack([x, y])[order], tested["gene"].astype(str).to_numpy()[order][: called.sum()].tolist()


def _by_factor(table: Any, comparisons: list[pd.DataFrame], genes: list[list[str]]) -> list[pd.DataFrame]:
    """Contributions to the `genes` of each comparison (genes × the same factors), the largest total first."""
    key = ["group1", "group2", "gene", "factor"]
    table = check_table("contributions", table, [*key, "contribution"], "differential_contributions")
    if len({rows["within"].iloc[0] for rows in comparisons}) > 1:
        raise ValueError(
            "`contributions` are those of one set of cells, but `de` has several populations in `within`: draw one at "
            "a time."
        )
    parts = []
    for rows, names in zip(comparisons, genes, strict=True):
        group1, group2 = rows[["group1", "group2"]].iloc[0]
        own = table[(table["group1"] == group1) & (table["group2"] == group2)]
        own, compared = own[own["gene"].isin(names)], f"'{group1}' over '{group2}'"
        if own.duplicated(key).any():
            raise ValueError(f"`contributions` has {compared} more than once: take the table of one call.")
        part = own.pivot(index="gene", columns="factor", values="contribution").astype(float).dropna()
        lacking = [name for name in names if name not in part.index]
        if lacking:
            raise ValueError(
                f"`contributions` lacks {checks.shown(lacking)} for {compared}: ask `differential_contributions` for "
                "the same groups with the same fit."
            )
        parts.append(part.reindex(columns=list(dict.fromkeys(table["factor"]))))
    sizes = pd.concat(parts).drop(columns=["inactive", "remainder"], errors="ignore").abs().mean()
    first = sizes.nlargest(_MAX_FACTORS).index
    return [_strongest(part, [factor for factor in sizes.index if factor in first]) for part in parts]


def _strongest(part: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    """The columns `factors`, the sum of the others, and the remainder."""
    out, rest = part[factors].copy(), part.drop(columns=[*factors, "remainder"], errors="ignore")
    if rest.shape[1]:
        out["other factors"] = rest.sum(axis=1)
    if "remainder" in part:
        out["remainder"] = part["remainder"]
    return out.loc[part.sum(axis=1).sort_values(ascending=False, kind="stable").index]


def plot_association(association: pd.DataFrame, *, ax: Axes | None = None) -> Axes | Figure:
    """Draw which factors go with which groups: a heat map of effects, a dot where the adjusted p-value is below .05.

    Levels are rows and factors are columns. The test of all factors at once stands apart at the right, grey since it
    has no direction. Each population of `within` is a facet.

    Parameters
    ----------
    association
        The table of `associate_factors`: effects in standard deviations of the factor.
    ax
        Axes to draw into if there is a single facet.

    Returns
    -------
    Axes or Figure
        Axes for one facet, a figure with one panel each for several.

    Raises
    ------
    ValueError
        If `association` is not such a table, or `ax` is given for several facets.
    """
    wanted = ["factor", "key", "level", "within", "effect", "padj"]
    association = check_table("association", association, wanted, "associate_factors")
    facets = list(association.groupby(["key", "within"], sort=False, dropna=False))
    check_axes(ax)
    if ax is not None and len(facets) > 1:
        raise ValueError(f"`ax` holds one facet, but the table has {len(facets)}: choose one `key` and one `within`.")
    d = load_drawing()
    single = association[association["factor"] != "all"]
    factors = [str(factor) for factor in dict.fromkeys(single["factor"])]
    effects = np.abs(single["effect"].to_numpy(dtype=float))
    limit = float(np.nanquantile(effects, 0.99)) if np.isfinite(effects).any() else 0.0
    heights = [0.19 * max(1, rows.loc[rows["factor"] != "all", "level"].nunique()) for _, rows in facets]
    figure, slots, _ = _one(ax) if ax is not None else d.grid(len(facets) + 1, columns=1)
    for i, (((key, within), rows), (axes,)) in enumerate(zip(facets, slots, strict=False)):
        mesh = _heat_map(d, axes, rows, factors, limit or 1.0, str(key))
        axes.tick_params(labelbottom=i == len(facets) - 1)
        if len(facets) > 1:
            name = d.shorten(str(within), 30)
            axes.set_ylabel(name, rotation=0, ha="right", va="center", fontweight="bold", fontsize=d.SMALL)
    label = (
        "effect (SD of the factor)"
        if "unit" not in association.columns
        else (f"effect (SD of the factor; unit: {'/'.join(association['unit'].astype(str).unique())})")
    )
    label += f"; dot: padj < {LEVEL:g}" + "; grey: all factors" * (len(single) < len(association))
    into, body = slots[-1][0] if ax is None else None, 0.3 * (len(factors) + 1.5)
    width = body if ax is None else d.inches(ax)
    d.colour_bar(mesh, label, beyond=bool((effects > limit).any()), width=width, into=into)
    if ax is None:
        d.arrange(figure, slots, 1, [*heights, 0.09], body=body, gap=0.09)
    elif d.inches(ax) < body:
        ax.tick_params(axis="x", labelrotation=90)
    return figure if len(facets) > 1 else slots[0][0]


def _heat_map(d: Any, axes: Axes, rows: pd.DataFrame, factors: list[str], limit: float, key: str) -> Any:
    """One facet: effects of factors (columns) on levels (rows), and the test of all factors at the right."""
    single, omnibus = rows[rows["factor"] != "all"], rows[rows["factor"] == "all"]
    levels = list(dict.fromkeys(single["level"]))
    sizes = single.pivot(index="level", columns="factor", values="effect").reindex(index=levels, columns=factors)
    mesh = d.tiles(axes, sizes.to_numpy(dtype=float), limit)
    sure = single[single["padj"] < LEVEL]
    at: list[tuple[float, float]] = [
        (factors.index(f), levels.index(v)) for f, v in zip(sure["factor"], sure["level"], strict=True)
    ]
    apart = len(factors) + 0.5
    for level, padj in zip(omnibus["level"], omnibus["padj"], strict=True):
        one = level in levels  # otherwise it is one test for all levels
        d.grey_tile(axes, apart, levels.index(level) if one else 0, 1 if one else len(levels))
        if padj < LEVEL:
            at.append((apart, levels.index(level) if one else (len(levels) - 1) / 2))
    d.marks(axes, at)
    ticks, names = [float(i) for i in range(len(factors))], list(factors)
    if len(omnibus):
        ticks, names = [*ticks, apart], [*names, "all"]
        axes.set_xlim(-0.5, apart + 0.5)
    axes.set_xticks(ticks, names)
    axes.set_yticks(range(len(levels)), [d.shorten(str(level), 40) or key for level in levels])
    return mesh
