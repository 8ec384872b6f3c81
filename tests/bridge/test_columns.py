"""Every kind of column of cell data means the same to R's functions as to Python's."""

import numpy as np
import pandas as pd
import pytest

import ldvae

N = 500
RNG = np.random.default_rng(0)
LETTERS = RNG.choice(list("abc"), N)


def replaced(text):
    return np.array([text if letter == "b" else letter for letter in LETTERS], dtype=object)


COLUMNS = {
    "factor": (pd.Categorical(LETTERS), "factor(v)"),
    "ordered": (pd.Categorical(LETTERS, categories=["c", "a", "b"], ordered=True), "factor(v, c('c', 'a', 'b'))"),
    "unused": (pd.Categorical(LETTERS, categories=list("xabcy")), "factor(v, c('x', 'a', 'b', 'c', 'y'))"),
    "character": (LETTERS.astype(object), "v"),
    "rle": (LETTERS.astype(object), "S4Vectors::Rle(v)"),
    "missing": (pd.Categorical(np.where(LETTERS == "c", None, LETTERS)), "factor(ifelse(v == 'c', NA, v))"),
    "capitals": (replaced("B"), "sub('b', 'B', v)"),
    "umlauts": (replaced("ä ö"), "sub('b', 'ä ö', v)"),
    "integer": (RNG.integers(0, 3, N), None),
    "double": (RNG.normal(size=N), None),
    "missing number": (np.where(LETTERS == "a", np.nan, RNG.normal(size=N)), None),
    "logical": (RNG.random(N) < 0.4, None),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_associations_are_equal(session, fit, adata, name):
    values, made = COLUMNS[name]
    cells = adata.copy()
    cells.obs["column"] = values
    session.put("v", LETTERS.astype(str) if made else np.asarray(values))
    session(f"x <- sce; x$column <- {f'as.vector({made})' if name == 'character' else made or 'as.vector(v)'}")
    expected = ldvae.associate_factors(fit, cells, key="column")
    found = session.table("suppressMessages(associate_factors(fit, x, key = 'column'))")
    if name == "logical":  # as each language writes it
        expected["level"] = expected["level"].str.upper()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in COLUMNS if "number" not in name and name != "double"])
def test_groups_are_equal(session, fit, adata, name):
    values, made = COLUMNS[name]
    cells = adata.copy()
    cells.obs["column"] = values
    session.put("v", LETTERS.astype(str) if made else np.asarray(values))
    session(f"x <- sce; x$column <- {made or 'as.vector(v)'}")
    expected = ldvae.differential_expression(fit, cells, groupby="column")
    found = session.table("suppressMessages(differential_expression(fit, x, groupby = 'column'))")
    if name == "logical":
        expected[["group1", "group2"]] = expected[["group1", "group2"]].replace({"True": "TRUE", "False": "FALSE"})
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-12)


def test_covariates_of_every_kind_give_the_same_fit(session, adata):
    cells = adata.copy()
    cells.obs["letters"], cells.obs["age"] = pd.Categorical(LETTERS), RNG.normal(50, 10, N)
    cells.obs["size"] = np.asarray(cells.X.sum(1)).ravel() * 2
    session.put_table("more", cells.obs[["age", "size"]].reset_index(drop=True))
    session.put("v", LETTERS.astype(str))
    session("x <- sce; x$letters <- factor(as.vector(v)); x$age <- more$age; x$size <- more$size")
    few = dict(n_latent=3, max_epochs=2, device="cpu", progress=False)
    expected = ldvae.fit_ldvae(cells, covariate_keys=["letters", "age"], size_factor_key="size", **few)
    session(
        "g <- fit_ldvae(x, covariate_keys = c('letters', 'age'), size_factor_key = 'size', n_latent = 3, "
        "max_epochs = 2, device = 'cpu', progress = FALSE)"
    )
    assert np.array_equal(np.array(session("g$latent_mean")), expected.latent_mean.astype(float))
    assert session.strings("g$settings$columns") == ["letters", "age", "size"]
    pd.testing.assert_frame_equal(session.table("get_latent(g, x)"), ldvae.get_latent(expected, cells), rtol=1e-12)
