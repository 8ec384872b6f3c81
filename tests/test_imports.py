"""Data flow in one direction: a wing imports only from wings to its left, and inside a wing there is no circle."""

from __future__ import annotations

import ast
import importlib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "python_pkg" / "ldvae"

# From left to right: what stands in one line knows nothing of its neighbours.
FLOW = [
    {"checks", "version", "tables", "commands"},
    {"machine", "stats", "plots"},
    {"counts"},
    {"model"},
    {"fit"},
    {"comparisons"},
    {"programs"},
    {"report"},
    {"api"},
    {"bridge", "running"},
    {"cli"},
    {"__main__", "__init__"},
]
PLACE = {wing: i for i, line in enumerate(FLOW) for wing in line}

# Which wings (or single modules of them) may know a library.
MAY_KNOW = {
    "torch": {"machine", "counts/minibatches", "model", "fit", "comparisons", "programs"},
    "anndata": {"counts", "bridge"},
    "matplotlib": {"plots"},
    "mpl_toolkits": {"plots"},
    "scvi": {"fit/from_scvi"},
}


def imports(module: str, source: str) -> tuple[set[str], set[str]]:
    """Our modules (as paths from the package) and other libraries that a module imports, wherever in the file."""
    folder = module.split("/")[:-1]
    ours: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ["ldvae", *folder[: len(folder) + 1 - node.level]] if node.level else []
            base = start + (node.module or "").split(".") if node.module else start
            # `from . import a` may name a module, `from .a import b` a module or what is in it
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] != "ldvae":
                others.add(name[0])
                continue
            known = next((p for p in ("/".join(name[1:k]) for k in (3, 2)) if is_module(p)), None)
            ours.add(known or (name[1] if len(name) > 1 and name[1] in PLACE else "__init__"))
    return ours, others


def is_module(path: str) -> bool:
    return bool(path) and ((PACKAGE / f"{path}.py").is_file() or path in EXTRA)


EXTRA: set[str] = set()  # modules that the tests below make up


def violations(sources: dict[str, str]) -> list[str]:
    """What breaks a rule, one sentence each."""
    found: list[str] = []
    inside: dict[str, dict[str, set[str]]] = {}
    for module, source in sources.items():
        wing = module.split("/")[0]
        if wing not in PLACE:
            found.append(f"{module} has no place in the flow")
            continue
        ours, others = imports(module, source)
        for other in sorted(ours - {f"{wing}/__init__"}):
            if other.split("/")[0] == wing and other != wing:
                inside.setdefault(wing, {}).setdefault(module, set()).add(other)
            elif PLACE.get(other.split("/")[0], len(FLOW)) >= PLACE[wing]:
                found.append(f"{module} imports {other}, which is not to its left")
        for library in sorted(others & MAY_KNOW.keys()):
            if not MAY_KNOW[library] & {wing, module}:
                found.append(f"{module} imports {library}")
    for wing, graph in sorted(inside.items()):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append(f"{wing} has a circle: {' > '.join(error.args[1])}")
    return found


def read_package() -> dict[str, str]:
    files = {p.relative_to(PACKAGE).with_suffix("").as_posix(): p for p in PACKAGE.rglob("*.py")}
    return {module: path.read_text(encoding="utf-8") for module, path in files.items()}


def test_data_flow_in_one_direction() -> None:
    sources = read_package()
    assert {"checks", "counts/reader", "programs/questions"} <= set(sources)
    assert violations(sources) == []


def test_what_may_know_a_library_does() -> None:
    known: dict[str, set[str]] = {library: set() for library in MAY_KNOW}
    for module, source in read_package().items():
        for library in imports(module, source)[1] & MAY_KNOW.keys():
            known[library] |= {module, module.split("/")[0]}
    assert {
        library: allowed - known[library] for library, allowed in MAY_KNOW.items() if allowed - known[library]
    } == {}


def test_a_wing_is_one_docstring() -> None:
    """A wing that re-exports would hide which module is meant, and make circles."""
    wings = [path.parent for path in PACKAGE.glob("*/__init__.py")]
    assert {w.name for w in wings} == {w for line in FLOW for w in line if (PACKAGE / w).is_dir()}
    for wing in wings:
        body = ast.parse((wing / "__init__.py").read_text(encoding="utf-8")).body
        assert [type(node) for node in body] == [ast.Expr], wing.name
        assert [p for p in wing.iterdir() if p.is_dir() and p.name != "__pycache__"] == []


