"""Pictures of programs: their genes, and where they are active. A picture shows a table as it came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import checks
from ..tables import LEVEL, score_name
from .arguments import check_known, check_table, load_drawing, paged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_programs"]

_UNITS = {
    "between": "log2 difference from the reference",
    "within": "log2 units per SD of the program",
    "specific": "log2 units per SD of the program",
    "deviation": "log2 units per SD of the program, beyond the reference",
}


def _p(p: float) -> str:
    return "padj < 1e-16" if p < 1e-16 else f"padj {p:.1g}" if p < 0.001 else f"padj {p:.3f}"


def plot_programs(
    loadings: pd.DataFrame,
    programs: pd.DataFrame | None = None,
    *,
    scores: pd.DataFrame | None = None,
    embedding: Any = None,
    populations: str | Sequence[str] | None = None,
    n_genes: int = 8,
    page: int = 1,
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
    page
        Which page, if there are more than 24 panels.
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
    panels, pages = paged(called.to_dict("records"), page)
    genes = dict(list(loadings.dropna(subset=["loading"]).groupby(key, sort=False)))
    figure, slots, columns = d.grid(len(panels), 1 if activity is None else 2)
    for fact, slot in zip(panels, slots, strict=True):
        rows = genes.get(tuple(fact[k] for k in key))
        if rows is None:
            raise ValueError(
                f"`loadings` has no genes for program '{fact['program']}' of '{fact['population']}': take `loadings` "
                "and `programs` from calls with the same arguments."
            )
        rows = rows.nsmallest(n_genes, "rank").sort_values("loading", ascending=False, kind="stable")
        values, errors = rows["loading"].to_numpy(), 1.96 * rows["std"].fillna(0).to_numpy()
        d.genes(slot[0], rows["gene"].astype(str).tolist(), values, errors=errors, sure=rows["lfsr"].to_numpy() < LEVEL)
        padj = fact.get("padj", np.nan)
        share = np.nan if fact["kind"] == "between" else fact.get("share", np.nan)  # of one program it is all
        said = [d.shorten(str(fact["program"]), 14)]
        if np.isfinite(share):
            said[0] += f" · {100 * share:.0f} % of var."
        if np.isfinite(padj):
            said.append(_p(padj))
        d.heading(slot[0], str(fact["population"]), said)
        if activity is not None:
            d.activity(
                slot[1], activity[0], activity[1][score_name(fact["population"], fact["program"])].to_numpy(dtype=float)
            )
    kinds = list(dict.fromkeys(called["kind"]))
    units = " / ".join(dict.fromkeys(_UNITS.get(kind, "log2 units") for kind in kinds))
    foot = [f"{' / '.join(kinds)} loading ± 1.96 SD ({units}); filled: lfsr < {LEVEL:g}"]
    if activity is not None:
        foot.append("below: activity of the program in each cell, from low (blue) to high (vermillion)")
    silent = [name for name in names if name not in set(called["population"])]
    if silent:
        foot.append(f"No program called in {', '.join(silent)}.")
    foot += pages
    heights = [0.13 * n_genes] if activity is None else [0.13 * n_genes, 1.15]
    heights = heights * -(-len(slots) // columns)
    d.arrange(figure, slots, columns, heights, foot, figsize=figsize)
    return figure


def _activity(scores: Any, embedding: Any, called: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame] | None:
    """Coordinates and scores of the cells, or None if neither is given."""
    if scores is None and embedding is None:
        return None
    if scores is None or embedding is None:
        raise ValueError("`scores` and `embedding` must be given together, or neither.")
    wanted = [score_name(*names) for names in zip(called["population"], called["program"], strict=True)]
    scores = check_table("scores", scores, wanted, "get_program_scores")
    at = np.asarray(embedding, dtype=float)
    if at.ndim != 2 or at.shape[1] < 2 or len(at) != len(scores):
        raise ValueError(
            f"`embedding` must have one row of two coordinates for each of the {len(scores)} cells of `scores`, not "
            f"the shape {at.shape}."
        )
    return at[:, :2], scores
