"""A hostile user: every public argument with wrong kinds and values, and the sentence that each gets."""

from __future__ import annotations

import inspect
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import ldvae
from support import broken, fingerprint, is_sentence, labelled, put, repeated, twice, with_counts, without_x

QUICK = dict(n_latent=3, n_hidden=8, max_epochs=1, batch_size=32, progress=False, device="cpu")


@pytest.fixture(scope="module")
def adata():
    return ldvae.simulate_counts(
        n_cells=200,
        n_genes=40,
        n_populations=2,
        program_size=8,
        n_identity=8,
        n_samples=4,
        treatment_effect=0.5,
        seed=1,
    )


@pytest.fixture(scope="module")
def fit(adata):
    return ldvae.fit_ldvae(adata, batch_key="batch", **QUICK | {"max_epochs": 40})


# from_scvi needs scvi-tools; what it refuses is tested in tests/reference
PUBLIC = set(ldvae.__all__) - {"Fit", "__version__", "from_scvi"}


@pytest.fixture(scope="module")
def calls(adata, fit, tmp_path_factory):
    """Each public function with arguments that are right."""
    de = ldvae.differential_expression(fit, adata, groupby="population")
    between = dict(groupby="population", kind="between")
    associated = ldvae.associate_factors(fit, adata, key="population")
    path = str(tmp_path_factory.mktemp("bad") / "fit")
    ldvae.save_fit(fit, path)
    placed = adata.copy()
    placed.obsm["X_place"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    found = {
        "fit_ldvae": dict(adata=adata, batch_key="batch", **QUICK),
        "from_latent": dict(adata=placed, use_rep="X_place", progress=False),
        "get_history": dict(fit=fit),
        "get_latent": dict(fit=fit, adata=adata),
        "get_loadings": dict(fit=fit),
        "get_loadings_uncertainty": dict(fit=fit),
        "get_factors": dict(fit=fit),
        "get_expression": dict(fit=fit, adata=adata, genes=["G1"]),
        "add_ldvae": dict(adata=adata, fit=fit),
        "top_genes": dict(loadings=ldvae.get_loadings(fit)),
        "population_loadings": dict(fit=fit, adata=adata, **between),
        "population_programs": dict(fit=fit, adata=adata, **between),
        "get_program_scores": dict(fit=fit, adata=adata, **between),
        "get_program_map": dict(fit=fit, adata=adata, groupby="population", n_programs=1),
        "differential_expression": dict(fit=fit, adata=adata, groupby="population", group1="P0", n_samples=100),
        "differential_response": dict(
            fit=fit,
            adata=adata,
            groupby="treatment",
            group1="treated",
            group2="control",
            within="population",
            sample_key="sample",
        ),
        "split_counts": dict(adata=adata),
        "differential_contributions": dict(fit=fit, adata=adata, groupby="population", group1="P0"),
        "associate_factors": dict(fit=fit, adata=adata, key="population"),
        "simulate_counts": dict(n_cells=20, n_genes=10, n_populations=2, program_size=2),
        "save_fit": dict(fit=fit, path=path),
        "load_fit": dict(path=path),
        "plot_history": dict(history=ldvae.get_history(fit)),
        "plot_loadings": dict(loadings=ldvae.get_loadings(fit)),
        "plot_programs": dict(loadings=ldvae.population_loadings(fit, adata, **between)),
        "plot_program_map": dict(program_map=ldvae.get_program_map(fit, adata, groupby="population", n_programs=1)),
        "plot_differential_expression": dict(de=de),
        "plot_association": dict(association=associated),
        "write_report": dict(fit=fit, adata=adata, groupby="population", path=path + ".html"),
    }
    assert set(found) == PUBLIC
    return found


def ask(calls, name, **changed):
    kwargs = calls[name] | changed
    parameters = inspect.signature(getattr(ldvae, name)).parameters.values()
    first = [kwargs.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name in kwargs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return getattr(ldvae, name)(*first, **kwargs)


def refused(calls, name, error, phrase, **changed):
    """The call is refused with one sentence that has the phrase, and the user's object stays as it was."""
    given = {**calls[name], **changed}.get("adata")
    before = fingerprint(given)
    with pytest.raises(error) as caught:
        ask(calls, name, **changed)
    assert is_sentence(caught.value), str(caught.value)
    assert phrase in str(caught.value)
    assert fingerprint(given) == before


NAN, INF, HUGE = float("nan"), float("inf"), 10**30
EMPTY = pd.DataFrame()
V, T, E = ValueError, TypeError, OSError

WITH_LAYER = [
    "get_latent", "get_expression", "add_ldvae", "population_loadings", "population_programs", "get_program_scores",
    "get_program_map", "differential_expression", "differential_response", "differential_contributions",
    "associate_factors", "write_report",
]  # fmt: skip

# function, argument, error, and wrong values with what the sentence says of them
ARGUMENTS = [
    ("fit_ldvae", "genes", V, [([], "at least one gene"), ("nothing", "is neither"), (["G1", "G1"], "more than once"),
     (["G1", "X"], "1 of 2 genes are not in `adata`: 'X'")]),
    ("fit_ldvae", "genes", T, [([1], "1 is a int"), (3, "list of names, not 3"), (b"G1", "not b'G1'"), ([None],
     "NoneType"),
     (np.array([True, False]), "is a bool")]),
    ("fit_ldvae", "batch_key", V, [("lane", "not 'lane'")]),
    ("fit_ldvae", "batch_key", T, [(1, "not 1"), (["batch"], "not ['batch']"), (True, "not True")]),
    ("fit_ldvae", "covariate_keys", V, [(["batch", "batch"], "more than once"), (["x"], "not 'x'")]),
    ("fit_ldvae", "covariate_keys", T, [(None, "not None"), ([1], "1 is a int")]),
    ("fit_ldvae", "size_factor_key", V, [("population", "positive numbers"), ("x", "not 'x'")]),
    ("fit_ldvae", "size_factor_key", T, [(1.0, "not 1.0")]),
    ("fit_ldvae", "layer", V, [("counts", "has none, not 'counts'"), (1, "not 1"), (pd.Series([1]), "not 0 1 dtype")]),
    ("fit_ldvae", "n_latent", V, [(0, "not 0"), (-1, "not -1"), (1001, "not 1001"), (2.5, "not 2.5"), (NAN, "not nan"),
     (INF, "not inf"), (HUGE, "not 1000")]),
    ("fit_ldvae", "n_latent", T, [("3", "'3' is a str"), (True, "True is a bool"), (None, "not None"), ([3], "list")]),
    ("fit_ldvae", "n_hidden", V, [(0, "not 0"), (10**12, "bytes of memory"), (10**15, "bytes of memory"),
     (HUGE, "at most 9223372036854775807")]),
    ("get_latent", "inactive", T, [(1, "not 1"), ("yes", "not 'yes'")]),
    ("get_loadings", "inactive", T, [(None, "not None")]),
    ("fit_ldvae", "n_layers", V, [(0, "not 0"), (21, "not 21")]),
    ("fit_ldvae", "dropout_rate", V, [(1, "not 1"), (-0.1, "not -0.1"), (NAN, "not nan")]),
    ("fit_ldvae", "dropout_rate", T, [("0.1", "'0.1' is a str"), (False, "False is a bool")]),
    ("fit_ldvae", "gene_likelihood", V, [("normal", "not 'normal'"), (None, "not None"), (["nb"], "not ['nb']")]),
    ("fit_ldvae", "latent_distribution", V, [("gamma", "not 'gamma'"), (1, "not 1")]),
    ("fit_ldvae", "decoder", V, [("Linear", "not 'Linear'"), (EMPTY, "not Empty DataFrame")]),
    ("fit_ldvae", "loadings_prior", V, [("l1", "not 'l1'"), (None, "not None")]),
    ("fit_ldvae", "max_epochs", V, [(0, "not 0"), (1.5, "not 1.5"), (NAN, "not nan")]),
    ("fit_ldvae", "max_epochs", T, [("10", "'10' is a str")]),
    ("fit_ldvae", "batch_size", V, [(1, "not 1"), (-3, "not -3")]),
    ("fit_ldvae", "learning_rate", V, [(0, "not 0"), (2, "not 2"), (INF, "not inf")]),
    ("fit_ldvae", "learning_rate", T, [("fast", "'fast' is a str")]),
    ("fit_ldvae", "validation_size", V, [(0.95, "not 0.95"), (-0.1, "not -0.1")]),
    ("fit_ldvae", "early_stopping", T, [(1, "not 1"), ("yes", "not 'yes'"), (None, "not None")]),
    ("fit_ldvae", "checkpoint", V, [("/no/such/folder/x", "not one")]),
    ("fit_ldvae", "checkpoint", T, [(1, "not 1"), ("", "not ''"), ("a\0b", "name of a file"), (b"x", "not b'x'")]),
    ("fit_ldvae", "seed", V, [(-1, "not -1"), (2**32, "not 4294967296"), (0.5, "not 0.5")]),
    ("fit_ldvae", "seed", T, [(None, "not None"), ("0", "'0' is a str")]),
    ("fit_ldvae", "device", V, [("tpu", "not 'tpu'"), ("cuda:99", "this machine has"), ("cpu:x", "not 'cpu:x'")]),
    ("fit_ldvae", "device", T, [(0, "not 0"), (None, "not None")]),
    ("fit_ldvae", "progress", T, [(1, "not 1"), ("no", "not 'no'")]),
    ("fit_ldvae", "measure_factors", T, [(1, "not 1"), ("no", "not 'no'")]),
    ("get_latent", "embedding", T, [(1, "not 1")]),
    ("get_loadings", "inactive", T, [("yes", "not 'yes'")]),
    ("from_latent", "use_rep", V, [
        ("X_umap", "embedding of adata.obsm ('activity', 'X_place'), not 'X_umap'"), (3, "not 3"),
    ]),
    ("get_expression", "genes", V, [(["X"], "1 are not: 'X'"), ([], "must name genes"), (["G1", "G1"],
     "more than once")]),
    ("get_expression", "genes", T, [(1, "not 1"), ([2], "2 is a int"), (None, "not None")]),
    ("get_expression", "n_samples", V, [(0, "not 0"), (1.5, "not 1.5")]),
    ("get_expression", "library_size", V, [(0, "not 0"), (-1, "not -1"), (INF, "not inf")]),
    ("get_expression", "seed", V, [(-1, "not -1"), (NAN, "not nan")]),
    ("add_ldvae", "scores", T, [(1, "get_program_scores"), (EMPTY, "get_program_scores")]),
    ("add_ldvae", "scores", V, [(pd.DataFrame({"cell": ["X"], "s": [1.0]}), "none of the 200 cells")]),
    ("add_ldvae", "de", T, [(1, "differential_expression"), (EMPTY, "differential_expression")]),
    ("add_ldvae", "groupby", V, [("population", "`de` is None")]),
    ("top_genes", "gmt", V, [("/no/such/folder/x", "not one")]),
    ("top_genes", "gmt", T, [(1, "not 1"), ("", "not ''")]),
    ("write_report", "groupby", V, [("lane", "not 'lane'")]),
    ("write_report", "groupby", T, [(1, "not 1")]),
    ("write_report", "path", V, [("/no/such/folder/x", "not one")]),
    ("write_report", "path", T, [(1, "not 1"), ("", "not ''")]),
    ("write_report", "key", V, [("lane", "not 'lane'")]),
    ("write_report", "sample_key", V, [("lane", "not 'lane'")]),
    ("write_report", "embedding", V, [("X_umap", "two numbers for each")]),
    ("write_report", "n_genes", V, [(0, "not 0"), (1.5, "not 1.5")]),
    ("write_report", "seed", V, [(-1, "not -1"), (NAN, "not nan")]),
    ("top_genes", "loadings", T, [(1, "a table of"), (EMPTY, "a table of")]),
    ("top_genes", "n", V, [(0, "not 0"), (NAN, "not nan")]),
    ("top_genes", "direction", V, [("higher", "not 'higher'"), (True, "not True")]),
    ("top_genes", "min_detected", V, [(-0.1, "not -0.1"), (25, "not 25"), (NAN, "not nan")]),
    ("top_genes", "by", V, [("size", "not 'size'"), (None, "not None"), ("evidence", "without standard deviations")]),
    ("population_loadings", "groupby", V, [("cluster", "not 'cluster'")]),
    ("population_loadings", "groupby", T, [(None, "not None"), (["population"], "not ['population']")]),
    ("population_loadings", "kind", V, [("own", "not 'own'"), (None, "not None"), (1, "not 1")]),
    ("population_loadings", "reference", V, [("P9", "not 'P9'"), ([], "not "), (["P0", "P0"], "more than once")]),
    ("population_loadings", "reference", T, [(1, "not 1"), ([None], "NoneType")]),
    ("population_loadings", "sample_key", V, [("donor", "not 'donor'")]),
    ("population_loadings", "sample_key", T, [(1, "not 1")]),
    ("population_loadings", "n_programs", V, [(0, "not 0"), (51, "not 51")]),
    ("population_loadings", "seed", V, [(-1, "not -1")]),
    ("population_programs", "kind", V, [("Within", "not 'Within'")]),
    ("population_programs", "n_programs", T, [("3", "'3' is a str")]),
    ("get_program_map", "groupby", V, [("cluster", "not 'cluster'")]),
    ("get_program_map", "n_programs", V, [(0, "not 0"), (51, "not 51")]),
    ("get_program_scores", "kind", V, [("deviation", "no activity of their own"), (pd.NA, "not <NA>"),
     (np.array([1, 2]), "not array([1, 2])")]),
    ("differential_expression", "groupby", V, [("cluster", "not 'cluster'")]),
    ("differential_expression", "group1", V, [("P9", "not 'P9'"), ([], "none is named")]),
    ("differential_expression", "group1", T, [(0.5, "not 0.5"), ([None], "NoneType")]),
    ("differential_expression", "group1", V, [(0, "not '0'"), ([True], "not 'True'")]),
    ("differential_expression", "group2", V, [("P9", "not 'P9'"), ("P0", "both name 'P0'"),
     (["P0", "P1"], "one level"), ("pairwise", "two levels in `group1`")]),
    ("differential_expression", "cells1", V, [(["C0"], "cannot be combined")]),
    ("differential_expression", "cells2", V, [(["C0"], "needs `cells1`")]),
    ("differential_expression", "estimand", V, [("median", "not 'median'"), (None, "not None")]),
    ("differential_expression", "sample_key", V, [("population", "must be different columns"), ("x", "not 'x'")]),
    ("differential_expression", "within", V, [("population", "must be different columns")]),
    ("differential_expression", "within", T, [(2, "not 2")]),
    ("differential_expression", "adjust", V, [(["batch"], "needs `sample_key`")]),
    ("differential_expression", "adjust", T, [(1, "not 1")]),
    ("differential_expression", "genes", V, [("some", "not 'some'"), (["G1"], "not ['G1']")]),
    ("differential_response", "groupby", V, [("cluster", "not 'cluster'"), ("batch", "not 'treated'")]),
    ("differential_response", "group1", V, [("P9", "not 'P9'")]),
    ("differential_response", "group2", V, [("treated", "both name 'treated'")]),
    ("differential_response", "within", V, [("type", "not 'type'")]),
    ("differential_response", "within", T, [(None, "not None")]),
    ("differential_response", "sample_key", T, [(None, "not None")]),
    ("differential_response", "reference", V, [("P9", "not 'P9'"), ([], "not none")]),
    ("differential_response", "reference", T, [(1, "not 1")]),
    ("differential_response", "adjust", V, [("population", "must be the same in all cells of a sample"),
     ("treatment", "cannot be told apart")]),
    ("differential_response", "genes", V, [(None, "not None")]),
    ("differential_response", "delta", V, [(-1, "not -1")]),
    ("differential_response", "batch_correction", T, [(0, "not 0")]),
    ("differential_response", "fdr_target", V, [(2, "not 2")]),
    ("differential_response", "seed", V, [(-1, "not -1")]),
    *((name, "layer", V, [("counts", "has none, not 'counts'"), (1, "not 1")]) for name in WITH_LAYER),
    ("fit_ldvae", "gene_symbols", V, [("symbol", "it has none), not 'symbol'"), (1, "not 1")]),
    ("split_counts", "layer", V, [("counts", "has none, not 'counts'")]),
    ("split_counts", "share", V, [(0, "not 0"), (1, "below 1"), (NAN, "not nan")]),
    ("split_counts", "seed", T, [("a", "'a' is a str")]),
    ("population_loadings", "adjust", V, [("batch", "needs `sample_key`")]),
    ("associate_factors", "adjust", V, [("batch", "needs `sample_key`"), ("x", "needs `sample_key`")]),
    ("differential_expression", "delta", V, [(-1, "not -1"), (NAN, "not nan"), (INF, "not inf")]),
    ("differential_expression", "batch_correction", T, [("yes", "not 'yes'"), (1, "not 1")]),
    ("differential_expression", "fdr_target", V, [(2, "not 2"), (-0.1, "not -0.1")]),
    ("differential_expression", "n_samples", V, [(1, "not 1"), (HUGE, "at most 10000000")]),
    ("differential_expression", "seed", T, [("a", "'a' is a str")]),
    ("differential_contributions", "groupby", V, [(None, "`groupby` must")]),
    ("differential_contributions", "group1", V, [("rest", "not 'rest'")]),
    ("differential_contributions", "group2", T, [(3.5, "not 3.5")]),
    ("differential_contributions", "sample_key", V, [("donor", "not 'donor'"), ("population", "different columns")]),
    ("associate_factors", "key", V, [("x", "not 'x'")]),
    ("associate_factors", "key", T, [(None, "not None"), (["batch"], "not ['batch']")]),
    ("associate_factors", "sample_key", V, [("donor", "not 'donor'")]),
    ("associate_factors", "within", T, [(1, "not 1")]),
    ("simulate_counts", "n_cells", V, [(0, "not 0"), (10**15, "bytes of memory"),
     (HUGE, "at most 9223372036854775807"), (2.5, "not 2.5")]),
    ("simulate_counts", "n_genes", V, [(1, "not 1"), (10**15, "bytes of memory"),
     (HUGE, "at most 9223372036854775807")]),
    ("simulate_counts", "n_populations", V, [(0, "not 0"), (10**15, "bytes of memory"),
     (HUGE, "at most 9223372036854775807")]),
    ("simulate_counts", "program_size", V, [(6, "not 6")]),
    ("simulate_counts", "amplitude", V, [(-1, "not -1"), (1e30, "at most 100")]),
    ("simulate_counts", "n_shared", V, [(-1, "not -1"), (10**15, "bytes of memory"),
     (HUGE, "at most 9223372036854775807")]),
    ("simulate_counts", "n_partial", T, [("1", "'1' is a str")]),
    ("simulate_counts", "null_populations", V, [("P9", "not 'P9'"), (5, "not 5")]),
    ("simulate_counts", "smallest_share", V, [(0.6, "not 0.6")]),
    ("simulate_counts", "treatment_effect", V, [(1, "needs `n_samples`")]),
    ("simulate_counts", "library_size", V, [(0, "not 0"), (1e30, "at most 1e+07")]),
    ("simulate_counts", "depth", V, [({"P0": -1}, "not -1"), ({"P9": 1}, "not 'P9'")]),
    ("simulate_counts", "depth", T, [([1, 2], "must map populations")]),
    ("simulate_counts", "inverse_dispersion", V, [(0, "not 0"), (1e-300, "at least 0.001")]),
    ("simulate_counts", "seed", V, [(-1, "not -1")]),
    ("save_fit", "path", V, [("/no/such/folder/x", "not one")]),
    ("save_fit", "path", T, [(1, "not 1"), ("", "not ''"), (None, "not None"), ("a\0b", "name of a file")]),
    ("load_fit", "path", V, [("nowhere", "none at 'nowhere'"), (".", "none at '.'")]),
    ("load_fit", "path", T, [(b"x", "not b'x'"), (["x"], "not ['x']")]),
    ("plot_history", "history", V, [(EMPTY, "lacks the columns"), (None, "is a NoneType")]),
    ("plot_history", "ax", T, [("x", "matplotlib axes, not 'x'")]),
    ("plot_loadings", "loadings", V, [(EMPTY, "lacks the column 'gene'")]),
    ("plot_loadings", "factors", V, [("Z_99", "names 'Z_99'"), ([], "at least one of")]),
    ("plot_loadings", "n_genes", V, [(0, "not 0")]),
    ("plot_loadings", "page", V, [(0, "not 0"), (9, "all panels are on one page, not 9")]),
    ("plot_loadings", "figsize", T, [("big", "not 'big'"), (3, "not 3"), ([1], "not [1]"), (["a", "b"],
     "'a' is a str")]),
    ("plot_loadings", "figsize", V, [((0, 1), "not 0"), ((NAN, 1), "not nan"), ((1e9, 1), "not 1e+09")]),
    ("plot_programs", "loadings", V, [(None, "is a NoneType")]),
    ("plot_programs", "programs", V, [(EMPTY, "lacks the columns")]),
    ("plot_programs", "populations", V, [("P9", "names 'P9'"), ([], "at least one of")]),
    ("plot_programs", "page", T, [("1", "'1' is a str")]),
    ("plot_program_map", "program_map", V, [(EMPTY, "lacks the columns"), (1, "is a int")]),
    ("plot_program_map", "populations", V, [("P9", "names 'P9'"), ([], "at least one of")]),
    ("plot_program_map", "programs", V, [("program_99", "names 'program_99'")]),
    ("plot_program_map", "programs", T, [(1, "not 1")]),
    ("plot_program_map", "n_genes", V, [(-1, "not -1")]),
    ("plot_program_map", "max_programs", V, [(0, "not 0"), (HUGE, "at most 500")]),
    ("plot_program_map", "figsize", T, [("big", "not 'big'")]),
    ("plot_differential_expression", "de", V, [(1, "is a int")]),
    ("plot_differential_expression", "group1", V, [("P9", "names 'P9'")]),
    ("plot_differential_expression", "group2", T, [(1, "not 1")]),
    ("plot_differential_expression", "n_labels", V, [(-1, "not -1")]),
    ("plot_differential_expression", "page", V, [(2, "must be 1, since all panels are on one page, not 2")]),
    ("plot_differential_expression", "contributions", V, [(EMPTY, "lacks the columns"), (1, "is a int")]),
    ("plot_association", "association", V, [(EMPTY, "lacks the columns")]),
    ("plot_association", "ax", T, [(1, "matplotlib axes, not 1")]),
]  # fmt: skip
ARGUMENTS = [(name, argument, error, value, says) for name, argument, error, rows in ARGUMENTS for value, says in rows]


@pytest.mark.parametrize(("name", "argument", "error", "value", "says"), ARGUMENTS)
def test_a_wrong_argument_is_named(calls, name, argument, error, value, says):
    refused(calls, name, error, says, **{argument: value})


def test_cells_that_cannot_be_compared(calls):
    names = [f"C{i}" for i in range(200)]
    for error, says, changed in [
        (V, "a mask of 2 cells", dict(cells1=[True, False])),
        (V, "not in `adata`: 'Q'", dict(cells1=["Q"])),
        (V, "it is empty", dict(cells1=[])),
        (V, "it is empty", dict(cells1=np.zeros(200, bool))),
        (V, "holds all cells", dict(cells1=names)),
        (V, "more than once", dict(cells1=["C0", "C0"])),
        (V, "must not overlap", dict(cells1=["C0"], cells2=["C0"])),
        (T, "0 is a int", dict(cells1=[0, 1, 2])),
        (V, "(name 'cluster' is not defined)", dict(cells1="cluster == 1")),
        (V, "no cell meets", dict(cells1="population == 'P9'")),
        (T, "not 1", dict(cells1=1)),
        (T, "NoneType", dict(cells1=[None])),
    ]:
        refused(calls, "differential_expression", error, says, groupby=None, group1=None, **changed)


COUNTING = ["fit_ldvae", "get_latent", "get_expression", "add_ldvae", "population_loadings", "population_programs",
            "get_program_scores", "get_program_map", "differential_expression", "differential_contributions",
            "differential_response",
            "associate_factors"]  # fmt: skip
GROUPING = COUNTING[4:]
QUESTIONS = COUNTING[1:]

# what is wrong with the object, who is asked, the error, what the sentence says
OBJECTS = {
    "negative": (put(-1.0), COUNTING, V, "has the value -1;"),
    "NaN": (put(NAN), COUNTING, V, "has missing values (nan), as anndata.concat(join='outer') leaves"),
    "infinite": (put(INF), COUNTING, V, "has the value inf;"),
    "normalised": (with_counts(lambda x: x / x.sum(1, keepdims=True)), COUNTING, V, "divided by one number in each"),
    "genes in rows": (lambda a: ad.AnnData(a.X, a.obs.set_index([[f"ENSG{i:011d}" for i in range(200)]]), a.var),
                      COUNTING, V, "seems to be genes × cells"),
    "log-normalised": (with_counts(np.log1p), COUNTING, V, "must hold raw counts"),
    "huge": (put(1e30), COUNTING, V, "at most 16,777,216, but has the value 1e+30"),
    "object dtype": (with_counts(lambda x: x.astype(object)), COUNTING, T, "must hold numbers, not object"),
    "strings": (with_counts(lambda x: x.astype(str)), COUNTING, T, "must hold numbers, not <U32"),
    "complex": (with_counts(lambda x: x + 0j), COUNTING, T, "must hold numbers, not complex128"),
    "a cell of zeros": (put(0.0, 0), COUNTING, V, "1 of 200 cells have no counts"),
    "only zeros": (with_counts(np.zeros_like), COUNTING, V, "200 of 200 cells have no counts"),
    "index too large": (broken("indices", 3, 10**6), COUNTING, V, "damaged sparse matrix"),
    "index negative": (broken("indices", 3, -7), COUNTING, V, "damaged sparse matrix"),
    "pointers fall": (broken("indptr", 3, 10**6), COUNTING, V, "damaged sparse matrix"),
    "pointers start late": (broken("indptr", 0, 2), COUNTING, V, "damaged sparse matrix"),
    "pointers lead out": (broken("indptr", -1, 10**6), COUNTING, V, "damaged sparse matrix"),
    "csc index too large": (broken("indices", 3, 10**6, "csc"), COUNTING, V, "damaged sparse matrix"),
    "csc pointers fall": (broken("indptr", 3, 10**6, "csc"), COUNTING, V, "damaged sparse matrix"),
    "no cells": (lambda a: a[:0].copy(), COUNTING, V, "has 0 and 40"),
    "no genes": (lambda a: a[:, :0].copy(), COUNTING, V, "has 200 and 0"),
    "one cell": (lambda a: a[:1].copy(), ["fit_ldvae", *GROUPING], V, ""),
    "two cells": (lambda a: a[:2].copy(), ["fit_ldvae", *GROUPING], V, ""),
    "missing genes": (lambda a: a[:, 38:].copy(), QUESTIONS, V,
                      "38 of 40 genes of the fit are not in `adata` ('G0', 'G1', 'G2' and 35 more); the others hold"),
    "repeated genes": (repeated("var_names"), COUNTING, V, "repeated gene names ('same')"),
    "repeated cells": (repeated("obs_names"), COUNTING, V, "repeated cell names ('same')"),
    "no X": (without_x, COUNTING, V, ""),
    "None": (lambda a: None, [q for q in COUNTING if q != "get_latent"], T,
     "must be an AnnData, not a builtins.NoneType"),
    "a matrix": (lambda a: a.X, COUNTING, T, "must be an AnnData, not a scipy.sparse._csr.csr_matrix"),
    "a table": (lambda a: a.to_df(), COUNTING, T, "must be an AnnData, not a pandas.core.frame.DataFrame"),
    "a fit": (lambda a: "fit", COUNTING, T, "must be an AnnData, not a builtins.str"),
    "one group": (labelled("population", lambda n: "P0"), [q for q in GROUPING if q != "get_program_map"], V,
                  "population"),
    "a group per cell": (labelled("population", lambda n: [f"p{i}" for i in range(n)]), GROUPING[:-1], V, ""),
    "no labels": (labelled("population", lambda n: pd.Categorical([None] * n, ["a"])), GROUPING, V, "has no labels"),
    "labels that are lists": (labelled("population", lambda n: [[1]] * n), GROUPING, T, "words, numbers or categories"),
    "labels that read alike": (labelled("population", lambda n: pd.Categorical([1, "1"] * (n // 2), [1, "1"])),
     GROUPING, V,
                               "read alike: '1'"),
    "a column twice": (twice, GROUPING, V, "several are called"),
    "infinite numbers": (labelled("population", lambda n: [INF] + [1.0] * (n - 1)), ["associate_factors"], V,
                         "infinite"),
    "complex numbers": (labelled("population", lambda n: np.arange(n) * 1j), ["associate_factors"], T, "real numbers"),
    "numbers that do not vary": (labelled("population", lambda n: 1.5), ["associate_factors"], V,
     "which 'population' does not"),
    "a batch that is a number": (labelled("batch", lambda n: np.linspace(0, 1, n)), ["fit_ldvae"], V,
                                 "holds numbers with fractions"),
    "a batch per cell": (labelled("batch", lambda n: [f"b{i}" for i in range(n)]), ["fit_ldvae"], V,
                         "200 levels for 200 cells"),
    "batches missing": (labelled("batch", lambda n: pd.Categorical([None, "B0"] * (n // 2))), QUESTIONS, V,
                        "100 cells have no value of 'batch'"),
    "no batch": (lambda a: ad.AnnData(a.X, obs=a.obs.drop(columns="batch"), var=a.var), QUESTIONS, V,
                 "must have the column 'batch'"),
}  # fmt: skip
ASKED = [(case, name) for case, (_, names, _, _) in OBJECTS.items() for name in names]


@pytest.mark.parametrize(("case", "name"), ASKED)
def test_a_wrong_object_is_refused(calls, adata, case, name):
    make, _, error, says = OBJECTS[case]
    refused(calls, name, error, says, adata=make(adata))


@pytest.mark.parametrize("column", [["B0", None], [1.0, NAN], [1.0, INF]])
def test_covariates_must_have_a_value_in_every_cell(calls, adata, column):
    changed = labelled("extra", lambda n: column * (n // 2))(adata)
    refused(calls, "fit_ldvae", V, "100 cells have no value of 'extra'", adata=changed, covariate_keys="extra")


SHARED = (
    "genes",
    "gene_symbols",
    "batch_key",
    "covariate_keys",
    "size_factor_key",
    "layer",
    "seed",
    "progress",
)  # with fit_ldvae


def test_there_are_enough_cases():
    assert len(ARGUMENTS) >= 150 and len(ASKED) >= 150
    told = {(name, argument) for name, argument, *_ in ARGUMENTS}
    untold = {
        (name, p) for name in PUBLIC
        for p in inspect.signature(getattr(ldvae, name)).parameters
        if p not in ("fit", "adata") and (name, p) not in told
    }  # fmt: skip
    programs = {"groupby", "reference", "sample_key", "n_programs", "seed", "kind"}  # checked by the same lines
    repeated = dict.fromkeys(("population_programs", "get_program_scores", "get_program_map"), programs)
    repeated["population_programs"] = programs | {"adjust"}
    repeated["from_latent"] = set(SHARED)
    assert {u for u in untold if u[1] not in repeated.get(u[0], ())} == {
        ("simulate_counts", "rewired_populations"), ("simulate_counts", "n_identity"), ("simulate_counts", "n_batches"),
        ("simulate_counts", "n_samples"), ("simulate_counts", "sample_std"), ("simulate_counts", "n_sample_genes"),
        ("plot_programs", "scores"), ("plot_programs", "embedding"), ("plot_programs", "n_genes"),
        ("plot_programs", "figsize"), ("plot_differential_expression", "ax"), ("plot_differential_expression",
     "figsize"),
    }  # fmt: skip


NONSENSE = [
    None, True, "x", "", "P0", "G1", "population", "a\0b", b"x", 3, 2.5, -1, NAN, INF, HUGE, 1j, object(), len, (),
     [], [1],
    [None], ["x", "x"], [[1]], {}, {"a": 1}, pd.NA, pd.NaT, np.array(1), np.array("P0"), np.array(["P0"]), np.arange(2),
    pd.Series([1]), pd.DataFrame({"a": [1]}), pd.Categorical(["P0"]), np.datetime64("2020-01-01"), range(3), {1, 2},
    (i for i in ()), Exception("x"), sp.eye(2).tocsr(), np.ma.masked, "ü\n" * 500, [0.1] * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(PUBLIC - {"write_report"}))  # asks all the others, which takes long
def test_nonsense_is_answered_or_refused_with_a_sentence(calls, adata, name, tmp_path, monkeypatch):
    """Each argument in turn gets every kind of nonsense."""
    monkeypatch.chdir(tmp_path)  # some of it is a good name for a file
    before = fingerprint(adata)
    arguments = inspect.signature(getattr(ldvae, name)).parameters
    for argument in arguments:
        for value in NONSENSE:
            try:
                ask(calls, name, **{argument: value})
            except Exception as error:
                assert is_sentence(error), f"{argument}={value!r}: {type(error).__name__}: {error}"
    assert fingerprint(adata) == before
