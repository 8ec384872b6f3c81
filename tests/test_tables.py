"""Tables have fixed columns, types and order, whatever the arrays were."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from ldvae.tables import COLUMNS, factor_names, table, wide

DTYPES = {int: "int64", float: "float64", bool: "bool", str: "object"}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_types_and_order_follow_the_schema(name):
    schema = COLUMNS[name]
    sources = {
        int: np.array([1, 2], np.int32),
        float: np.array([0.5, 2], np.float32),
        bool: [True, False],
        str: pd.Categorical(["a", "b"]),
    }
    found = table(name, {column: sources[kind] for column, kind in reversed(schema.items())})
    assert list(found.columns) == list(schema)
    assert [str(t) for t in found.dtypes] == [DTYPES[kind] for kind in schema.values()]
    assert isinstance(found.index, pd.RangeIndex) and len(found) == 2
    for column, kind in schema.items():
        assert found[column].tolist() == list(sources[kind])


def test_scalars_are_repeated():
    found = table("expression", {"cell": ["c1", "c2", "c3"], "gene": "ACTB", "expression": 1})
    assert found["gene"].tolist() == ["ACTB"] * 3
    assert found["expression"].tolist() == [1.0] * 3 and found["expression"].dtype == np.float64


def test_an_empty_table_keeps_its_types():
    found = table("expression", {"cell": [], "gene": "ACTB", "expression": np.empty(0)})
    assert len(found) == 0 and [str(t) for t in found.dtypes] == ["object", "object", "float64"]


def test_columns_must_be_those_of_the_schema():
    with pytest.raises(KeyError, match=re.escape("table expression: missing {'expression'}, unknown {'value'}")):
        table("expression", {"cell": ["c"], "gene": ["g"], "value": [1.0]})


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="same length"):
        table("expression", {"cell": ["c1", "c2"], "gene": ["g"], "expression": [1.0, 2.0]})


def test_wide():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = wide("gene", np.array(["a", "b"]), factor_names(3), values)
    assert list(found.columns) == ["gene", "Z_1", "Z_2", "Z_3"]
    assert [str(t) for t in found.dtypes] == ["object", "float64", "float64", "float64"]
    assert isinstance(found.index, pd.RangeIndex)
    assert found["gene"].tolist() == ["a", "b"] and np.array_equal(found.iloc[:, 1:], values)
    values[:] = -1
    assert found["Z_3"].tolist() == [2.0, 5.0]


def test_wide_with_no_columns_keeps_the_names():
    assert wide("cell", ["c1", "c2"], [], np.zeros((2, 0)))["cell"].tolist() == ["c1", "c2"]


def test_factors_count_from_one():
    assert factor_names(3) == ["Z_1", "Z_2", "Z_3"] and factor_names(0) == []
