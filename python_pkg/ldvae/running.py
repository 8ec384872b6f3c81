"""Running a command: one per function, with the arguments, defaults and explanations of that function."""

from __future__ import annotations

import argparse
import gzip
import inspect
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import api, checks
from .commands import COMMANDS, Parser, epilog
from .counts.files import read_file
from .fit.record import Fit
from .machine.files import replacing

__all__ = ["parser_of", "run"]

_SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t", ".parquet": ""}
_SIMPLE = {"int": int, "float": float, "str": str}


def run(command: str, words: Sequence[str]) -> int:
    """Parse the words after the command and run it; returns the exit code."""
    arguments = vars(parser_of(command).parse_args(words))
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"ldvae: note: {message}", file=sys.stderr)
        try:
            return _run(command, arguments)
        except KeyboardInterrupt:
            print("ldvae: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # `ldvae loadings fit.ldvae | head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
            print(f"ldvae: {_sentence(command, str(error))}", file=sys.stderr)
            return 2


def _sentence(command: str, text: str) -> str:
    """An error with its arguments as they are typed here."""
    options = set(inspect.signature(function_of(command)).parameters) - {"fit", "adata"}
    text = " ".join(text.split()).replace("`path`", "`--output`")
    return re.sub(r"`(\w+)`", lambda m: f"`--{m[1].replace('_', '-')}`" if m[1] in options else m[0], text)


def _run(command: str, arguments: dict[str, Any]) -> int:
    output = arguments.pop("output")
    if output is not None:
        checks.new_file("path", output)  # before any work
    if command == "report":
        arguments["path"] = output
    elif command != "fit":
        _ending(output)
    arguments = {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in arguments.items()}
    for name, read in (("fit", _fit), ("adata", read_file)):
        if name in arguments:
            arguments[name] = read(arguments[name])
    if "embedding" in arguments:
        arguments["embedding"] = _coordinates(arguments["adata"], arguments["embedding"])
    first = [arguments.pop(name) for name in ("fit", "adata") if name in arguments]
    value = function_of(command)(*first, **arguments)
    if isinstance(value, Fit):
        api.save_fit(value, str(output))
        print(value, file=sys.stderr)
        return 130 if value.info["stopped"] == "interrupted" else 0
    if value is not None:
        _write(value, output)
    return 0


def _fit(path: str) -> Fit:
    if not Path(path).is_file():
        raise ValueError(f"`fit` must be a file written by `ldvae fit`, and there is none at {path!r}.")
    return api.load_fit(path)


def _coordinates(adata: Any, key: Any) -> Any:
    if not isinstance(key, str) or key not in adata.obsm:
        there = ", ".join(map(repr, adata.obsm)) or "which is empty"
        raise ValueError(f"`embedding` must be a key of adata.obsm ({there}), not {key!r}.")
    return adata.obsm[key]


def _ending(output: str | None) -> str:
    if output is None:
        return ".csv"
    found = [ending for ending in _SEPARATORS if output.endswith(ending)]
    if not found:
        raise ValueError(f"`--output` must end in {', '.join(_SEPARATORS)}, and {output!r} does not.")
    if found[0] == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise ImportError("Parquet files need pyarrow: pip install pyarrow, or take another ending.") from None
    return found[0]


def _write(table: pd.DataFrame, output: str | None) -> None:
    ending = _ending(output)
    if output is None:
        table.to_csv(sys.stdout, index=False)
        sys.stdout.flush()
        return
    with replacing(output, "table") as path:
        if ending == ".parquet":
            table.to_parquet(path, index=False, engine="pyarrow")
        else:
            # no name and no time inside, so that the same table is the same file
            gz = ending.endswith(".gz")
            with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) if gz else file as into:
                table.to_csv(into, sep=_SEPARATORS[ending], index=False)


def parser_of(command: str) -> Parser:
    """How the arguments of a command are read."""
    function = function_of(command)
    summary, rest = _description(function)
    parser = Parser(
        prog=f"ldvae {command}", description=f"{summary}\n\n{rest}".strip(), epilog=epilog(command),
        formatter_class=argparse.RawDescriptionHelpFormatter, fromfile_prefix_chars="@", allow_abbrev=False,
    )  # fmt: skip
    _add_arguments(parser, function)
    return parser


def function_of(command: str) -> Callable[..., Any]:
    """The function that a command calls."""
    function: Callable[..., Any] = getattr(api, COMMANDS[command][0])
    return function


def _add_arguments(parser: argparse.ArgumentParser, function: Callable[..., Any]) -> None:
    explained = _parameters(function)
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "path":  # what is written is named by --output everywhere
            continue
        text, default, needed = explained[name], parameter.default, parameter.default is parameter.empty
        if name in ("fit", "adata"):
            place = (
                "a fit of `ldvae fit`" if name == "fit" else f"an .h5ad file, a .zarr folder or an .h5 of 10x. {text}"
            )
            optional: dict[str, Any] = {} if needed else {"nargs": "?", "default": argparse.SUPPRESS}
            parser.add_argument(name, help=_help(place), **optional)
            continue
        if name == "embedding":
            text = f"Key of adata.obsm: {text}"
        shown = " (required)" if needed else "" if default in (None, ()) else f" (default: {default})"
        parser.add_argument(
            f"--{name.replace('_', '-')}", help=_help(text + shown), required=needed,
            default=argparse.SUPPRESS, **_kind(name, str(parameter.annotation)),
        )  # fmt: skip
    writes_file = function in (api.fit_ldvae, api.write_report)
    text = "the file to write" if writes_file else "the file to write, .csv, .tsv (or .gz of these) or .parquet"
    parser.add_argument("-o", "--output", metavar="FILE", required=writes_file, help=text, default=None)


def _kind(name: str, annotation: str) -> dict[str, Any]:
    """How argparse reads an argument of this type."""
    if annotation == "bool":
        return {"action": argparse.BooleanOptionalAction}
    simple = annotation.split(" | ")[0]
    if simple in _SIMPLE:
        return {"type": _SIMPLE[simple], "metavar": {"int": "N", "float": "X"}.get(simple, "NAME")}
    return {"nargs": "+", "metavar": "NAME"}  # one name or several


def _description(function: Callable[..., Any]) -> tuple[str, str]:
    """First sentence and further paragraphs of the docstring."""
    text = re.split(r"\n\w[\w ]*\n-+\n", inspect.getdoc(function) or "")[0]
    summary, _, rest = text.partition("\n\n")
    paragraphs = [p if p.startswith("*") else textwrap.fill(p, 100) for p in _plain(rest).split("\n\n")]
    return _plain(" ".join(summary.split())), "\n\n".join(paragraphs)


def _parameters(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring says of each parameter; "As in `other`" is looked up there."""
    section = re.split(r"\nParameters\n-+\n", inspect.getdoc(function) or "")[1].split("\n\n")[0]
    found: dict[str, str] = {}
    for names, text in re.findall(r"^(\S.*)\n((?:[ ]+.*\n?)+)", section, flags=re.MULTILINE):
        for name in names.split(", "):
            found[name] = " ".join(text.split())
            other = re.match(r"As in `(\w+)`[.;]? ?(.*)", found[name])
            if other:
                found[name] = f"{_parameters(getattr(api, other[1]))[name]} {other[2]}".strip()
    return found


def _plain(text: str) -> str:
    """Without the marks and words of Python."""
    return text.replace("`", "").replace("if None", "if not given").replace("With both None", "With neither")


def _help(text: str) -> str:
    return _plain(text).replace("%", "%%")
