"""What every picture asks first: is this its table, and is matplotlib there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import pandas as pd

from .. import checks

__all__ = ["check_axes", "check_known", "check_table", "load_drawing", "n_pages", "paged"]

_PANELS = 24  # of a page: six lines of four
T = TypeVar("T")


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


def n_pages(n_panels: int) -> int:
    """How many pages they need."""
    return max(1, -(-n_panels // _PANELS))


def paged(panels: list[T], page: Any) -> tuple[list[T], list[str]]:
    """The panels of one page, and what the foot says of the other pages."""
    pages = n_pages(len(panels))
    page = checks.integer("page", page, 1)
    if page > pages:
        wanted = f"a number from 1 to {pages}" if pages > 1 else "1, since all panels are on one page"
        raise ValueError(f"`page` must be {wanted}, not {page}.")
    said = [f"Page {page} of {pages}, of {len(panels)} panels: see `page`."] if pages > 1 else []
    return panels[_PANELS * (page - 1) : _PANELS * page], said


def check_axes(ax: Any) -> None:
    """Refuse what is not axes."""
    if ax is not None and not hasattr(ax, "pcolormesh"):
        raise TypeError(f"`ax` must be matplotlib axes, not {checks.brief(ax)}.")
