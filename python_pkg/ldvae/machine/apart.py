"""Shared libraries in a process that has others with the same functions: R brings linear algebra of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["apart"]


@contextmanager
def apart() -> Iterator[None]:
    """Libraries loaded meanwhile call their own functions first, as they do on other systems than Linux.

    Otherwise torch multiplies matrices by the BLAS that R has loaded: the reference one of Debian and Ubuntu takes
    many times as long.
    """
    if not hasattr(os, "RTLD_DEEPBIND"):
        yield
        return
    before = sys.getdlopenflags()
    sys.setdlopenflags(before | os.RTLD_DEEPBIND)
    try:
        yield
    finally:
        sys.setdlopenflags(before)
