"""matplotlib pictures of the tables. A picture shows a table as it came out: nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_association", "plot_differential_expression", "plot_history", "plot_loadings", "plot_programs"]

_UNITS = {
    "between": "log2 difference from the reference",
    "within": "log2 units per SD of the program",
    "specific": "log2 units per SD of the program",
    "deviation": "log2 units per SD of the factor, beyond the reference",
}
_LFSR_FLOOR = 1e-12  # beyond it there is nothing left to tell apart, and one gene would flatten all the others
_MAX_COMPARISONS = 30


def _drawing() -> Any:
    """The module that knows matplotlib, an optional dependency."""
    try:
        from . import drawing
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise ImportError("Plots need matplotlib: pip install 'ldvae[plot]'.") from None
    return drawing


def _check(name: str, table: Any, columns: Sequence[str], source: str, *, empty: bool = False) -> pd.DataFrame:
    """`table` if it is what `source` returns."""
    wanted = f"`{name}` must be the table that `{source}` returns, but it "
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"{wanted}is a {type(table).__name__}.")
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{wanted}lacks the column{'s' * (len(missing) > 1)} {checks.shown(missing)}.")
    if not empty and table.empty:
        raise ValueError(f"{wanted}has no rows.")
    return table


def _known(name: str, values: Sequence[str], choices: Sequence[str]) -> None:
    if not values:
        raise ValueError(f"`{name}` must name at least one of {checks.shown(choices, 8)}.")
    unknown = [value for value in values if value not in choices]
    if unknown:
        raise ValueError(f"`{name}` names {checks.shown(unknown)}, but the table has {checks.shown(choices, 8)}.")


def _check_axes(ax: Any) -> None:
    if ax is not None and not hasattr(ax, "pcolormesh"):
        raise TypeError(f"`ax` must be matplotlib axes, not {checks.brief(ax)}.")


def _p(p: float) -> str:
    return "padj < 1e-16" if p < 1e-16 else f"padj {p:.1g}" if p < 0.001 else f"padj {p:.3f}"


def plot_history(history: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how training went.

    The ELBO on training and held-out cells, higher is better, with the best held-out epoch marked, and below it the KL
    divergence of the latent variables. The axis leaves out the steep start where it would flatten the rest.

    Parameters
    ----------
    history
        The table of `get_history`; nats per cell.
    ax
        Axes to draw into; their lower third goes to the KL. A new figure if not given.

    Returns
    -------
    Axes
        The axes of the ELBO; the figure is its `.figure`.

    Raises
    ------
    ValueError
        If `history` is not such a table.
    """
    history = _check("history", history, ["epoch", "elbo_train", "elbo_validation", "kl"], "get_history")
    _check_axes(ax)
    d = _drawing()
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
    ax.set_ylabel("ELBO (nats per cell)")
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
    loadings = _check("loadings", loadings, ["gene", "Z_1"], "get_loadings")
    every = [str(column) for column in loadings.columns if column != "gene"]
    chosen = every[:6] if factors is None else checks.strings("factors", factors)
    _known("factors", chosen, every)
    n_genes, figsize = checks.integer("n_genes", n_genes, 1), checks.optional(checks.size, "figsize", figsize)
    d = _drawing()
    figure, slots, columns = d.grid(len(chosen))
    for factor, (axes,) in zip(chosen, slots, strict=True):
        column = loadings.set_index("gene")[factor].dropna().sort_values(ascending=False, kind="stable")
        up = column[column > 0].head(n_genes - n_genes // 2)
        drawn = pd.concat([up, column[column < 0].tail(n_genes // 2)])
        d.genes(axes, drawn.index.astype(str).tolist(), drawn.to_numpy(dtype=float))
        d.heading(axes, factor)
    heights = [0.14 * n_genes] * -(-len(slots) // columns)
    d.arrange(figure, slots, columns, heights, ["loading (log2 units per SD of the factor)"], figsize=figsize)
    return figure


def plot_programs(
    loadings: pd.DataFrame,
    programs: pd.DataFrame | None = None,
    *,
    scores: pd.DataFrame | None = None,
    embedding: Any = None,
    populations: str | Sequence[str] | None = None,
    n_genes: int = 8,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the programs of each population: their genes with 95 % intervals, and where they are active.

    A point is filled where the sign of the loading is sure (lfsr below .05). Populations without a called program are
    named at the foot.

    Parameters
    ----------
    loadings
        The table of `population_loadings`.
    programs
        The table of `population_programs` from the same call: its called programs are drawn, with their share of the
        variance and adjusted p-value. Every program of `loadings` if not given.
    scores, embedding
        The table of `get_program_scores`, and coordinates of the same cells (cells × 2) to draw the activity over.
    populations
        Names of populations to draw; all if not given.
    n_genes
        Genes per panel, by their rank.
    figsize
        Width and height in inches.

    Returns
    -------
    Figure
        One panel per population and program, each above its activity if `scores` are given.

    Raises
    ------
    ValueError
        If a table is not what it should be, the tables do not belong together, or a population is unknown.
    """
    key = ["population", "kind", "program"]
    source = "population_programs"
    loadings = _check(
        "loadings", loadings, [*key, "gene", "loading", "std", "lfsr", "rank"], "population_loadings", empty=True
    )
    facts = loadings if programs is None else _check("programs", programs, [*key, "called", "share", "padj"], source)
    n_genes, figsize = checks.integer("n_genes", n_genes, 1), checks.optional(checks.size, "figsize", figsize)
    names = list(dict.fromkeys(facts["population"]))
    if populations is not None:
        chosen = checks.strings("populations", populations)
        _known("populations", chosen, names)
        names, facts = chosen, facts[facts["population"].isin(chosen)]
    called = facts if programs is None else facts[facts["called"].astype(bool)]
    called = called.drop_duplicates(key).sort_values("population", key=lambda p: p.map(names.index), kind="stable")
    d = _drawing()
    if called.empty:
        return d.sentence("No program was called in any of these populations.", figsize)
    activity = _activity(scores, embedding, called)
    genes = dict(list(loadings.dropna(subset=["loading"]).groupby(key, sort=False)))
    figure, slots, columns = d.grid(len(called), 1 if activity is None else 2)
    for fact, slot in zip(called.to_dict("records"), slots, strict=True):
        rows = genes.get(tuple(fact[k] for k in key))
        if rows is None:
            raise ValueError(
                f"`loadings` has no genes for program '{fact['program']}' of '{fact['population']}': take `loadings` "
                "and `programs` from calls with the same arguments."
            )
        rows = rows.nsmallest(n_genes, "rank").sort_values("loading", ascending=False, kind="stable")
        values, errors = rows["loading"].to_numpy(), 1.96 * rows["std"].fillna(0).to_numpy()
        d.genes(slot[0], rows["gene"].astype(str).tolist(), values, errors=errors, sure=rows["lfsr"].to_numpy() < 0.05)
        padj = fact.get("padj", np.nan)
        share = np.nan if fact["kind"] == "between" else fact.get("share", np.nan)  # of one program it is all
        first = d.shorten(str(fact["program"]), 14) + (f" · {100 * share:.0f} % of var." if share == share else "")
        d.heading(slot[0], str(fact["population"]), [first] + [_p(padj)] * bool(padj == padj))
        if activity is not None:
            d.activity(
                slot[1], activity[0], activity[1][f"{fact['population']}_{fact['program']}"].to_numpy(dtype=float)
            )
    kinds = list(dict.fromkeys(called["kind"]))
    units = " / ".join(dict.fromkeys(_UNITS.get(kind, "log2 units") for kind in kinds))
    foot = [f"{' / '.join(kinds)} loading ± 1.96 SD ({units}); filled: lfsr < 0.05"]
    foot += ["below: activity of the program in each cell, from low (blue) to high (vermillion)"] * (
        activity is not None
    )
    silent = [name for name in names if name not in set(called["population"])]
    foot += [f"No program called in {', '.join(silent)}."] * bool(silent)
    heights = [0.13 * n_genes, *[1.15] * (activity is not None)] * -(-len(slots) // columns)
    d.arrange(figure, slots, columns, heights, foot, figsize=figsize)
    return figure


def _activity(scores: Any, embedding: Any, called: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame] | None:
    """Coordinates and scores of the cells, or None if neither is given."""
    if scores is None and embedding is None:
        return None
    if scores is None or embedding is None:
        raise ValueError("`scores` and `embedding` must be given together, or neither.")
    wanted = (called["population"] + "_" + called["program"]).tolist()
    scores = _check("scores", scores, wanted, "get_program_scores")
    at = np.asarray(embedding, dtype=float)
    if at.ndim != 2 or at.shape[1] < 2 or len(at) != len(scores):
        raise ValueError(
            f"`embedding` must have one row of two coordinates for each of the {len(scores)} cells of `scores`, not "
            f"the shape {at.shape}."
        )
    return at[:, :2], scores


def plot_differential_expression(
    de: pd.DataFrame,
    *,
    group1: str | None = None,
    group2: str | None = None,
    n_labels: int = 10,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Axes | Figure:
    """Draw a volcano: how large the change is against how sure its sign is.

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
    ax
        Axes to draw a single comparison into.
    figsize
        Width and height in inches.

    Returns
    -------
    Axes or Figure
        Axes for one comparison, a figure with one panel each for several (the first 30, and it says so).

    Raises
    ------
    ValueError
        If `de` is not such a table, a group is unknown, or `ax` is given for several comparisons.
    """
    key = ["within", "group1", "group2"]
    wanted = ["gene", "group1", "group2", "lfc_mean", "lfsr", "is_de"]
    de = _check("de", de, wanted, "differential_expression")
    de = de.assign(within="") if "within" not in de.columns else de
    for name, group in (("group1", group1), ("group2", group2)):
        if group is not None:
            groups = checks.strings(name, group)
            _known(name, groups, list(dict.fromkeys(de[name])))
            de = de[de[name].isin(groups)]
    n_labels, figsize = checks.integer("n_labels", n_labels, 0), checks.optional(checks.size, "figsize", figsize)
    comparisons = list(de.groupby(key, sort=False, dropna=False))
    several = len(comparisons) > 1
    _check_axes(ax)
    if ax is not None and several:
        raise ValueError(f"`ax` holds one comparison, but there are {len(comparisons)}: choose `group1` and `group2`.")
    d = _drawing()
    drawn = min(len(comparisons), _MAX_COMPARISONS)
    figure, slots, columns = _one(ax) if ax is not None else d.grid(drawn)
    shown = [(slot[0], rows) for slot, (_, rows) in zip(slots, comparisons, strict=False)]
    points = [_volcano(d, axes, rows, bool(de["within"].nunique() > 1)) for axes, rows in shown]
    beyond = f"triangles: lfsr below {_LFSR_FLOOR:g}" if (de["lfsr"] < _LFSR_FLOOR).any() else ""
    foot = []
    if several:
        foot = ["log2 fold change, group 1 over group 2 (→), against -log10 lfsr (↑)", beyond]
    else:
        slots[0][0].set(xlabel="log2 fold change", ylabel="-log10 lfsr" + (beyond and f" ({beyond})"))
    if len(comparisons) > _MAX_COMPARISONS:
        foot.append(f"First {_MAX_COMPARISONS} of {len(comparisons)} comparisons: choose with `group1` and `group2`.")
    if figure is not None:
        heights = [1.5 if several else 2.6] * -(-len(slots) // columns)
        d.arrange(figure, slots, columns, heights, foot, figsize=figsize)
    else:
        d.settle(slots[0][0])
    # Only now, since the places of the names depend on the sizes of the panels.
    for (axes, _), (xy, names) in zip(shown, points, strict=True):
        d.label_points(axes, xy[: min(n_labels, len(names))], names[:n_labels], xy)
    return figure if several else slots[0][0]


def _one(ax: Axes) -> tuple[Any, Any, int]:
    """The caller's axes in the form of `drawing.grid`."""
    return None, [[ax]], 1


def _volcano(d: Any, axes: Axes, rows: pd.DataFrame, within: bool) -> tuple[np.ndarray, list[str]]:
    """Points and title of one comparison; all points, called ones first and in order, and the names of the called."""
    tested = rows.dropna(subset=["lfc_mean", "lfsr"])
    x, lfsr = tested["lfc_mean"].to_numpy(dtype=float), tested["lfsr"].to_numpy(dtype=float)
    called, beyond = tested["is_de"].to_numpy(dtype=bool), lfsr < _LFSR_FLOOR
    y = -np.log10(np.maximum(lfsr, _LFSR_FLOOR))
    d.volcano(axes, x, y, called, beyond)
    up, down = int((called & (x > 0)).sum()), int((called & (x < 0)).sum())
    first = rows.iloc[0]
    details = [f"over {d.shorten(str(first['group2']), 22)}"]
    details += [f"in {d.shorten(str(first['within']), 24)}"] * within
    d.heading(axes, str(first["group1"]), [*details, f"{up:,} up, {down:,} down of {len(tested):,}"])
    order = np.lexsort([-np.abs(x), -y, ~called])
    return np.column_stack([x, y])[order], tested["gene"].astype(str).to_numpy()[order][: called.sum()].tolist()


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
    association = _check("association", association, wanted, "associate_factors")
    facets = list(association.groupby(["key", "within"], sort=False, dropna=False))
    _check_axes(ax)
    if ax is not None and len(facets) > 1:
        raise ValueError(f"`ax` holds one facet, but the table has {len(facets)}: choose one `key` and one `within`.")
    d = _drawing()
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
    label += "; dot: padj < 0.05" + "; grey: all factors" * (len(single) < len(association))
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
    sure = single[single["padj"] < 0.05]
    at: list[tuple[float, float]] = [
        (factors.index(f), levels.index(v)) for f, v in zip(sure["factor"], sure["level"], strict=True)
    ]
    apart = len(factors) + 0.5
    for level, padj in zip(omnibus["level"], omnibus["padj"], strict=True):
        one = level in levels  # otherwise it is one test for all levels
        d.grey_tile(axes, apart, levels.index(level) if one else 0, 1 if one else len(levels))
        if padj < 0.05:
            at.append((apart, levels.index(level) if one else (len(levels) - 1) / 2))
    d.marks(axes, at)
    ticks, names = [float(i) for i in range(len(factors))], list(factors)
    if len(omnibus):
        ticks, names = [*ticks, apart], [*names, "all"]
        axes.set_xlim(-0.5, apart + 0.5)
    axes.set_xticks(ticks, names)
    axes.set_yticks(range(len(levels)), [d.shorten(str(level), 24) or key for level in levels])
    return mesh
