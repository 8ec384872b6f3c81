"""Is this argument what it should be? One sentence per failure; nothing here knows what the argument is for."""

from __future__ import annotations

import math
import numbers
import os
import re
import reprlib
import sys
import warnings
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = [
    "boolean",
    "brief",
    "choice",
    "integer",
    "new_file",
    "number",
    "optional",
    "path",
    "shown",
    "size",
    "strings",
    "warn",
]

# This package, and torch, whose decorators stand between it and its callers.
_INSIDE = tuple(
    os.path.dirname(spec.origin) + os.sep for spec in map(find_spec, ("ldvae", "torch")) if spec and spec.origin
)
_LARGEST = 2**63 - 1  # whole numbers in numpy and torch
_SHORT = reprlib.Repr()  # never spells out a large object, and survives a broken __repr__
_SHORT.maxstring, _SHORT.maxother = 200, 80


def brief(value: Any) -> str:
    """A wrong value on one line and cut short, for an error message."""
    return " ".join(_SHORT.repr(value).split())


def shown(values: Iterable[Any], limit: int = 5) -> str:
    """The first few of `values`, quoted, for an error message."""
    values = [str(v) for v in values]
    first = [re.sub(r"\s", " ", v if len(v) <= 60 else f"{v[:57]}...") for v in values[:limit]]
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return ", ".join(f"'{v}'" for v in first) + more


def _scalar(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    return value.item() if isinstance(value, np.generic) else value


def _kind(value: Any) -> str:
    return "not None" if value is None else f"but {brief(value)} is a {type(value).__name__}"


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """A finite float within bounds; booleans and strings are refused."""
    value = _scalar(value)
    left, right = ("more than" if low_open else "at least"), ("less than" if high_open else "at most")
    parts = [f"{left} {low:g}"] if low > -math.inf else []
    parts += [f"{right} {high:g}"] if high < math.inf else []
    wanted = "a number" + (" " + " and ".join(parts) if parts else "")
    if not _is_real(value):
        raise TypeError(f"`{name}` must be {wanted}, {_kind(value)}.")
    value = float(value)
    outside = value < low or value > high or (low_open and value == low) or (high_open and value == high)
    if not math.isfinite(value) or outside:
        raise ValueError(f"`{name}` must be {wanted}, not {value:g}.")
    return value


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number within bounds; `10.0` counts as 10, since that is how R writes it."""
    value = _scalar(value)
    if high is None and _is_real(value) and value > _LARGEST:
        high = _LARGEST
    wanted = f"a whole number of at least {low}" + (f" and at most {high}" if high is not None else "")
    if not _is_real(value):
        raise TypeError(f"`{name}` must be {wanted}, {_kind(value)}.")
    # compared before anything is converted: a whole number may be too large for a float
    if not (low <= value <= (math.inf if high is None else high)) or not math.isfinite(value) or value != int(value):
        found = f"{value:.15g}" if isinstance(value, float) else str(value)[:20]
        raise ValueError(f"`{name}` must be {wanted}, not {found}.")
    return int(value)


def boolean(name: str, value: Any) -> bool:
    """True or False, nothing that merely resembles them."""
    value = _scalar(value)
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, not {brief(value)}.")
    return value


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` must be one of {shown(choices, 20)}, not {brief(value)}.")
    return str(value)


def strings(name: str, value: Any) -> list[str]:
    """A list of different strings, a set in order; a single string counts as a list of one."""
    value = _scalar(value)
    if isinstance(value, str):
        return [str(value)]
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise TypeError(f"`{name}` must be a list of names, not {brief(value)}.")
    values = list(value)
    wrong = [v for v in values if not isinstance(v, str)]
    if wrong:
        raise TypeError(f"`{name}` must be a list of names, but {brief(wrong[0])} is a {type(wrong[0]).__name__}.")
    if len(set(values)) < len(values):
        raise ValueError(f"`{name}` names {shown(sorted({v for v in values if values.count(v) > 1}))} more than once.")
    # the order of a set differs from one process to the next
    return [str(v) for v in (sorted(values) if isinstance(value, set | frozenset) else values)]


def path(name: str, value: Any) -> str:
    """A file name."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise TypeError(f"`{name}` must be the name of a file, not {brief(value)}.")
    return text


def size(name: str, value: Any) -> tuple[float, float]:
    """Width and height of a picture in inches."""
    values = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(values, tuple | list) or len(values) != 2:
        raise TypeError(f"`{name}` must be a width and a height in inches, not {brief(value)}.")
    width, height = (number(name, v, 0, 500, low_open=True) for v in values)
    return width, height


def new_file(name: str, value: Any) -> str:
    """The name of a file that can be written, checked before the work whose result it is for."""
    file = path(name, value)
    folder = os.path.dirname(file) or "."
    if not os.path.isdir(folder):
        raise ValueError(f"`{name}` must be in an existing folder, and {brief(folder)} is not one.")
    if os.path.isdir(file):
        raise ValueError(f"`{name}` must be the name of a file, and {brief(file)} is a folder.")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"`{name}` must be in a folder that can be written to, and {brief(folder)} cannot.")
    return file


class Note(UserWarning):
    """Says what was done, where nothing needs to be done about it."""


def note(message: str) -> None:
    """A note, as a warning that is shown once for each line of the user's and can be filtered."""
    warn(message, Note)


def warn(message: str, category: type[UserWarning] = UserWarning) -> None:
    """A warning that points at the line outside of this package from which it was called, however deep we are."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def optional(check: Any, name: str, value: Any, *args: Any, **kwargs: Any) -> Any:
    """`None` as it is, anything else through `check`."""
    return None if value is None else check(name, value, *args, **kwargs)
