"""What ends a process from outside (Slurm, Nextflow, a closed notebook) ends work as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["Termination", "terminated_gently"]


class Termination:
    """Whether SIGTERM came: there is little time left then."""

    came = False


@contextlib.contextmanager
def terminated_gently() -> Iterator[Termination]:
    """SIGTERM becomes a KeyboardInterrupt, where nobody else handles it and signals are ours to handle."""
    told = Termination()

    def interrupt(*_: Any) -> None:
        told.came = True
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield told
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
