"""Who is compared with whom, and what is refused before anything is computed."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from ldvae import differential_expression
from ldvae.comparisons.plan import plan_comparisons


def test_the_rest_is_the_union_of_the_others_and_all_pairs_are_each_pair(three):
    fit, adata, _ = three
    observed = dict(batch_correction=False)  # batches are told from labels, or from sets of cells that are alike
    every = differential_expression(fit, adata, groupby="group", **observed)
    assert list(every["group1"].unique()) == ["P0", "P1", "P2"] and set(every["group2"]) == {"rest"}
    union = differential_expression(fit, adata, cells1=(adata.obs["group"] == "P1").to_numpy(), **observed)
    part = every[every["group1"] == "P1"].reset_index(drop=True)
    numbers = ["mean1", "mean2", "raw_mean2", "detected2"]
    np.testing.assert_allclose(part[numbers], union[numbers], rtol=1e-4)
    pairs = differential_expression(fit, adata, groupby="group", group2="pairwise", **observed)
    assert pairs[["group1", "group2"]].drop_duplicates().to_numpy().tolist() == [
        ["P0", "P1"],
        ["P0", "P2"],
        ["P1", "P2"],
    ]
    some = pairs[(pairs["group1"] == "P0") & (pairs["group2"] == "P2")].reset_index(drop=True)
    single = differential_expression(fit, adata, groupby="group", group1="P0", group2="P2", **observed)
    np.testing.assert_allclose(some["mean1"], single["mean1"], rtol=1e-5)


def test_within_compares_inside_each_level(three):
    fit, adata, _ = three
    table = differential_expression(
        fit, adata, groupby="group", group1="P0", group2="P2", within="half", batch_correction=False
    )
    assert list(table["within"].unique()) == ["a", "b"]
    inside = (adata.obs["half"] == "a").to_numpy()
    sets = [inside & (adata.obs["group"] == name).to_numpy() for name in ("P0", "P2")]
    names = adata.obs_names[sets[1]].tolist()
    same = differential_expression(fit, adata, cells1=sets[0], cells2=names, batch_correction=False)
    part = table[table["within"] == "a"].reset_index(drop=True)
    numbers = ["mean1", "mean2", "raw_mean1", "raw_mean2", "detected1", "detected2"]
    np.testing.assert_allclose(part[numbers], same[numbers], rtol=1e-4)
    assert set(same["within"]) == {"all"} and set(same["group2"]) == {"cells2"}


def test_cells_without_a_label_take_no_part(three):
    fit, adata, _ = three
    some = adata.copy()
    some.obs["group"] = some.obs["group"].cat.remove_categories("P2")
    explicit = differential_expression(fit, adata, groupby="group", group1="P0", group2="P1")
    np.testing.assert_allclose(
        differential_expression(fit, some, groupby="group", group1="P0")["mean2"], explicit["mean2"], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groupby": "group", "group1": "Q"}, "`group1` must name levels of 'group' .'P0', 'P1', 'P2'., not 'Q'."),
        ({"groupby": "group", "group2": ["P0", "P1"]}, "`group2` must be one level, 'pairwise' or None"),
        ({"cells1": ["c1", "x1"]}, "`cells1` names 1 cells that are not in `adata`: 'x1'."),
        ({"cells1": np.ones(7, dtype=bool)}, "a mask of 7 cells, but `adata` has 1200"),
        ({"cells1": ["c1", "c2", "c3"], "cells2": ["c3", "c4"]}, "must not overlap, but 1 cells are in both"),
        ({"cells1": ["c1", "c2"]}, "There is nothing to compare, only groups with fewer than 3 cells on one side"),
        ({"groupby": "group", "group1": "P0", "sample_key": "single"}, "`sample_key`: group 'P0' has 1 sample"),
    ],
)
def test_mistakes_are_told_in_one_sentence(three, arguments, message):
    fit, adata, _ = three
    adata.obs["single"] = "same"
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        differential_expression(fit, adata, **arguments)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_levels_with_few_cells_are_left_out_with_a_warning(three):
    fit, adata, _ = three
    few = adata.copy()
    label = few.obs["group"].astype(str).to_numpy()
    label[:2] = "rare"
    few.obs["group"] = label
    with pytest.warns(UserWarning, match="Left out were 1 comparisons with fewer than 3 cells .*'rare against rest'"):
        assert "rare" not in set(differential_expression(fit, few, groupby="group")["group1"])


def test_tables_that_cannot_be_held_are_refused(monkeypatch):
    monkeypatch.setattr("ldvae.machine.memory.free_memory", lambda: 1e11)
    obs = pd.DataFrame({"group": [f"P{i}" for i in range(500)] * 4}, index=[f"c{i}" for i in range(2000)])
    adata = ad.AnnData(sp.csr_matrix(np.ones((2000, 2), np.float32)), obs=obs)
    with pytest.raises(
        ValueError, match=r"124,750 comparisons of 14,000 genes need about 3.49e\+11 bytes .* `group1`\."
    ):
        plan_comparisons(adata, groupby="group", group2="pairwise", n_genes=14_000)
