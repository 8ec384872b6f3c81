"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import checks

__all__ = ["replacing"]


@contextmanager
def replacing(path: Any, what: str) -> Iterator[Path]:
    """The name of a file to write, which then takes the place of `path`: a crash leaves the old file or the new one."""
    target = Path(checks.path("path", path))
    if not target.parent.is_dir():
        raise ValueError(f"`path` must be in an existing folder, and {str(target.parent)!r} is not one.")
    temporary = target.with_name(target.name + ".part")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise OSError(f"`path`: the {what} could not be written to {str(target)!r} ({error}).") from None
    finally:
        temporary.unlink(missing_ok=True)
