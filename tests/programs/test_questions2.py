"""x"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ldvae import population_loadings, population_programs
from ldvae.tables import COLUMNS

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
