"""The page on reliability counts what the tests try: its numbers are those of their tables."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import ldvae
import test_bad_input
import test_hard_data
import test_properties
import test_side_effects

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs" / "reliability.md").read_text(encoding="utf-8")


def length(path, name):
    """Of a list or dict in a file that cannot be imported here."""
    (found,) = [
        node.value for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and node.targets[0].id == name
    ]  # fmt: skip
    return len(found.keys if isinstance(found, ast.Dict) else found.elts)


def number_of_tests(module):
    """Tests with all their parameters."""
    found = [test for name, test in vars(module).items() if name.startswith("test_")]
    marks = [[m for m in getattr(test, "pytestmark", ()) if m.name == "parametrize"] for test in found]
    return sum(len(mark[0].args[1]) if mark else 1 for mark in marks)


def arguments():
    functions = test_bad_input.PUBLIC - {"write_report"}
    return sum(len(inspect.signature(getattr(ldvae, name)).parameters) for name in functions)


BRIDGE = HERE / "bridge"


@pytest.mark.parametrize(
    ("row", "number"),
    [
        ("wrong values of every argument", len(test_bad_input.ARGUMENTS)),
        ("wrong objects", len(test_bad_input.ASKED) + 3),  # and covariates
        ("every argument given 44 kinds of nonsense", arguments() * len(test_bad_input.NONSENSE)),
        ("generated counts", len(test_properties.LEAST) * test_properties.quick.max_examples),
        ("hard but legal data", number_of_tests(test_hard_data)),
        ("damaged files (`tests/fit/test_record.py`): mutated at random, forged",
         f"300, {length(HERE / 'fit' / 'test_record.py', 'FORGED')}"),
        ("global state", len(test_side_effects.state())),
        ("strict settings", len(test_side_effects.STRICT)),
        ("wrong arguments through R",
         length(BRIDGE / "test_bad_input.py", "CASES") + length(BRIDGE / "test_errors.py", "ERRORS")),
    ],
)  # fmt: skip
def test_the_page_has_the_number_of(row, number):
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {row}")]
    assert line.split("|")[2].split(" call")[0].strip() == (number if isinstance(number, str) else f"{number:,}")
    assert len(test_bad_input.NONSENSE) == 44
