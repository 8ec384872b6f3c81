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
def replacing(path: Any, what: str, name: str = "path") -> Iterator[Path]:
    """The name of a file to write, which then takes the place of `path`: a crash leaves the old file or the new one."""
    file = Path(checks.new_file(name, path))
    temporary = file.with_name(file.name + ".part")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, file)
    except OSError as error:
        raise OSError(f"`{name}`: the {what} could not be written to {str(file)!r} ({error}).") from None
    finally:
        temporary.unlink(missing_ok=True)
