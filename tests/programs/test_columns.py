"""Programs as the columns of tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ldvae import get_program_scores
from ldvae.programs.columns import loading_columns, program_columns, top
from ldvae.programs.find import Found
from ldvae.programs.program import Program
from ldvae.tables import COLUMNS

GENES = np.array(list("abcdefgh"), dtype=object)
LOADING = np.array([0.2, -0.9, 0.5, 1.5, -0.1, 0.4, 0.7, 0.6])
LFSR = np.array([0.01, 0.01, 0.2, 0.01, 0.3, 0.01, 0.01, 0.01])
TESTED = np.arange(8) != 6
PROGRAM = Program(
    "P", "within", "program_1", LOADING, np.full(8, 0.1), LFSR, TESTED, 1e-5, float("nan"), 99,
    share=0.75, towards="Q", towards_cosine=0.3, samples=0.5, reference="R",
)  # fmt: skip


def found(programs, called):
    padj = np.array([2 * p.pvalue for p in programs])
    reasons = ["" if yes else "why not" for yes in called]
    return Found(programs, padj, np.array(called), reasons, None, None, None, None, [], GENES)


def test_sure_genes_come_first_by_strength():
    columns = loading_columns(found([PROGRAM, replace(PROGRAM, population="Q")], [True, False]))
    assert list(columns) == list(COLUMNS["population_loadings"])
    assert columns["gene"].tolist() == list("dbhfa") + list("ce")  # g is not tested
    assert columns["rank"].tolist() == list(range(1, 8))
    assert set(columns["population"]) == {"P"}  # only what is called
    np.testing.assert_allclose(columns["loading"][:2], np.array([1.5, -0.9]) / np.log(2))
    np.testing.assert_allclose(columns["std"], 0.1 / np.log(2))


def test_nothing_called_is_a_table_without_rows():
    columns = loading_columns(found([PROGRAM], [False]))
    assert {name: len(v) for name, v in columns.items()} == dict.fromkeys(COLUMNS["population_loadings"], 0)
    assert columns["rank"].dtype == int and columns["gene"].dtype == object


def test_every_program_has_a_row():
    columns = program_columns(found([PROGRAM, replace(PROGRAM, name="rest")], [True, False]))
    assert list(columns) == list(COLUMNS["population_programs"])
    first = {name: values[0] for name, values in columns.items()}
    assert first["variance"] == pytest.approx((LOADING**2).sum() / np.log(2) ** 2)
    assert (first["share"], first["like_population"], first["like_cosine"]) == (0.75, "Q", 0.3)
    assert (first["share_of_samples"], first["reference_population"], first["padj"]) == (0.5, "R", 2e-5)
    assert (first["n_genes"], first["n_cells"]) == (5, 99)
    assert columns["reason"] == ["", "why not"] and columns["program"] == ["program_1", "rest"]


def test_top_genes_are_the_strongest_sure_ones_of_a_side():
    assert top(PROGRAM, GENES, 1.0) == "d, h, f, a"
    assert top(PROGRAM, GENES, -1.0) == "b"
    many = replace(PROGRAM, lfsr=np.zeros(8), tested=np.ones(8, bool), loading=np.arange(1.0, 9.0))
    assert top(many, GENES, 1.0) == "h, g, f, e, d"
    assert top(many, GENES, -1.0) == ""


def test_scores_have_the_names_of_the_cells_that_were_asked_about(fit, simulated):
    """The same counts under other names: what the last analysis found is used again, its names are not."""
    arguments = {"groupby": "population", "kind": "within"}
    first = get_program_scores(fit, simulated, **arguments)
    renamed = simulated.copy()
    renamed.obs_names = [f"x_{name}" for name in simulated.obs_names]
    again = get_program_scores(fit, renamed, **arguments)
    assert again["cell"].tolist() == renamed.obs_names.tolist() and first["cell"].tolist() == list(simulated.obs_names)
