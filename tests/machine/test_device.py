"""The device asked for, or one sentence on why it cannot be had."""

from __future__ import annotations

import pytest
import torch

from ldvae.machine.device import pick_device


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:x", ""])
def test_unknown_devices(device):
    with pytest.raises(ValueError) as caught:
        pick_device(device)
    assert str(caught.value) == f"`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not {device!r}."


def test_what_is_no_device():
    with pytest.raises(TypeError, match="`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not 0"):
        pick_device(0)


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError) as caught:
        pick_device("cuda:3")
    assert str(caught.value) == "`device` is 'cuda:3', but this machine has 1 CUDA devices; use 'auto'."


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda") == torch.device("cuda")
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "MASTER_ADDR": "here", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda:1")
    assert pick_device("cuda:0") == torch.device("cuda:0") and pick_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError) as caught:
        pick_device("auto")
    assert str(caught.value) == (
        "torchrun started more processes on this machine than its 2 CUDA devices; start one for each, or set `device` "
        "to 'cpu'."
    )
