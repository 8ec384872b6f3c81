"""The design is centred over the training cells, and new cells get the same."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from ldvae.counts.design import Category, Number, covariate_of, design_matrix, read_covariates
from support import annotated, sentence


def test_the_design_is_one_hot_and_numbers_centred_at_the_training_cells():
    adata = annotated(batch=["b", "a", "b", "b"], age=[1.0, 2, 3, 6], sex=["m", "f", "m", "f"])
    covariates = read_covariates(adata, "batch", ["age", "sex"])
    design = design_matrix(adata, covariates)
    assert design.dtype == np.float32 and design.shape == (4, 5)
    assert np.allclose(design.mean(0), 0, atol=1e-7)
    assert np.allclose(design[:, :2], [[-0.25, 0.25], [0.75, -0.75], [-0.25, 0.25], [-0.25, 0.25]])
    age = adata.obs["age"].to_numpy()
    assert np.allclose(design[:, 2], (age - 3) / age.std(), atol=1e-6)
    assert np.allclose(design[:, 3:], [[-0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, -0.5]])


def test_new_cells_get_the_design_of_the_training_cells():
    training = annotated(batch=["b", "a", "b", "c"], age=[1.0, 2, 3, 6])
    covariates = read_covariates(training, "batch", "age")
    assert np.allclose(design_matrix(training[[3, 0]].copy(), covariates), design_matrix(training, covariates)[[3, 0]])
    few = annotated(batch=["c", "a"], age=[6.0, 2.0])
    assert np.allclose(design_matrix(few, covariates), design_matrix(training, covariates)[[3, 1]])


def test_no_covariates_no_columns():
    adata = annotated(batch=["a", "b"])
    assert read_covariates(adata, None, ()) == [] and design_matrix(adata, []).shape == (2, 0)


def test_a_number_as_batch_is_a_category_and_a_constant_is_harmless():
    adata = annotated(batch=[3, 1, 3], age=[5.0, 5.0, 5.0])
    covariates = read_covariates(adata, "batch", ["age"])
    assert covariates[0].levels == ["1", "3"]
    design = design_matrix(adata, covariates)
    assert np.isfinite(design).all() and np.all(design[:, 2] == 0)


def test_design_errors():
    adata = annotated(batch=["b", "a", None], age=[1.0, np.nan, 2.0], sex=["m", "f", "m"])
    assert sentence(ValueError, read_covariates, adata, "batch", ()) == (
        "`batch_key`: 1 cells have no value of 'batch'; fill it in or remove them."
    )
    assert sentence(ValueError, read_covariates, adata, None, ["age"]) == (
        "`covariate_keys`: 1 cells have no value of 'age'; fill it in or remove them."
    )
    assert (
        sentence(ValueError, read_covariates, adata, "sex", ["sex"])
        == "`covariate_keys` must not repeat the `batch_key` 'sex'."
    )
    assert sentence(ValueError, read_covariates, adata, None, ["site"]).startswith(
        "`covariate_keys` must name a column of adata.obs"
    )


def test_new_cells_that_do_not_fit_the_design():
    covariates = read_covariates(annotated(batch=["b", "a"], age=[1.0, 2.0]), "batch", ["age"])
    with pytest.warns(
        UserWarning, match=r"^'batch' has levels that the fit has not seen \('z'\): these cells are placed"
    ):
        found = design_matrix(annotated(batch=["b", "z"], age=[1.0, 2.0]), covariates)
    assert found[:, :2].tolist() == [[-0.5, 0.5], [0.0, 0.0]]
    assert sentence(ValueError, design_matrix, annotated(batch=["b", None], age=[1.0, 2.0]), covariates) == (
        "1 cells have no value of 'batch'; fill it in or remove them."
    )
    wanted = "the column 'age' must hold finite numbers, as it did in the fit."
    assert sentence(ValueError, design_matrix, annotated(batch=["b", "a"], age=[1.0, np.inf]), covariates) == wanted
    assert sentence(ValueError, design_matrix, annotated(batch=["b", "a"], age=["x", "y"]), covariates) == wanted


def test_covariates_are_plain_data():
    covariates = read_covariates(annotated(batch=["b", "a", "b"], age=[1.0, 2.0, 3.0]), "batch", "age")
    assert covariates == [Category("batch", ["a", "b"], [1 / 3, 2 / 3]), Number("age", 2.0, np.std([1.0, 2.0, 3.0]))]
    assert [covariate_of(asdict(c)) for c in covariates] == covariates
    assert [c.width for c in covariates] == [2, 1]


@pytest.mark.parametrize(
    "plain",
    [
        "batch",
        {"key": "batch"},
        {"key": "batch", "levels": ["a"], "share": [1.0], "code": "import os"},
        {"key": 1, "levels": ["a"], "share": [1.0]},
        {"key": "batch", "levels": [], "share": []},
        {"key": "batch", "levels": ["a", "b"], "share": [1.0]},
        {"key": "batch", "levels": ["a"], "share": [float("nan")]},
        {"key": "batch", "levels": [1], "share": [1.0]},
        {"key": "age", "mean": 0.0, "std": 0.0},
        {"key": "age", "mean": float("inf"), "std": 1.0},
        {"key": "age", "mean": "0", "std": 1.0},
    ],
)
def test_what_is_no_covariate(plain):
    with pytest.raises(ValueError, match=r"^a covariate has other parts|^the covariate .* is none$"):
        covariate_of(plain)
