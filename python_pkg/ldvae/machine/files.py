"""Files that are written all or not at all; arrays in a safetensors file, refused when a single bit has changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .. import checks
from .memory import need_memory

__all__ = ["DamagedFile", "read_arrays", "replacing", "write_arrays"]


class DamagedFile(ValueError):
    """What is wrong with the file, as the end of a sentence."""


@contextlib.contextmanager
def replacing(path: Any, what: str, name: str = "path") -> Iterator[Path]:
    """The name of a file to write, which then takes the place of `path`: a crash leaves the old file or the new one."""
    file = Path(checks.new_file(name, path))
    target = Path(os.path.realpath(file))  # a link goes on to lead where it did
    temporary = target.with_name(target.name + ".part")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"`{name}`: the {what} could not be written to {checks.brief(str(file))} ({reason}).") from None
    finally:
        with contextlib.suppress(OSError):  # the name itself may be too long
            temporary.unlink()


def write_arrays(
    path: Any, arrays: Mapping[str, np.ndarray], meta: Mapping[str, str], what: str, name: str = "path"
) -> None:
    """Arrays and metadata with a checksum over both, by `replacing`."""
    arrays = {key: np.asarray(array, order="C") for key, array in arrays.items()}
    with replacing(path, what, name) as temporary:
        temporary.write_bytes(save(dict(arrays), {**meta, "checksum": _checksum(arrays, meta)}))


def read_arrays(
    path: str | os.PathLike[str], accept: Callable[[dict[str, str]], None]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata; `accept` sees the metadata before any array is read, and may raise.

    safetensors holds the sizes in the header against that of the file before it reserves memory.
    """
    need_memory("The arrays of this file", 2.0 * os.path.getsize(path), "open it on a larger machine")
    try:
        with safe_open(path, framework="np") as file:
            meta: dict[str, str] = dict(file.metadata() or {})
            accept(meta)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, AttributeError, TypeError) as error:  # the last two for types that numpy lacks
        raise DamagedFile(" ".join(str(error).split())) from None
    if meta.pop("checksum", None) != _checksum(arrays, meta):
        raise DamagedFile("its checksum does not agree with its content")
    return arrays, meta


def _checksum(arrays: Mapping[str, np.ndarray], meta: Mapping[str, str]) -> str:
    digest = hashlib.blake2b(json.dumps(sorted(meta.items())).encode(), digest_size=32)
    for name in sorted(arrays):
        digest.update(json.dumps([name, arrays[name].dtype.str, arrays[name].shape]).encode())
        digest.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk too, where the system can say so (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
