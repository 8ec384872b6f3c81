"""One direction of imports: a module of the engine may only import from those before it."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "python_pkg" / "ldvae"

# The order in which data flows. A new module is entered here, at its place.
ORDER = [
    "version", "checks", "arithmetic", "memory", "files", "store", "distributed", "counts", "data", "distributions",
    "model", "train", "fit", "canonical", "posterior", "shrinkage", "factors", "replicates", "activities", "local",
    "shared", "populations", "groups", "expression", "moments", "pairs", "contributions", "differential", "between",
    "deviation", "programs", "association", "tables", "layout", "drawing", "plots", "plots_groups", "simulate",
    "training", "scvi_weights", "adapters", "results", "slots", "questions", "questions_groups", "page", "answers",
    "report", "api", "bridge", "cli", "__main__", "__init__",
]  # fmt: skip

# Which of our modules may know a library: torch never leaves the engine, AnnData stays at the door.
MAY_IMPORT = {
    "torch": {
        "arithmetic", "distributed", "data", "distributions", "model", "train", "fit", "canonical", "posterior",
        "factors", "activities", "local", "shared", "populations", "expression", "moments", "pairs", "contributions",
        "between", "programs", "training", "scvi_weights", "adapters",
    },
    "anndata": {"counts", "simulate", "bridge", "cli"},
    "matplotlib": {"layout", "drawing", "plots", "plots_groups"},
    "scvi": {"adapters"},
}  # fmt: skip
# Named in annotations only, never imported at run time.
MAY_NAME = {"anndata": {"api"}}


def imports(source: str) -> tuple[set[str], set[str], set[str]]:
    """Our modules, other libraries, and libraries imported for annotations only, wherever in the file."""
    tree = ast.parse(source)
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    ours: set[str] = set()
    others: set[str] = set()
    types: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ("ldvae." if node.level else "") + (node.module or "")
            # `from . import checks` and `from ldvae import checks` name modules; `from .checks import shown` does not.
            names = [f"ldvae.{a.name}" for a in node.names] if base.rstrip(".") == "ldvae" else [base]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "ldvae":
                ours.add(rest.partition(".")[0] or "__init__")
            else:
                (types if id(node) in for_types else others).add(first)
    return ours, others, types


def violations(sources: dict[str, str]) -> list[str]:
    """What breaks the order or the limits, one sentence each."""
    found = [f"{name} is not in the order of modules" for name in sources if name not in ORDER]
    for name in (n for n in ORDER if n in sources):
        ours, others, types = imports(sources[name])
        for other in sorted(ours):
            if other not in ORDER or ORDER.index(other) >= ORDER.index(name):
                found.append(f"{name} imports {other}, which does not come before it")
        for library, allowed in MAY_IMPORT.items():
            if library in others and name not in allowed:
                found.append(f"{name} imports {library}")
            if library in types and name not in allowed | MAY_NAME.get(library, set()):
                found.append(f"{name} imports {library} for its types")
    return found


def test_modules_import_only_from_those_before_them() -> None:
    sources = {path.stem: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py")}
    assert {"checks", "tables"} <= set(sources)
    assert violations(sources) == []


def test_package_is_flat() -> None:
    """The walk above sees one folder; a subpackage would escape it."""
    assert [p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"] == []


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("checks", "from .counts import read_counts", "checks imports counts, which does not come before it"),
        ("checks", "from . import counts", "checks imports counts, which does not come before it"),
        ("checks", "from ldvae import counts", "checks imports counts, which does not come before it"),
        ("checks", "import ldvae.counts", "checks imports counts, which does not come before it"),
        ("checks", "import ldvae", "checks imports __init__, which does not come before it"),
        ("populations", "from .populations import x", "populations imports populations, which does not come before it"),
        (
            "shared",
            "def f():\n    from ldvae.populations import x",
            "shared imports populations, which does not come before",
        ),
        ("train", "if TYPE_CHECKING:\n    from .fit import Fit", "train imports fit, which does not come before it"),
        ("api", "from .nowhere import x", "api imports nowhere, which does not come before it"),
        ("helpers", "", "helpers is not in the order of modules"),
        ("association", "import torch.nn as nn", "association imports torch"),
        ("tables", "from anndata import AnnData", "tables imports anndata"),
        ("api", "from anndata import AnnData", "api imports anndata"),
        ("tables", "if TYPE_CHECKING:\n    import anndata", "tables imports anndata for its types"),
        ("api", "def f():\n    import matplotlib.pyplot", "api imports matplotlib"),
    ],
)
def test_violations_are_seen(name: str, source: str, expected: str) -> None:
    assert [v.startswith(expected) for v in violations({name: source})] == [True]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("counts", "from . import checks\nfrom .checks import shown\nfrom anndata import AnnData"),
        ("populations", "from .shared import x\nfrom .local import y\nfrom .replicates import z\nimport torch"),
        ("api", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from anndata import AnnData"),
        ("plots", "def f():\n    from ldvae import drawing"),
        ("__init__", "from .api import fit_ldvae"),
    ],
)
def test_what_is_allowed_passes(name: str, source: str) -> None:
    assert violations({name: source}) == []


def test_benchmarks_find_what_they_take_from_the_engine() -> None:
    found = []
    for path in (PACKAGE.parents[1] / "benchmarks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ldvae."):
                module = importlib.import_module(str(node.module))
                found += [(path.name, a.name, hasattr(module, a.name)) for a in node.names]
    assert found and all(there for *_, there in found), [f for f in found if not f[-1]]
