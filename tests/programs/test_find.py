"""What is remembered of programs and what is noticed to be new."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import pytest

from ldvae.programs import find as find_module
from ldvae.programs.find import KINDS, find_programs

pytestmark = pytest.mark.filterwarnings("ignore:.*may have more programs")  # one is looked for, to be quick


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


def test_kinds_share_what_they_need(simulated, find, monkeypatch):
    """Local models and names are made once for all kinds and references."""
    made = []
    for name in ("prepare", "catalogue", "within_programs"):
        original = getattr(find_module, name)

        def counted(*arguments, name=name, original=original):
            made.append(name)
            return original(*arguments)

        monkeypatch.setattr(find_module, name, counted)
    found = {kind: find(kind=kind, seed=11) for kind in KINDS}
    asked = find(kind="specific", reference=["P1"], seed=11)
    assert sorted(made) == ["catalogue", "prepare", "within_programs"]
    assert asked is not found["specific"] and find(kind="specific", seed=11) is found["specific"]
    assert find(kind="specific", reference=["P1"], seed=11) is asked
    assert {p.population for p in asked.programs} == {"P0", "P2"}
    assert found["within"].setting is found["deviation"].setting and found["between"].setting is None


def test_the_order_of_kinds_does_not_matter(find, monkeypatch):
    tables = []
    for kinds in (KINDS, KINDS[::-1]):
        monkeypatch.setattr(find_module, "_LAST", WeakKeyDictionary())
        found = {kind: find(kind=kind, seed=3) for kind in kinds}
        tables.append({kind: found[kind] for kind in KINDS})
    for kind in KINDS:
        first, second = (table[kind] for table in tables)
        assert first is not second and first.reasons == second.reasons
        np.testing.assert_array_equal(first.padj, second.padj)
        assert [(p.population, p.name) for p in first.programs] == [(p.population, p.name) for p in second.programs]
        for p, q in zip(first.programs, second.programs, strict=True):
            np.testing.assert_array_equal(p.loading, q.loading)


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


def test_calls_are_those_without_a_reason(find):
    for kind in KINDS:
        found = find(kind=kind, seed=11)
        assert found.called.tolist() == [reason == "" for reason in found.reasons]
        assert {p.kind for p in found.programs} <= {kind}


def test_a_label_that_means_none_is_pointed_out(simulated, find):
    adata = simulated.copy()
    labels = adata.obs["population"].astype(str).to_numpy()
    labels[labels == "P2"] = "Unassigned"
    adata.obs["population"] = labels
    with pytest.warns(UserWarning, match="Unassigned"):
        find(adata)
