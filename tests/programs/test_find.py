"""What is remembered of programs and what is noticed to be new."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae.programs.find import find_programs


@pytest.fixture
def find(simulated, fit):
    """`find_programs` with defaults."""

    def call(adata=simulated, groupby="population", kind="within", reference=None, sample_key=None, n=1, seed=0):
        return find_programs(fit, adata, groupby, kind, reference, sample_key, n, seed)

    return call


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
