"""The command line: what the functions return, in files; one sentence and a code for what is wrong."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest

import ldvae
from ldvae import cli, running
from ldvae.commands import COMMANDS, EXAMPLES

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "python_pkg"), "OMP_NUM_THREADS": "1"}
BY = {"groupby": "population"}


@pytest.fixture(scope="module")
def files(fit, simulated, tmp_path_factory):
    """The fit and the cells as files, in the working folder of each test."""
    folder = tmp_path_factory.mktemp("cli")
    ldvae.save_fit(fit, folder / "fit.ldvae")
    cells = simulated.copy()
    cells.uns = {}
    cells.obsm["X_umap"] = cells.obsm["activity"][:, :2]
    cells.write_h5ad(folder / "cells.h5ad")
    return folder


@pytest.fixture(autouse=True)
def inside(files, monkeypatch):
    monkeypatch.chdir(files)


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def said(capsys, *arguments):
    """The sentence on standard error of a command that ends with code 2."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("ldvae: ")
    return err[len("ldvae: ") : -1]


def same(path, table, **read):
    found = pd.read_csv(path, keep_default_na=True, **read)
    text = table.select_dtypes(object).columns
    found[text] = found[text].fillna("").astype(str)
    pd.testing.assert_frame_equal(found, table, check_dtype=False, rtol=1e-12)


def test_a_fit_is_that_of_the_function(fit, capsys):
    arguments = (
        "--batch-key batch --n-latent 6 --n-hidden 32 --max-epochs 15 --batch-size 32 --no-progress --device cpu"
    )
    assert run("fit", "cells.h5ad", *arguments.split(), "-o", "again.ldvae") == 0
    again = ldvae.load_fit("again.ldvae")
    assert again.config == fit.config and again.info == fit.info
    assert (again.factors["loadings"] == fit.factors["loadings"]).all()
    assert "6 factors active" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "function", "options"),
    [
        ("population-loadings", "population_loadings", BY | {"kind": "between", "reference": ["P1", "P2"]}),
        ("population-programs", "population_programs", BY | {"kind": "between", "sample_key": "sample"}),
        ("program-map", "get_program_map", BY | {"n_programs": 1, "seed": 3}),
        ("de", "differential_expression", BY | {"group1": "P1", "delta": 0.5, "batch_correction": False}),
        ("associate", "associate_factors", {"key": "treatment", "sample_key": "sample"}),
        ("contributions", "differential_contributions", BY | {"group1": ["P0", "P1"]}),
        ("expression", "get_expression", {"genes": ["G3", "G1"], "n_samples": 2}),
    ],
)  # fmt: skip
def test_tables_are_those_of_the_functions(fit, simulated, command, function, options):
    typed = []
    for name, value in options.items():
        option = name.replace("_", "-")
        values = value if isinstance(value, list) else [value]
        typed += [f"--no-{option}"] if value is False else [f"--{option}", *values]
    assert run(command, "fit.ldvae", "cells.h5ad", *typed, "-o", "table.csv") == 0
    same("table.csv", getattr(ldvae, function)(fit, simulated, **options))


@pytest.mark.parametrize(("ending", "read"), [(".tsv", {"sep": "\t"}), (".csv.gz", {}), (".tsv.gz", {"sep": "\t"})])
def test_the_ending_says_how_a_table_is_written(fit, ending, read):
    for name in ("a", "b"):
        assert run("loadings", "fit.ldvae", "-o", name + ending) == 0
    same("a" + ending, ldvae.get_loadings(fit), **read)
    assert Path("a" + ending).read_bytes() == Path("b" + ending).read_bytes()


def test_parquet(fit):
    pytest.importorskip("pyarrow")
    assert run("factors", "fit.ldvae", "-o", "factors.parquet") == 0
    pd.testing.assert_frame_equal(pd.read_parquet("factors.parquet"), ldvae.get_factors(fit))


