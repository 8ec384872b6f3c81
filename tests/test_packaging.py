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
    assert uses(r"ggplot2::") == {"drawing.R", "plots-comparisons.R", "plots-fits.R", "plots-programs.R"}


def test_every_function_is_in_the_reference_of_both_languages():
    listed = re.findall(
        r"^\.\. auto\w+:: (\w+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert sorted(listed) == sorted(set(ldvae.__all__) - {"__version__"})
    exported = re.findall(r"^export\((\w+)\)$", (ROOT / "r_wrapper/NAMESPACE").read_text(), flags=re.MULTILINE)
    index = (ROOT / "r_wrapper/_pkgdown.yml").read_text(encoding="utf-8").partition("articles:")[0]
    assert set(exported) - set(re.findall(r"[\w-]+", index)) == set()


def test_the_lowest_versions_are_those_of_the_ranges():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 does not read TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = dict(r.split(">=") for r in project["dependencies"] + project["optional-dependencies"]["plot"])
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: pin[: len(ranges[name])] for name, pin in pins.items()} == ranges


def test_conda_asks_for_the_same_versions():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 does not read TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8")
    run = dict(re.findall(r"^    - ([\w-]+) >=([\d.]+)$", recipe.partition("  run:")[2], flags=re.MULTILINE))
    names = {"pytorch": "torch", "python-safetensors": "safetensors", "matplotlib-base": "matplotlib"}
    ranges = project["dependencies"] + project["optional-dependencies"]["plot"]
    assert {names.get(name, name): low for name, low in run.items()} == dict(r.split(">=") for r in ranges)
    assert f'version: "{ldvae.__version__}"' in recipe
