"""Where each program varies: one row per program and population."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ldvae import get_program_map, population_programs
from ldvae.programs.catalogue import catalogue
from ldvae.programs.find import Found
from ldvae.programs.map import map_columns
from ldvae.programs.program import REST, call_programs
from ldvae.programs.within import within_programs
from ldvae.stats.testing import bh
from ldvae.tables import COLUMNS
from planted import loading, population, setting

GENES = np.array([f"g{i}" for i in range(200)])


def found_in(populations, most=3):
    within = within_programs(catalogue(populations, most, 200, 0), 0)
    return Found(within, *call_programs(within), None, None, None, setting(populations), within, GENES)


@pytest.fixture(scope="module")
def planted_map():
    """A, B and C have one program with amplitudes 1, 1 and ½, D has nothing, A one of its own."""
    common, own = loading(4, positive=True), loading(10)
    truth = {"program_1": dict(zip("ABCD", (1.0, 1.0, 0.5, 0.0), strict=True)), "program_2": dict(A=1.0, B=0, C=0, D=0)}
    populations = [
        population(0, "A", np.stack([common, own], 1), n=400),
        population(1, "B", common[:, None], n=400),
        population(2, "C", 0.5 * common[:, None], n=400),
        population(3, "D", np.zeros((200, 1)), n=400),
    ]
    found = found_in(populations)
    return pd.DataFrame(map_columns(found, GENES)), truth, dict(program_1=common, program_2=own), found


def test_one_row_per_program_and_population_without_gaps(planted_map):
    table = planted_map[0]
    assert set(table) == set(COLUMNS["program_map"])
    rows = list(zip(table["program"], table["population"], strict=True))
    assert rows == [(name, p) for name in ("program_1", "program_2") for p in "ABCD"]
    assert REST not in set(table["program"])
    assert not table.isna().any(axis=None)
    np.testing.assert_allclose(table["padj"], bh(table["pval"].to_numpy()))
    assert (table["std"] > 0).all()


def test_variance_is_that_which_was_planted(planted_map):
    table, amplitudes, loadings, _ = planted_map
    for _, row in table.iterrows():
        amplitude = amplitudes[row["program"]][row["population"]]
        planted = amplitude**2 * (loadings[row["program"]] ** 2).sum() / np.log(2) ** 2
        assert row["active"] == (amplitude > 0)
        if amplitude:
            assert row["variance"] == pytest.approx(planted, rel=0.25)
            assert row["std"] < 0.25 * row["variance"] and row["pval"] < 1e-6 and row["n_genes"] >= 15
        else:
            assert abs(row["variance"]) < 4 * row["std"] and abs(row["variance"]) < 0.5
            assert row["pval"] > 0.01
            assert (row["share"], row["n_genes"], row["top_up"], row["top_down"]) == (0, 0, "", "")


def test_genes_are_those_of_the_program(planted_map):
    table, _, loadings, _ = planted_map
    for _, row in table[table["active"]].iterrows():
        truth = loadings[row["program"]]
        for column in ("top_up", "top_down"):
            genes = [int(g[1:]) for g in row[column].split(", ") if g]
            assert (truth[genes] != 0).all()
    up = table.loc[table["program"] == "program_1", "top_up"].str.split(", ").str.len()
    down = table.loc[table["program"] == "program_1", "top_down"]
    assert up[:3].tolist() == [5, 5, 5] and down.tolist() == [""] * 4  # all its genes go one way


def test_shares_add_up_and_pvalues_are_those_of_the_programs(planted_map):
    table, _, _, found = planted_map
    assert table.groupby("population")["share"].sum().to_dict() == pytest.approx(dict(A=1, B=1, C=1, D=0))
    for p in found.programs:
        if p.name != REST:
            row = table[(table["program"] == p.name) & (table["population"] == p.population)]
            assert row["pval"].item() == p.pvalue


def test_without_a_program_there_is_no_row():
    found = found_in([population(i, f"P{i}", np.zeros((200, 1)), n=100) for i in range(2)], 1)
    columns = map_columns(found, GENES)
    assert set(columns) == set(COLUMNS["program_map"]) and all(len(v) == 0 for v in columns.values())


def test_names_are_in_the_order_of_their_numbers(planted_map):
    found = planted_map[3]
    later = {"program_1": "program_10", "program_2": "program_9", REST: REST}
    programs = [replace(p, name=later[p.name]) for p in found.programs]
    table = pd.DataFrame(map_columns(replace(found, programs=programs, within=programs), GENES))
    assert table["program"].drop_duplicates().tolist() == ["program_9", "program_10"]


def test_the_map_of_a_fit(planted, planted_fit):
    arguments = dict(groupby="population")
    table = get_program_map(planted_fit, planted, **arguments)
    programs = population_programs(planted_fit, planted, kind="within", **arguments)
    called = programs.loc[programs["called"], ["program", "population"]]
    assert set(map(tuple, called.to_numpy())) == set(
        map(tuple, table.loc[table["active"], ["program", "population"]].to_numpy())
    )
    assert len(table) == 4 * programs.loc[programs["called"], "program"].nunique()
    truth = (planted.uns["truth"]["shared"][0] ** 2).sum() / np.log(2) ** 2
    common = table[table["program"] == "program_1"]
    assert common["active"].all()
    assert common["variance"].to_numpy() == pytest.approx(truth, rel=0.35)
