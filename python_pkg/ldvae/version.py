"""The version, which is written in DESCRIPTION for both languages."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

__all__ = ["VERSION"]


def _version() -> str:
    # A checkout and an installed R package have DESCRIPTION two folders above; a Python installation has metadata.
    description = Path(__file__).parents[2] / "DESCRIPTION"
    text = description.read_text(encoding="utf-8") if description.is_file() else ""
    found = re.search(r"^Package: ldvae$.*?^Version: (\S+)$", text, flags=re.DOTALL | re.MULTILINE)
    return found[1] if found else version("ldvae")


VERSION = _version()