def test_parquet_without_pyarrow(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert said(capsys, "factors", "fit.ldvae", "-o", "x.parquet") == (
        "Parquet files need pyarrow: pip install pyarrow, or take another ending."
    )


def test_without_a_file_tables_go_to_standard_output(fit, capsys):
    assert run("factors", "fit.ldvae") == 0
    out = capsys.readouterr().out
    assert out == ldvae.get_factors(fit).to_csv(index=False)


def test_other_cells_may_be_left_out(fit, simulated):
    assert (
        run("latent", "fit.ldvae", "-o", "a.csv") == 0 and run("latent", "fit.ldvae", "cells.h5ad", "-o", "b.csv") == 0
    )
    same("a.csv", ldvae.get_latent(fit))
    same("b.csv", ldvae.get_latent(fit, simulated))


def test_names_may_come_from_a_file(fit, simulated):
    Path("genes.txt").write_text("G3\nG1\n")
    assert (
        run("expression", "fit.ldvae", "cells.h5ad", "--genes", "@genes.txt", "--n-samples", 2, "-o", "table.csv") == 0
    )
    same("table.csv", ldvae.get_expression(fit, simulated, genes=["G3", "G1"], n_samples=2))


CELLS = "`adata` must be an .h5ad file, a .zarr folder or an .h5 file of 10x Genomics"


def test_cells_may_be_a_zarr_folder():
    pytest.importorskip("zarr")
    ad.read_h5ad("cells.h5ad").write_zarr("cells.zarr")
    assert run("latent", "fit.ldvae", "cells.h5ad", "-o", "a.csv") == 0
    assert run("latent", "fit.ldvae", "cells.zarr", "-o", "b.csv") == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


def test_a_folder_that_is_no_zarr(capsys):
    pytest.importorskip("zarr")
    assert said(capsys, "de", "fit.ldvae", ".", "--groupby", "a").startswith(f"{CELLS}, and '.' is not one (")


def test_zarr_without_zarr(monkeypatch, capsys):
    def read(path):
        raise ImportError("No module named 'zarr'")

    monkeypatch.setattr("anndata.read_zarr", read)
    sentence = "Folders of zarr need zarr: pip install zarr, or give an .h5ad file."
    assert said(capsys, "latent", "fit.ldvae", ".") == sentence


def test_a_report(monkeypatch):
    asked, parser = {}, running.parser_of("report")
    monkeypatch.setattr(running, "parser_of", lambda command: parser)
    monkeypatch.setattr(running, "function_of", lambda command: lambda fit, adata, **given: asked.update(given))
    line = "report fit.ldvae cells.h5ad --groupby population --embedding X_umap -o report.html"
    assert run(*line.split()) == 0
    assert asked.pop("embedding").shape == (600, 2)
    assert asked == {"groupby": "population", "path": "report.html"}


WRONG = [
    ("factors nothing", "`fit` must be a file written by `ldvae fit`, and there is none at 'nothing'."),
    ("factors cells.h5ad", "'cells.h5ad' is not a fit or is damaged ("),
    ("de fit.ldvae nothing --groupby a", f"{CELLS}, and there is none at 'nothing'."),
    ("de fit.ldvae fit.ldvae --groupby a", f"{CELLS}, and 'fit.ldvae' is not one ("),
    ("de fit.ldvae x.h5mu --groupby a",
     f"{CELLS}, and 'x.h5mu' is a MuData: write the modality with the counts to an .h5ad file."),
    ("de fit.ldvae cells.h5ad --groupby a", "`--groupby` must name a column of adata.obs ("),
    ("de fit.ldvae cells.h5ad --groupby sample --n-samples 0",
     "`--n-samples` must be a whole number of at least 2 and at most 10000000, not 0."),
    ("factors fit.ldvae -o table.xlsx",
     "`--output` must end in .csv, .csv.gz, .tsv, .tsv.gz, .parquet, and 'table.xlsx' does not."),
    ("factors fit.ldvae -o no/table.csv", "`--output` must be in an existing folder, and 'no' is not one."),
    ("fit cells.h5ad -o no/fit.ldvae", "`--output` must be in an existing folder, and 'no' is not one."),
    ("fit cells.h5ad -o x --genes G1 nix", "1 of 2 genes are not in `adata`: 'nix'."),
    ("report fit.ldvae cells.h5ad --groupby population --embedding X -o x",
     "`--embedding` must be a key of adata.obsm ('X_umap', 'activity'), not 'X'."),
]  # fmt: skip


@pytest.mark.parametrize(("line", "sentence"), WRONG)
def test_what_is_wrong_gets_one_sentence_and_code_2(capsys, line, sentence):
    assert said(capsys, *line.split()).startswith(sentence)
    assert not Path("x").exists()


@pytest.mark.parametrize(
    "line",
    ["", "nonsense", "fit cells.h5ad", "de fit.ldvae", "associate fit.ldvae cells.h5ad", "factors fit.ldvae --seed x"],
)
def test_wrong_usage_is_code_2_too(capsys, line):
    with pytest.raises(SystemExit) as ended:
        run(*line.split())
    assert ended.value.code == 2 and "usage: ldvae" in capsys.readouterr().err


def test_interrupted(monkeypatch, capsys):
    def interrupt(fit):
        raise KeyboardInterrupt

    parser = running.parser_of("factors")
    monkeypatch.setattr(running, "parser_of", lambda command: parser)
    monkeypatch.setattr(running, "function_of", lambda command: interrupt)
    assert run("factors", "fit.ldvae") == 130
    assert capsys.readouterr().err == "ldvae: interrupted\n"


def test_a_warning_is_a_note(capsys):
    few = ldvae.simulate_counts(n_cells=40, n_genes=30, n_populations=2, program_size=3)
    few.uns = {}
    few.obs["g"] = ["a"] * 18 + ["b"] * 18 + ["c"] * 4
    few.write_h5ad("few.h5ad")
    assert run("fit", "few.h5ad", "--max-epochs", 1, "--n-latent", 2, "--no-progress", "-o", "few.ldvae") == 0
    assert run("population-programs", "few.ldvae", "few.h5ad", "--groupby", "g", "--kind", "between") == 0
    assert "ldvae: note: Populations with fewer than 5 cells are left out: 'c'.\n" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(capsys, command):
    with pytest.raises(SystemExit) as ended:
        run(command, "--help")
    text = capsys.readouterr().out
    assert ended.value.code == 0 and f"  ldvae {command} " in text and "130 interrupted" in text
    words = " ".join(text.split())
    for name, parameter in inspect.signature(running.function_of(command)).parameters.items():
        typed = name if name in ("fit", "adata") else f"--{name.replace('_', '-')}"
        assert typed in words or name == "path"
        if isinstance(parameter.default, int | float | str):
            assert f"(default: {parameter.default})" in words
    assert "As in" not in text and "`" not in text.partition("examples:")[0]


@pytest.mark.parametrize("command", EXAMPLES)
def test_examples_are_valid(command):
    import shlex

    Path("genes.txt").write_text("G1\n")
    for line in EXAMPLES[command]:
        words = shlex.split(line, comments=True)
        assert words[0] == "ldvae" and (not command or words[1] == command)
        running.parser_of(words[1]).parse_args(words[2:])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_says_what_functions_say(command):
    assert COMMANDS[command][1] == running._description(running.function_of(command))[0]


def test_help_and_version_import_nothing_heavy():
    for word in ("--help", "--version"):
        code = f"import sys; sys.argv = ['ldvae', '{word}']; from ldvae.cli import main\n"
        code += "try: main()\nexcept SystemExit: "
        code += "print(sorted({'torch', 'numpy', 'pandas', 'anndata', 'scipy'} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
        assert done.stdout.splitlines()[-1] == "[]"


def test_as_a_process():
    python = [sys.executable, "-m", "ldvae"]
    done = subprocess.run([*python, "factors", "fit.ldvae"], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0 and done.stdout.startswith("factor,reliability,") and done.stderr == ""
    done = subprocess.run([*python, "factors", "no"], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2 and done.stderr.startswith("ldvae: `fit` must be") and "Traceback" not in done.stderr
    done = subprocess.run(
        f"{' '.join(python)} loadings fit.ldvae | head -1", shell=True, capture_output=True, env=ENVIRONMENT
    )
    assert done.stdout.startswith(b"gene,Z_1") and done.stderr == b""
