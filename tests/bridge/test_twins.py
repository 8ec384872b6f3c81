"""The same functions, arguments and defaults in both languages."""

import inspect

import pytest

import ldvae
from ldvae import api

FUNCTIONS = [name for name in api.__all__ if name not in ("Fit", "from_scvi")]  # scvi-tools is Python
ONLY_IN_R = {"engine_available", "install_engine"}
RENAMED = {"adata": "x", "layer": "assay"}
ONLY_IN_PYTHON = {"ax", "figsize"}  # what matplotlib draws into
FOR_SCANPY = {"add_ldvae": {"de", "groupby"}}  # its list of ranked genes has no counterpart in R


def in_r(default):
    """A Python default as R deparses it."""
    if default is inspect.Parameter.empty:
        return ""
    if isinstance(default, str):
        return f'"{default}"'
    known = {None: "NULL", True: "TRUE", False: "FALSE", (): "character()"}
    return known[default] if isinstance(default, bool | tuple | None) else f"{default:g}"


def test_r_exports_what_python_does(r):
    assert set(r.strings('getNamespaceExports("ldvae")')) == set(FUNCTIONS) | ONLY_IN_R


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_defaults_are_the_same(r, name):
    parameters = inspect.signature(getattr(ldvae, name)).parameters
    left_out = ONLY_IN_PYTHON | FOR_SCANPY.get(name, set())
    expected = {RENAMED.get(k, k): in_r(p.default) for k, p in parameters.items() if k not in left_out}
    if "x" in expected and name not in ("add_ldvae", "split_counts"):
        expected["cell_data"] = "NULL"  # beside a plain matrix, which has no cell data of its own
    expected["..."] = ""  # where a name that is no argument is answered by the one that is meant
    r(f".formals <- formals(ldvae::{name})")
    names = r.strings("names(.formals)")
    defaults = r.strings("vapply(.formals, function(d) paste(deparse(d), collapse = ' '), '')")
    assert dict(zip(names, defaults, strict=True)) == expected
    assert [k for k in names if k != "..."] == list(expected)[:-1]
