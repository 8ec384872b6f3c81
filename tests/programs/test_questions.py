"""Programs of populations: which are called where, with which genes, and what is not called that should not be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ldvae import fit_ldvae, get_program_map, population_loadings, population_programs
from ldvae.tables import COLUMNS
from planted import SETTINGS, r_with, simulate_programs

pytestmark = pytest.mark.filterwarnings("ignore:.*may have more programs")  # one is looked for, to be quick


def own_names(planted, planted_fit):
    """What is called specific, by population."""
    programs = population_programs(planted_fit, planted, groupby="population").query("called")
    return programs.set_index("population")["program"].to_dict()


def test_own_programs_are_called_where_they_are(planted, planted_fit):
    programs = population_programs(planted_fit, planted, groupby="population")
    called = programs[programs["called"]]
    assert called["population"].tolist() == ["P0", "P1", "P2"] and called["program"].is_unique
    assert set(programs["population"]) == {"P0", "P1", "P2", "P3"}  # a null one has its p-value
    assert (called["ratio_to_reference"] > 5).all()
    assert (called["reason"] == "").all()
    common = programs[programs["program"] == "program_1"]
    assert len(common) == 4
    for _, row in common.iterrows():
        assert row["reason"] == f"varies in {row['reference_population']} too" and row["ratio_to_reference"] < 1.5
    loadings = population_loadings(planted_fit, planted, groupby="population")
    truth = planted.uns["truth"]
    for i, (name, program) in enumerate(own_names(planted, planted_fit).items()):
        assert r_with(loadings, truth["programs"][i], name, program) > 0.95
        rows = loadings[(loadings["population"] == name) & (loadings["lfsr"] < 0.05)]
        genes = np.array([int(g[1:]) for g in rows["gene"]])
        own = truth["programs"][i][genes]
        assert len(genes) >= 15
        assert (own != 0).mean() > 0.9
        right = np.sign(rows["loading"]) == np.sign(own)
        assert max(right.mean(), 1 - right.mean()) > 0.9  # the sign of a program is free, those of its genes agree


def test_a_program_has_one_name_in_all_tables(planted, planted_fit):
    arguments = dict(groupby="population")
    within = population_programs(planted_fit, planted, kind="within", **arguments).query("called")
    for kind in ("specific", "deviation"):
        asked = population_programs(planted_fit, planted, kind=kind, **arguments)
        asked = asked[asked["program"] != "rest"]
        assert set(map(tuple, asked[["population", "program"]].to_numpy())) <= set(
            map(tuple, within[["population", "program"]].to_numpy())
        )
    table = get_program_map(planted_fit, planted, **arguments)
    assert set(table["program"]) == set(within["program"])


def test_loadings_are_log2_per_standard_deviation(planted, planted_fit):
    loadings = population_loadings(planted_fit, planted, groupby="population")
    activity = planted.obsm["activity"][:, 0]
    for i, name in enumerate(["P0", "P1", "P2"]):
        rows = loadings[loadings["population"] == name]
        truth = planted.uns["truth"]["programs"][i][[int(g[1:]) for g in rows["gene"]]] / np.log(2)
        truth = truth * activity[(planted.obs["population"] == name).to_numpy()].std()
        slope = np.abs((rows["loading"] * truth).sum() / (truth**2).sum())
        assert slope == pytest.approx(1.0, abs=0.12)
        sign = np.sign((rows["loading"] * truth).sum())
        assert np.mean(np.abs(sign * rows["loading"] - truth) < 1.96 * rows["std"] + 1e-9) > 0.85


def test_null_populations_have_no_program():
    adata = simulate_programs(null_populations=[0, 1, 2, 3], n_shared=0, n_cells=800, seed=5)
    fit = fit_ldvae(adata, **SETTINGS)
    for kind in ("specific", "within"):
        assert not population_programs(fit, adata, groupby="population", kind=kind)["called"].any()
        assert population_programs(fit, adata, groupby="population", kind=kind)["population"].tolist() == [
            f"P{i}" for i in range(4)
        ]
    assert len(population_programs(fit, adata, groupby="population", kind="deviation")) == 0
    assert len(population_loadings(fit, adata, groupby="population")) == 0
    assert len(get_program_map(fit, adata, groupby="population")) == 0


KINDS = ("between", "within", "specific", "deviation")
DTYPES = {str: object, float: np.float64, int: np.int64, bool: np.bool_}


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


def test_same_seed_same_tables(simulated, fit):
    arguments = dict(groupby="population", kind="within", n_programs=1)
    first = population_loadings(fit, simulated, seed=3, **arguments)
    other = population_programs(fit, simulated, seed=4, **arguments)  # also makes the memory forget
    again = population_loadings(fit, simulated, seed=3, **arguments)
    pd.testing.assert_frame_equal(first, again)
    assert not np.array_equal(
        other["pval"].to_numpy(), population_programs(fit, simulated, seed=3, **arguments)["pval"].to_numpy()
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (dict(reference=["P9"]), "`reference` must name populations of 'population'.*not 'P9'"),
        (dict(kind="within", reference=["P0"]), "`reference` must be None for kind 'within'"),
    ],
)
def test_a_wrong_reference_is_named(simulated, fit, arguments, text):
    with pytest.raises(ValueError, match=text):
        population_programs(fit, simulated, **{"groupby": "population", **arguments})
