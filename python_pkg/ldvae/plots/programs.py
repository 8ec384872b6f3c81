"""matplotlib pictures of the fit and of programs. A picture shows a table as it came out: nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_axes", "check_known", "check_table", "load_drawing", "plot_history", "plot_loadings", "plot_programs"]

_UNITS = {
    "between": "log2 difference from the reference",
    "within": "log2 units per SD of the program",
    "specific": "log2 units per SD of the program",
    "deviation": "log2 units per SD of the factor, beyond the reference",
}


def load_drawing() -> Any:
    """The module that knows matplotlib, an optional dependency."""
    try:
        from . import drawing
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise ImportError("Plots need matplotlib: pip install 'ldvae[plot]'.") from None
    return drawing


def check_table(name: str, table: Any, columns: Sequence[str], source: str, *, empty: bool = False) -> pd.DataFrame:
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


def check_known(name: str, values: Sequence[str], choices: Sequence[str]) -> None:
    """Refuse `values` that the table does not have."""
    if not values:
        raise ValueError(f"`{name}` must name at least one of {checks.shown(choices, 8)}.")
    unknown = [value for value in values if value not in choices]
    if unknown:
        raise ValueError(f"`{name}` names {checks.shown(unknown)}, but the table has {checks.shown(choices, 8)}.")


def check_axes(ax: Any) -> None:
    """Refuse what is not axes."""
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
    loadings = check_table("loadings", loadings, ["gene", "Z_1"], "get_loadings")
    every = [str(column) for column in loadings.columns if column != "gene"]
    chosen = every[:6] if factors is None else checks.strings("factors", factors)
    check_known("factors", chosen, every)
    n_genes, figsize = checks.integer("n_genes", n_genes, 1), checks.optional(checks.size, "figsize", figsize)
    d = load_drawing()
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
    loadings = check_table(
        "loadings", loadings, [*key, "gene", "loading", "std", "lfsr", "rank"], "population_loadings", empty=True
    )
    facts = (
        loadings if programs is None else check_table("programs", programs, [*key, "called", "share", "padj"], source)
    )
    n_genes, figsize = checks.integer("n_genes", n_genes, 1), checks.optional(checks.size, "figsize", figsize)
    names = list(dict.fromkeys(facts["population"]))
    if populations is not None:
        chosen = checks.strings("populations", populations)
        check_known("populations", chosen, names)
        names, facts = chosen, facts[facts["population"].isin(chosen)]
    called = facts if programs is None else facts[facts["called"].astype(bool)]
    called = called.drop_duplicates(key).sort_values("population", key=lambda p: p.map(names.index), kind="stable")
    d = load_drawing()
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
    scores = check_table("scores", scores, wanted, "get_program_scores")
    at = np.asarray(embedding, dtype=float)
    if at.ndim != 2 or at.shape[1] < 2 or len(at) != len(scores):
        raise ValueError(
            f"`embedding` must have one row of two coordinates for each of the {len(scores)} cells of `scores`, not "
            f"the shape {at.shape}."
        )
    return at[:, :2], scores
