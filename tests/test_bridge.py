"""What R calls, from Python: R itself is in tests/bridge."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import ldvae
from ldvae import bridge


def as_r_sends(adata, keys=("population", "batch")):
    """Genes × cells as R keeps them, with factors as codes and levels."""
    columns = {
        k: {"codes": adata.obs[k].cat.codes.to_numpy(), "levels": list(adata.obs[k].cat.categories)} for k in keys
    }
    return {
        "counts": sp.csc_matrix(adata.X.T.astype(float)), "genes": adata.var_names.tolist(),
        "cells": adata.obs_names.tolist(), "cell_data": columns, "gene_data": [], "positions": [], "assay": None,
    }  # fmt: skip


@pytest.fixture(scope="module")
def x(simulated):
    return as_r_sends(simulated)


def table_of(columns):
    return pd.DataFrame(
        {k: np.array(v["levels"], object)[v["codes"]] if isinstance(v, dict) else v for k, v in columns.items()}
    )


def test_a_table_is_that_of_the_function(fit, simulated, x):
    answer = bridge.call("differential_expression", {"groupby": "population", "group1": "P0"}, fit=fit, x=x)
    expected = ldvae.differential_expression(fit, simulated, groupby="population", group1="P0")
    pd.testing.assert_frame_equal(table_of(answer["value"]), expected, check_dtype=False)  # R has small whole numbers
    assert answer["warnings"] == []


def test_a_fit_is_that_of_the_function(fit, settings, x):
    numbers = {k: float(v) if type(v) is int else v for k, v in settings.items()} | {"covariate_keys": None}
    found = bridge.call("fit_ldvae", numbers | {"batch_key": "batch"}, x=x | {"assay": "raw"})["value"]
    assert found.config == fit.config and found.info == fit.info | {"assay": "raw"}
    assert np.array_equal(found.latent_mean, fit.latent_mean)


def test_a_fit_taken_apart_is_put_together_with_the_same_bits(fit):
    parts = bridge.pack_fit(fit)
    # as R gives them back: doubles in its own order of memory, single values without dimensions
    for group in ("weights", "history", "factors"):
        parts[group] = {k: np.asfortranarray(v.astype(float)) if v.ndim else float(v) for k, v in parts[group].items()}
    again = bridge.unpack_fit(parts)
    assert again.config == fit.config and again.info == fit.info
    assert again.genes.tolist() == fit.genes.tolist() and again.cells.tolist() == fit.cells.tolist()
    assert np.array_equal(again.lib_size, fit.lib_size)
    for group in ("weights", "history", "factors"):
        mine, theirs = getattr(again, group), getattr(fit, group)
        assert set(mine) == set(theirs)
        for k, v in theirs.items():
            assert mine[k].dtype == v.dtype and mine[k].shape == v.shape, k
            assert np.array_equal(mine[k], v, equal_nan=v.dtype.kind == "f"), k
            assert mine[k].flags.c_contiguous and mine[k].flags.writeable


def test_settings_are_what_a_reader_wants_and_name_the_columns_that_later_calls_need(simulated, settings):
    cells = simulated.copy()
    cells.obs["size"] = np.arange(600) + 1.0
    few = settings | {"max_epochs": 1}
    fit = ldvae.fit_ldvae(cells, batch_key="batch", covariate_keys="sample", size_factor_key="size", **few)
    found = bridge.pack_fit(fit)["settings"]
    assert found["columns"] == ["batch", "sample", "size"]
    assert found["n_latent"] == 6 and found["decoder"] == "linear" and found["stopped"] == "finished"
    assert None not in found.values() and "layer" not in found


def test_whole_numbers_are_labels_without_a_point(fit, x):
    groups = {"values": np.tile([1.0, 2.0, np.nan], 200)}
    more = x | {"cell_data": x["cell_data"] | {"cluster": groups}}
    found = bridge.call("differential_expression", {"groupby": "cluster", "group1": 2.0}, fit=fit, x=more)["value"]
    assert table_of(found)["group1"].unique().tolist() == ["2"]
    several = bridge.call("differential_expression", {"groupby": "cluster", "group1": [1.0, 2.0]}, fit=fit, x=more)
    assert table_of(several["value"])["group1"].unique().tolist() == ["1", "2"]


def test_a_layer_of_the_fit_is_the_counts_that_r_sends(simulated, settings, x):
    cells = simulated.copy()
    cells.layers["raw"] = cells.X
    fit = ldvae.fit_ldvae(cells, layer="raw", **settings | {"max_epochs": 1})
    answer = bridge.call("get_latent", {}, fit=fit, x=x)
    pd.testing.assert_frame_equal(table_of(answer["value"]), ldvae.get_latent(fit, cells))


def test_errors_and_warnings_are_sentences_in_the_words_of_r(fit, x):
    answer = bridge.call("fit_ldvae", {"early_stopping": "yes"}, x=x)
    assert answer == {"error": "`early_stopping` must be TRUE or FALSE, not 'yes'.", "warnings": [], "notes": []}
    x = x | {"cell_data": {"g": {"codes": np.r_[[0] * 3, [1, 2] * 298, 1], "levels": ["a", "b", "c"]}}}
    # the columns of the fit are needed too
    x["cell_data"]["batch"] = as_r_sends(ldvae.simulate_counts(n_cells=600, n_genes=9, program_size=1))["cell_data"][
        "batch"
    ]
    answer = bridge.call("population_programs", {"groupby": "g", "kind": "between"}, fit=fit, x=x)
    assert answer["notes"] == ["Populations with fewer than 5 cells are left out: 'a'."] and answer["warnings"] == []
    assert bridge.call("load_fit", {"path": "nowhere"})["error"].startswith("`path` must be a file")


def test_a_report_takes_coordinates_of_the_cells(fit, x, tmp_path):
    arguments = {"groupby": "population", "path": str(tmp_path / "x.html"), "embedding": np.zeros((5, 2))}
    assert bridge.call("write_report", arguments, fit=fit, x=x)["error"] == (
        "`embedding` must have two numbers for each of the 600 cells of `x`, not the shape (5, 2) of type float64."
    )


def test_a_mistake_of_the_engine_is_not_hidden(monkeypatch, fit):
    monkeypatch.setattr(bridge.api, "get_latent", lambda fit: {}["missing"])
    with pytest.raises(KeyError):
        bridge.call("get_latent", {}, fit=fit)


@pytest.mark.parametrize(
    ("said", "in_r"),
    [
        ("`adata.X` must hold raw counts; if the counts are in a layer, name it with `layer`.",
         "`x` must hold raw counts; if the counts are in another assay, name it with `assay`."),
        ("make them unique, e.g. by adata.var_names_make_unique().", "make them unique, e.g. by make.unique()."),
        ("`genes` names the column 'a' of adata.var, which must be boolean, not int64.",
         "`genes` names the column 'a' of the gene data, which must be logical, not int64."),
        ("`x` must be True or False, not None.", "`x` must be TRUE or FALSE, not NULL."),
        ("`depth` must map populations to multipliers, such as {'P0': 3}, not inf.",
         "`depth` must map populations to multipliers, such as c(P0 = 3), not Inf."),
        ("must be a name, not 1.0, [2.0, -3.0] or 'v1.0', but 3 is a int, not 4.0.",
         "must be a name, not 1, c(2, -3) or 'v1.0', but 3 is a number, not 4."),
        ("needs estimand='mean'", "needs estimand = 'mean'"),
        ("Plots need matplotlib: pip install 'ldvae[plot]'.",
         'The report needs the Python package matplotlib: run reticulate::py_install("matplotlib") and restart R.'),
        ("Nonetheless information is Truely kept", "Nonetheless information is Truely kept"),
    ],
)  # fmt: skip
def test_words(said, in_r):
    assert bridge.in_r(said) == in_r


def test_progress_goes_to_standard_error_only_if_asked_for(x, settings, capsys):
    few = settings | {"max_epochs": 2, "progress": True}
    bridge.call("fit_ldvae", few, x=x, progress=True)
    assert "2/2" in capsys.readouterr().err
    bridge.call("fit_ldvae", few, x=x)
    assert capsys.readouterr().err == ""


def test_simulated_counts_are_genes_by_cells(simulated):
    made = bridge.simulate({"n_cells": 40.0, "n_genes": 20.0, "program_size": 2.0})["value"]
    expected = ldvae.simulate_counts(n_cells=40, n_genes=20, program_size=2)
    assert sp.issparse(made["counts"]) and made["counts"].format == "csc"
    assert np.array_equal(made["counts"].toarray().T, expected.X.toarray())
    assert made["cell_data"]["population"]["levels"] == list(expected.obs["population"].cat.categories)
    assert bridge.simulate({"n_cells": 0})["error"].startswith("`n_cells` must be")
