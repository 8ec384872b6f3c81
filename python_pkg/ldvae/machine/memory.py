"""Is there enough memory? A request that cannot be met is refused before it is begun."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["AT_A_TIME", "IN_CACHE", "free_memory", "need_memory"]

# Entries (cells × genes, or draws × genes) that are worked on at a time (benchmarks/speed)
IN_CACHE = 200_000  # where several arrays are swept: a megabyte each, so that they stay in the cache
AT_A_TIME = 4_000_000  # where each is made once and summed

_UNKNOWN = 8e9  # bytes assumed where the system does not say (Windows)
_CGROUP = Path("/sys/fs/cgroup")


def need_memory(what: str, size: float, remedy: str) -> None:
    """Refuse what needs more bytes than there are; `what` is a plural."""
    free = free_memory()
    if size > free:
        raise ValueError(f"{what} need about {size:.3g} bytes of memory, and {free:.3g} are free; {remedy}.")


def free_memory() -> float:
    """Bytes that this process may still take, as far as the system says."""
    limits = [_machine()]
    try:
        import resource

        limits.append(float(resource.getrlimit(resource.RLIMIT_AS)[0]))
    except ImportError:  # Windows
        pass
    limits += _container()
    return min(limit for limit in limits if limit >= 0)  # RLIM_INFINITY is -1


def _machine() -> float:
    info = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", info.read_text(), re.MULTILINE) if info.is_file() else None
    if found:
        return 1024.0 * int(found[1])
    try:  # macOS: all memory, since it does not say what is free
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _container() -> list[float]:
    """What a container leaves, if the process is in one that has a limit."""
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return []
    return [max(0.0, float(limit) - float(used))] if limit.isdigit() else []
