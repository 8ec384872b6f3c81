"""What takes minutes: fifty kills, ten thousand damaged files, two hundred fits in one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import KILLED_FITS, MANY_FITS, child, mutations

pytestmark = pytest.mark.longtest
OLD = sorted((Path(__file__).parents[1] / "data").glob("fit-*.safetensors"))


def test_fifty_kills_and_the_very_same_fit(tmp_path):
    assert json.loads(child(KILLED_FITS, tmp_path / "state", 50, 600).stdout)["killed"] == 50


def test_ten_thousand_damaged_files(tmp_path):
    found = mutations(OLD[-1].read_bytes(), tmp_path / "x", 10_000, seed=1)
    print(found)
    assert found["refused"] > 9_900


def test_two_hundred_fits_leave_nothing_behind():
    found = json.loads(child(MANY_FITS, 200).stdout)
    print(found)
    assert found["threads"] == 0 and found["handles"] == 0 and found["memory"] < 5e6
