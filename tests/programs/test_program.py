"""Tables of programs: columns and order, what is remembered and what is not, seeds, and errors by their text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ldvae import get_program_scores, population_loadings, population_programs
from ldvae.programs.find import find_programs
from ldvae.tables import COLUMNS

KINDS = ("between", "within", "specific", "deviation")
DTYPES = {str: object, float: np.float64, int: np.int64, bool: np.bool_}


@pytest.fixture(scope="module")
def find(simulated, fit):
    """`find_programs` with defaults."""

    def call(adata=simulated, groupby="population", kind="within", reference=None, sample_key=None, n=1, seed=0):
        return find_programs(fit, adata, groupby, kind, reference, sample_key, n, seed)

    return call


@pytest.mark.parametrize("kind", KINDS)
def test_tables_have_their_columns_and_order(simulated, fit, kind):
    arguments = dict(groupby="population", kind=kind, n_programs=1)
    tables = {
        "population_loadings": population_loadings(fit, simulated, **arguments),
        "population_programs": population_programs(fit, simulated, **arguments),
    }
    for name, table in tables.items():
        assert {c: table[c].dtype for c in table} == {c: DTYPES[t] for c, t in COLUMNS[name].items()}
        assert isinstance(table.index, pd.RangeIndex)
        assert table["kind"].eq(kind).all()
    loadings, programs = tables.values()
    called = programs[programs["called"]]
    key = ["population", "program"]
    assert set(map(tuple, loadings[key].to_numpy())) == set(map(tuple, called[key].to_numpy()))
    for _, row in called.iterrows():
        one = loadings[(loadings["population"] == row["population"]) & (loadings["program"] == row["program"])]
        assert one["rank"].tolist() == list(range(1, len(one) + 1))
        assert one["gene"].is_unique
        clear = one["lfsr"] < 0.05
        assert clear.tolist() == sorted(clear, reverse=True)  # those beyond doubt first
        for part in (one[clear], one[~clear]):
            assert (np.diff(part["loading"].abs()) <= 1e-12).all()
        assert clear.sum() == row["n_genes"]
        assert row["variance"] == pytest.approx((one["loading"] ** 2).sum())
        up = one[clear & (one["loading"] > 0)]["gene"].head(5)
        assert row["top_up"] == ", ".join(up)
        down = one[clear & (one["loading"] < 0)]["gene"].head(5)
        assert row["top_down"] == ", ".join(down)
    if kind == "between":
        assert len(called) == 3  # the loop above was not empty


def test_the_last_analysis_is_remembered(simulated, find):
    first = find()
    assert find() is first
    assert find(simulated.copy()) is first  # what counts is what is in it
    assert find(n=2) is not first
    again = find()
    assert again is not first  # only the last
    assert [p.pvalue for p in again.programs] == [p.pvalue for p in first.programs]


@pytest.mark.parametrize(
    "what", ["count", "moved count", "label", "unlabelled", "sample", "sample name", "seed", "kind"]
)
def test_what_has_changed_is_noticed(simulated, find, what):
    adata = simulated.copy()
    arguments = dict(adata=adata, sample_key="sample")
    before = find(**arguments)
    if what == "count":
        adata.X.data[3] += 1
    elif what == "moved count":  # same counts, library sizes and genes: two cells swap a row pointer
        dense = adata.X.toarray()
        adata.X = type(adata.X)(dense[np.r_[1, 0, 2 : len(dense)]])
    elif what == "label":
        other = "P1" if adata.obs["population"].iloc[0] != "P1" else "P0"
        adata.obs.iloc[0, adata.obs.columns.get_loc("population")] = other
    elif what == "unlabelled":
        adata.obs.iloc[0, adata.obs.columns.get_loc("population")] = np.nan
    elif what == "sample":
        other = "S1" if adata.obs["sample"].iloc[0] != "S1" else "S0"
        adata.obs.iloc[0, adata.obs.columns.get_loc("sample")] = other
    elif what == "sample name":
        adata.obs["sample"] = adata.obs["sample"].cat.rename_categories({"S0": "S9"})
    elif what == "seed":
        arguments["seed"] = 1
    else:
        arguments["kind"] = "between"
    assert find(**arguments) is not before


def test_same_seed_same_tables(simulated, fit):
    arguments = dict(groupby="population", kind="within", n_programs=1)
    first = population_loadings(fit, simulated, seed=3, **arguments)
    other = population_programs(fit, simulated, seed=4, **arguments)  # also makes the memory forget
    again = population_loadings(fit, simulated, seed=3, **arguments)
    pd.testing.assert_frame_equal(first, again)
    assert not np.array_equal(
        other["pval"].to_numpy(), population_programs(fit, simulated, seed=3, **arguments)["pval"].to_numpy()
    )


def test_cells_without_a_label_take_no_part(simulated, fit):
    adata = simulated.copy()
    gone = np.zeros(len(adata), bool)
    gone[np.flatnonzero(adata.obs["population"] == "P2")] = True
    adata.obs["population"] = adata.obs["population"].where(~gone)
    programs = population_programs(fit, adata, groupby="population", kind="within", n_programs=1)
    assert set(programs["population"]) == {"P0", "P1"}
    scores = get_program_scores(fit, adata, groupby="population", kind="within", n_programs=1)
    columns = [c for c in scores if c != "cell"]
    assert scores.loc[gone, columns].isna().all().all()


def test_scores_have_a_column_for_each_called_program(simulated, fit):
    arguments = dict(groupby="population", kind="between")
    scores = get_program_scores(fit, simulated, **arguments)
    assert scores.columns.tolist() == ["cell", "P0_between", "P1_between", "P2_between"]
    assert scores["cell"].tolist() == simulated.obs_names.tolist()
    for name in ("P0", "P1", "P2"):  # 1 at the centre of the population, 0 at that of the others
        own = (simulated.obs["population"] == name).to_numpy()
        score = scores[f"{name}_between"]
        assert score[own].mean() == pytest.approx(1.0)
        others = [score[simulated.obs["population"].to_numpy() == p].mean() for p in ("P0", "P1", "P2") if p != name]
        assert np.mean(others) == pytest.approx(0.0, abs=1e-8)
    within = get_program_scores(fit, simulated, groupby="population", kind="within", n_programs=1)
    programs = population_programs(fit, simulated, groupby="population", kind="within", n_programs=1)
    called = programs[programs["called"]]
    assert within.columns.tolist() == ["cell", *(called["population"] + "_" + called["program"])]
    assert len(called) > 0
    for column, name in zip(within.columns[1:], called["population"], strict=True):
        own = (simulated.obs["population"] == name).to_numpy()
        assert within.loc[own, column].notna().all()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (dict(kind="both"), ValueError, "`kind` must be"),
        (dict(kind=1), (TypeError, ValueError), "`kind` must be"),
        (dict(groupby="celltype"), ValueError, "`groupby`"),
        (dict(sample_key="donor"), ValueError, "`sample_key`"),
        (dict(reference=["P9"]), ValueError, "`reference` must name populations of 'population'.*not 'P9'"),
        (dict(reference=[]), ValueError, "`reference` must"),
        (dict(kind="within", reference=["P0"]), ValueError, "`reference` must be None for kind 'within'"),
        (dict(n_programs=0), ValueError, "`n_programs` must"),
        (dict(seed=-1), ValueError, "`seed` must"),
    ],
)
def test_wrong_arguments_are_named(simulated, fit, arguments, error, text):
    with pytest.raises(error, match=text):
        population_programs(fit, simulated, **{"groupby": "population", **arguments})


def test_deviations_have_no_scores(simulated, fit):
    with pytest.raises(ValueError, match="`kind` must be 'between', 'within' or 'specific' for scores"):
        get_program_scores(fit, simulated, groupby="population", kind="deviation")


@pytest.mark.parametrize("kind", ["specific", "deviation"])
def test_one_population_has_nothing_to_differ_from(simulated, fit, kind):
    adata = simulated.copy()
    adata.obs["all"] = "cells"
    with pytest.raises(ValueError, match=f"two populations of at least 30 cells for kind '{kind}', and 'all' has 1"):
        population_programs(fit, adata, groupby="all", kind=kind)
    assert len(population_programs(fit, adata, groupby="all", kind="within", n_programs=1)) >= 1


def test_a_reference_must_have_cells(simulated, fit):
    adata = simulated.copy()
    labels = adata.obs["population"].astype(str).to_numpy()
    labels[:10] = "few"
    adata.obs["population"] = labels
    with (
        pytest.warns(UserWarning, match="'few'"),
        pytest.raises(ValueError, match="`reference` must have a population"),
    ):
        population_programs(fit, adata, groupby="population", reference=["few"])


def test_a_reference_is_not_compared_with_itself(simulated, fit):
    arguments = dict(groupby="population", n_programs=1)
    programs = population_programs(fit, simulated, reference=["P1"], **arguments)
    assert set(programs["population"]) == {"P0", "P2"}
    programs = population_programs(fit, simulated, reference=["P1", "P2"], **arguments)
    assert set(programs["population"]) == {"P0", "P1", "P2"}
