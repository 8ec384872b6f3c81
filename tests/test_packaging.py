"""What is written in two places, because two languages want it, is the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ldvae

ROOT = Path(__file__).parents[1]


def test_both_descriptions_are_the_same():
    assert (ROOT / "DESCRIPTION").read_bytes() == (ROOT / "r_wrapper" / "DESCRIPTION").read_bytes()


def test_the_version_is_that_of_the_description():
    assert f"\nVersion: {ldvae.__version__}\n" in (ROOT / "DESCRIPTION").read_text(encoding="utf-8")


def test_r_asks_for_the_packages_that_python_does():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 does not read TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = (ROOT / "r_wrapper" / "R" / "engine.R").read_text(encoding="utf-8")
    block = re.search(r"^requirements <- c\((.*?)^\)", source, flags=re.DOTALL | re.MULTILINE)[1]
    assert re.findall(r'"([^"]+)"', block) == project["dependencies"]
    assert f'python_version = "{project["requires-python"]}"' in source


def uses(pattern):
    """Files of the R package whose code, not their comments, has the pattern."""
    code = {p.name: re.sub(r"(?m)^#.*$", "", p.read_text(encoding="utf-8")) for p in (ROOT / "r_wrapper/R").glob("*.R")}
    return {name for name, text in code.items() if re.search(pattern, text)}


def test_each_foreign_thing_is_known_to_few_files_of_r():
    assert uses(r"reticulate::") == {"engine.R"}
    assert uses(r"(SeuratObject|SingleCellExperiment|SummarizedExperiment)::\w") == {"input.R", "output.R"}
    assert uses(r"ggplot2::") == {"plots.R", "plots-groups.R", "drawing.R"}
