"""Where tensors live: the device asked for, and surroundings in which torch would fail."""

from __future__ import annotations

import os

import torch

from ..checks import brief
from .processes import launched

__all__ = ["device_of_new_tensors", "pick_device", "refuse_surroundings"]

_HOME = os.getpid()  # the process that imported torch


def refuse_surroundings() -> None:
    """Refuse a process in which torch would hang, and what was told torch about every tensor, ours among them.

    A forked process has none of the threads that torch believes to have, and would wait for them for ever.
    """
    if os.getpid() != _HOME and torch.get_num_threads() > 1:
        raise RuntimeError(
            "This is a forked process, in which torch would hang with several threads; start the worker afresh "
            "('spawn', or a cluster of new processes), or call torch.set_num_threads(1) in it first."
        )
    dtype, device = torch.get_default_dtype(), device_of_new_tensors()
    half = any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda"))
    for wrong, found, remedy in (
        (dtype != torch.float32, f"of {dtype}", "call torch.set_default_dtype(torch.float32)"),
        (device.type != "cpu", f"on {device}", "call torch.set_default_device('cpu')"),
        (half, "in half precision", "leave the block of torch.autocast"),
    ):
        if wrong:
            raise RuntimeError(
                f"torch must make new tensors of 32-bit numbers on the CPU, not {found}; {remedy} first."
            )


def device_of_new_tensors() -> torch.device:
    """Where torch puts a tensor when it is not told."""
    return torch.empty(0).device  # before torch 2.5, get_default_device() sees no `with torch.device(...)`


def pick_device(device: str) -> torch.device:
    """The device asked for; "auto" takes CUDA where there is one."""
    if not isinstance(device, str):
        raise TypeError(f"`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not {brief(device)}.")
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    kind, _, index = name.partition(":")
    if name == "cuda" and launched():
        index = os.environ.get("LOCAL_RANK", "0")
        if int(index) >= torch.cuda.device_count():
            raise ValueError(
                f"torchrun started more processes on this machine than its {torch.cuda.device_count()} CUDA devices; "
                "start one for each, or set `device` to 'cpu'."
            )
        name = f"cuda:{index}"
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError(f"`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not {brief(device)}.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"`device` is {brief(device)}, but this machine has {torch.cuda.device_count()} CUDA devices; use 'auto'."
        )
    return torch.device(name)
