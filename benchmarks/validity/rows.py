"""What every measurement returns: rows of one long table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Row(NamedTuple):
    """One number: `value` is a mean over `n` things, or a share of `n` things (`n` weighs it when rows are pooled)."""

    section: str
    measure: str
    setting: str
    method: str
    seed: int
    value: float
    n: float = 1.0


def share(section: str, measure: str, setting: str, method: str, seed: int, part: float, whole: float) -> Row:
    """A share as a row; nothing out of nothing is 0 and weighs nothing."""
    return Row(section, measure, setting, method, seed, part / whole if whole else 0.0, float(whole))


def pooled(rows: pd.DataFrame) -> pd.Series:
    """Weighted mean of the rows of one measure, its standard error over rows, their weight and number."""
    weight, value = rows["n"].to_numpy(), rows["value"].to_numpy()
    total = weight.sum()
    mean = float((weight * value).sum() / total) if total else float("nan")
    used = weight > 0
    k = int(used.sum())
    spread = np.sqrt((weight**2 * (value - mean) ** 2).sum() * k / max(k - 1, 1)) / total if k > 1 else float("nan")
    return pd.Series({"value": mean, "error": float(spread), "n": total, "runs": k})


def table(rows: list[Any]) -> pd.DataFrame:
    """All rows."""
    return pd.DataFrame(rows, columns=Row._fields)