@pytest.mark.parametrize("limit", ["lines of a module", "lines of a body"])
def test_nothing_is_too_long(limit: str) -> None:
    """300 lines a module; 60 a function, its docstring left out."""
    found = []
    for module, source in read_package().items():
        if limit == "lines of a module":
            found += [(module, n) for n in [source.count("\n")] if n > 300]
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                found += [(module, node.name)] if (node.end_lineno or 0) - first.lineno + 1 > 60 else []
    assert found == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("checks", "from .counts.reader import read_counts", "checks imports counts/reader, which is not to its left"),
        ("checks", "from .counts import reader", "checks imports counts/reader, which is not to its left"),
        ("machine/files", "from ..counts.reader import x", "machine/files imports counts/reader, which is not to its"),
        ("machine/files", "from ..stats.shrinkage import ash", "machine/files imports stats/shrinkage, which is not"),
        ("stats/shrinkage", "import ldvae.fit.record", "stats/shrinkage imports fit/record, which is not to its left"),
        ("checks", "import ldvae", "checks imports __init__, which is not to its left"),
        ("fit/record", "from ldvae import fit_ldvae", "fit/record imports __init__, which is not to its left"),
        ("fit/record", "def f():\n    from ..programs.find import x", "fit/record imports programs/find, which is not"),
        (
            "model/network",
            "if TYPE_CHECKING:\n    from ..fit.record import Fit",
            "model/network imports fit/record, which",
        ),
        ("api", "from .nowhere import x", "api imports __init__, which is not to its left"),
        ("helpers/new", "", "helpers/new has no place in the flow"),
        ("stats/shrinkage", "import torch.nn as nn", "stats/shrinkage imports torch"),
        ("counts/reader", "import torch", "counts/reader imports torch"),
        ("report/page", "def f():\n    import matplotlib.pyplot", "report/page imports matplotlib"),
        ("tables", "if TYPE_CHECKING:\n    from anndata import AnnData", "tables imports anndata"),
        ("fit/record", "import scvi", "fit/record imports scvi"),
    ],
)
def test_violations_are_seen(module: str, source: str, expected: str) -> None:
    assert [v.startswith(expected) for v in violations({module: source})] == [True], violations({module: source})


def test_circles_are_seen(monkeypatch) -> None:
    monkeypatch.setattr(f"{__name__}.EXTRA", {"stats/a", "stats/b", "stats/c"})
    line = {"stats/a": "from .b import x", "stats/b": "from .c import y", "stats/c": "import numpy"}
    assert violations(line) == []
    assert [v[:18] for v in violations({**line, "stats/c": "from . import a"})] == ["stats has a circle"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("counts/reader", "from .. import checks\nfrom ..checks import shown\nfrom anndata import AnnData"),
        ("programs/find", "from .within import x\nfrom ..comparisons.moments import y\nimport torch"),
        ("plots/programs", "def f():\n    from . import drawing"),
        ("__init__", "from .api import fit_ldvae"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations({module: source}) == []


def test_tests_lie_where_their_module_does() -> None:
    """`tests/counts/test_reader.py` is about `counts/reader`; what is about all of the engine lies on top."""
    here = Path(__file__).parent
    wings = {wing for line in FLOW for wing in line if (PACKAGE / wing).is_dir()}
    tests = {p.relative_to(here).as_posix().replace("test_", "")[:-3] for p in here.glob("*/test_*.py")}
    found = {test for test in tests if test.split("/")[0] in wings}
    assert {test.split("/")[0] for test in found} == wings
    assert {test for test in found if not is_module(test)} == set()


def test_benchmarks_find_what_they_take_from_the_engine() -> None:
    found = []
    for path in (PACKAGE.parents[1] / "benchmarks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ldvae."):
                module = importlib.import_module(str(node.module))
                found += [(path.name, a.name, hasattr(module, a.name)) for a in node.names]
    assert found and all(there for *_, there in found), [f for f in found if not f[-1]]
