"""Labels and values come out of any column of obs, and columns that cannot be read are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ldvae.counts.labels import Labels, read_labels, read_values
from support import annotated, sentence


def test_columns_that_are_not_there():
    adata = annotated(donor=["d", "d"])
    assert sentence(ValueError, read_labels, adata, "batch", "batch_key") == (
        "`batch_key` must name a column of adata.obs ('donor'), not 'batch'."
    )
    assert sentence(TypeError, read_values, adata, 3, "key") == (
        "`key` must be the name of a column of adata.obs, not 3."
    )


def test_labels_drop_unused_levels_and_mark_missing_ones():
    found = read_labels(annotated(label=pd.Categorical(["b", "a", None, "b"], ["c", "b", "a"])), "label", "groupby")
    assert found.levels == ["b", "a"] and found.codes.tolist() == [0, 1, -1, 0] and found.codes.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "levels", "codes"),
    [
        (["y", "x", None, "y"], ["x", "y"], [1, 0, -1, 1]),
        (["y", "x", np.nan, "y"], ["x", "y"], [1, 0, -1, 1]),
        ([10, 9, 10, 9], ["9", "10"], [1, 0, 1, 0]),
        ([True, False, True, True], ["False", "True"], [1, 0, 1, 1]),
        (pd.array(["y", "x", pd.NA, "y"], dtype="string"), ["x", "y"], [1, 0, -1, 1]),
    ],
)
def test_labels_of_other_types(values, levels, codes):
    found = read_labels(annotated(label=values), "label", "groupby")
    assert found.levels == levels and found.codes.tolist() == codes


def test_a_column_without_labels():
    adata = annotated(label=pd.Categorical([None, None], categories=["a"]))
    assert sentence(ValueError, read_labels, adata, "label", "groupby") == (
        "`groupby`: the column 'label' has no labels."
    )


def test_rows_of_labels():
    labels = Labels("k", ["a", "b"], np.array([0, 1, -1, 1]))
    assert labels.where(1).tolist() == [1, 3] and labels.where(0).tolist() == [0]
    part = labels.take(np.array([3, 2]))
    assert part.codes.tolist() == [1, -1] and part.levels == ["a", "b"] and part.key == "k"


def test_values_are_numbers_or_labels():
    adata = annotated(
        int=[1, 2, 3], nullable=pd.array([1, None, 3], dtype="Int64"), flag=[True, False, True], text=["a", "b", "a"]
    )
    found = read_values(adata, "int", "key")
    assert found.tolist() == [1.0, 2.0, 3.0] and found.dtype == np.float64
    assert np.array_equal(read_values(adata, "nullable", "key"), [1, np.nan, 3], equal_nan=True)
    assert read_values(adata, "flag", "key").levels == ["False", "True"]
    assert read_values(adata, "text", "key").codes.tolist() == [0, 1, 0]
