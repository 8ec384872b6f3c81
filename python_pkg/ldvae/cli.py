"""The command line. Nothing heavy is imported for `--help` and `--version`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .commands import COMMANDS, Parser, epilog
from .version import VERSION

__all__ = ["main"]

_ABOUT = """Which genes drive each cell population? Train once on the raw counts of all cells, then ask.

Counts come from AnnData (.h5ad or .zarr) or 10x Genomics (.h5). Tables go to standard output as CSV, or to a file whose
ending says how: .csv, .csv.gz, .tsv, .tsv.gz or .parquet. `ldvae COMMAND --help` explains its arguments."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    Parameters
    ----------
    argv
        Arguments without the name of the program; those of the process if None.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        _parser().parse_args(words)  # help, version or an error: none returns
    from .running import run

    return run(words[0], words[1:])


def _parser() -> Parser:
    parser = Parser(
        prog="ldvae", description=_ABOUT, epilog=epilog(""), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"ldvae {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary.replace("%", "%%"), add_help=False)
    return parser
