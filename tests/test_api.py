"""The public functions: their signatures, documentation, tables, and what they say to wrong arguments."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest

import ldvae
from ldvae import (
    add_ldvae,
    api,
    associate_factors,
    differential_contributions,
    differential_expression,
    differential_response,
    fit_ldvae,
    get_expression,
    get_factors,
    get_history,
    get_latent,
    get_loadings,
    get_loadings_uncertainty,
    get_program_map,
    get_program_scores,
    population_loadings,
    population_programs,
)
from ldvae.tables import COLUMNS

# The same in R: a change here is a change for every user in both languages.
SIGNATURES = {
    "fit_ldvae": "(adata, *, genes=None, gene_symbols=None, batch_key=None, covariate_keys=(), size_factor_key=None, "
    "layer=None, "
    "n_latent=30, n_hidden=128, n_layers=1, dropout_rate=0.1, gene_likelihood='nb', latent_distribution='normal', "
    "decoder='linear', loadings_prior='ard', max_epochs=None, batch_size=None, learning_rate=0.01, "
    "validation_size=0.1, early_stopping=True, measure_factors=True, checkpoint=None, seed=0, device='auto', "
    "progress=True)",
    "get_history": "(fit)",
    "get_latent": "(fit, adata=None, *, inactive=False, embedding=False, layer=None)",
    "get_loadings": "(fit, *, inactive=False)",
    "get_loadings_uncertainty": "(fit)",
    "get_factors": "(fit)",
    "population_loadings": "(fit, adata, *, groupby, kind='specific', reference=None, sample_key=None, adjust=None, "
    "layer=None, n_programs=5, seed=0)",
    "population_programs": "(fit, adata, *, groupby, kind='specific', reference=None, sample_key=None, adjust=None, "
    "layer=None, n_programs=5, seed=0)",
    "get_program_scores": "(fit, adata, *, groupby, kind='specific', reference=None, sample_key=None, layer=None, "
    "n_programs=5, seed=0)",
    "get_program_map": "(fit, adata, *, groupby, sample_key=None, layer=None, n_programs=5, seed=0)",
    "differential_expression": "(fit, adata, *, groupby=None, group1=None, group2=None, cells1=None, cells2=None, "
    "estimand='mean', sample_key=None, within=None, adjust=None, genes='all', layer=None, delta=0.25, "
    "batch_correction=True, fdr_target=0.05, n_samples=5000, seed=0)",
    "differential_response": "(fit, adata, *, groupby, within, sample_key, group1=None, group2=None, reference=None, "
    "adjust=None, genes='all', layer=None, delta=0.25, batch_correction=True, fdr_target=0.05, seed=0)",
    "differential_contributions": "(fit, adata, *, groupby, group1, group2=None, sample_key=None, layer=None)",
    "plot_differential_expression": "(de, *, group1=None, group2=None, n_labels=10, contributions=None, page=1, "
    "ax=None, figsize=None)",
    "associate_factors": "(fit, adata, *, key, sample_key=None, within=None, adjust=None, layer=None)",
    "get_expression": "(fit, adata, *, genes, layer=None, n_samples=25, library_size=10000.0, seed=0)",
    "top_genes": "(loadings, *, n=10, direction=None, by='effect', min_detected=0.1, gmt=None)",
    "save_fit": "(fit, path)",
    "load_fit": "(path)",
    "add_ldvae": "(adata, fit, *, scores=None, de=None, groupby=None, layer=None)",
    "from_scvi": "(model, adata=None, *, measure_factors=True, seed=0)",
    "from_latent": "(adata, *, use_rep, genes=None, gene_symbols=None, batch_key=None, covariate_keys=(), "
    "size_factor_key=None, "
    "layer=None, seed=0, progress=True)",
    "split_counts": "(adata, *, layer=None, share=0.5, fit=None, seed=0)",
    "write_report": "(fit, adata, *, groupby, path, key=None, sample_key=None, embedding=None, layer=None, n_genes=10, "
    "seed=0)",
}  # fmt: skip
PLOTS = {
    "plot_history", "plot_loadings", "plot_programs", "plot_program_map", "plot_differential_expression",
    "plot_association",
}  # fmt: skip

# Which table a function returns.
SCHEMAS = {
    "get_history": "history",
    "get_factors": "factors",
    "get_loadings_uncertainty": "loadings_uncertainty",
    "population_loadings": "population_loadings",
    "population_programs": "population_programs",
    "get_program_map": "program_map",
    "differential_expression": "differential_expression",
    "differential_response": "differential_response",
    "differential_contributions": "contributions",
    "associate_factors": "association",
    "get_expression": "expression",
}
DTYPES = {int: "int64", float: "float64", bool: "bool", str: "object"}


def bare(function):
    """The signature without its annotations."""
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_as_designed(name):
    assert bare(getattr(api, name)) == SIGNATURES[name]


def test_nothing_else_is_public():
    assert set(api.__all__) == set(SIGNATURES) | PLOTS | {"Fit", "simulate_counts"}
    assert api.__all__[1:] == sorted(api.__all__[1:])
    assert set(ldvae.__all__) == set(api.__all__) | {"__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", ldvae.__version__)


@pytest.mark.parametrize("name", sorted(set(api.__all__) - {"Fit"}))
def test_documentation_names_every_parameter(name):
    function = getattr(api, name)
    section = inspect.getdoc(function).split("\nParameters\n----------\n")[1].split("\n\n")[0]
    named = {n for line in section.splitlines() if line[:1].strip() for n in line.split(", ")}
    assert named == set(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", SCHEMAS)
def test_documentation_names_every_column(name):
    text = re.sub(r"``.*?``", "", inspect.getdoc(getattr(api, name)))
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text))))
    assert set(COLUMNS[SCHEMAS[name]]) - words == set()


@pytest.fixture(scope="module")
def tables(fit, simulated):
    by = dict(groupby="population")
    return {
        "get_history": get_history(fit),
        "get_factors": get_factors(fit),
        "get_loadings_uncertainty": get_loadings_uncertainty(fit),
        "population_loadings": population_loadings(fit, simulated, kind="between", **by),
        "population_programs": population_programs(fit, simulated, kind="between", **by),
        "get_program_map": get_program_map(fit, simulated, n_programs=1, **by),
        "differential_expression": differential_expression(fit, simulated, **by),
        "differential_response": differential_response(
            fit, simulated, groupby="treatment", within="population", sample_key="sample"
        ),
        "differential_contributions": differential_contributions(fit, simulated, group1="P0", **by),
        "associate_factors": associate_factors(fit, simulated, key="population"),
        "get_expression": get_expression(fit, simulated, genes=["G3", "G1"], n_samples=2),
    }


@pytest.mark.parametrize("name", SCHEMAS)
def test_tables_have_their_columns_and_types(tables, name):
    found, schema = tables[name], COLUMNS[SCHEMAS[name]]
    assert list(found.columns) == list(schema) and isinstance(found.index, pd.RangeIndex) and len(found) > 0
    assert [str(t) for t in found.dtypes] == [DTYPES[kind] for kind in schema.values()]
    for column, kind in schema.items():
        if kind is str:
            assert {type(v) for v in found[column]} == {str}, column


def test_no_function_changes_the_object(fit, simulated, tables):
    fresh = ldvae.simulate_counts(
        n_cells=600, n_genes=150, n_populations=3, program_size=15, n_identity=20, n_batches=2, n_samples=6,
        treatment_effect=0.8, seed=1,
    )  # fmt: skip
    add_ldvae(simulated, fit)
    pd.testing.assert_frame_equal(simulated.obs, fresh.obs)
    pd.testing.assert_frame_equal(simulated.var, fresh.var)
    assert (simulated.X != fresh.X).nnz == 0
    assert set(simulated.obsm) == {"activity"} and not simulated.varm and set(simulated.uns) == {"truth"}


@pytest.mark.parametrize("latent_distribution", ["normal", "ln"])
@pytest.mark.parametrize("gene_likelihood", ["nb", "zinb", "poisson"])
@pytest.mark.parametrize("decoder", ["linear", "nonlinear"])
def test_every_model_answers_every_question(simulated, settings, latent_distribution, gene_likelihood, decoder):
    fit = fit_ldvae(
        simulated, batch_key="batch", latent_distribution=latent_distribution, gene_likelihood=gene_likelihood,
        decoder=decoder, **settings,
    )  # fmt: skip
    active = get_factors(fit)["active"]
    assert active.any()
    assert np.isfinite(get_latent(fit, simulated[:9].copy()).iloc[:, 1:]).all(axis=None)
    assert np.isfinite(get_loadings_uncertainty(fit)[["loading", "std", "lfsr"]]).all(axis=None)
    found = differential_expression(fit, simulated, groupby="population", group1="P0", group2="P1")
    truth = simulated.uns["truth"]["means"]
    tested = found["lfc_mean"].notna().to_numpy()
    assert np.corrcoef(found["lfc_mean"][tested], (truth[0] - truth[1])[tested])[0, 1] > 0.8
    assert (associate_factors(fit, simulated, key="population").query("factor == 'all'")["pval"] < 1e-6).all()


CALLS = [
    (get_history, ()), (get_latent, ()), (get_loadings, ()), (get_loadings_uncertainty, ()), (get_factors, ()),
    (population_loadings, dict(groupby="g")), (population_programs, dict(groupby="g")),
    (get_program_scores, dict(groupby="g")), (get_program_map, dict(groupby="g")),
    (differential_expression, dict(groupby="g")), (differential_contributions, dict(groupby="g", group1="a")),
    (differential_response, dict(groupby="g", within="p", sample_key="s")),
    (associate_factors, dict(key="g")), (get_expression, dict(genes="G1")),
]  # fmt: skip


@pytest.mark.parametrize(("function", "kwargs"), CALLS)
def test_what_is_no_fit_is_refused(function, kwargs, simulated):
    arguments = ("fit", simulated) if kwargs else ("fit",)
    with pytest.raises(TypeError) as caught:
        function(*arguments, **dict(kwargs))
    assert str(caught.value) == "`fit` must be a Fit (from fit_ldvae or load_fit), not a str."


QUESTION_ERRORS = [
    (get_expression, dict(genes=["G1", "X", "Y"]), "`genes` must name genes of the fit, and 2 are not: 'X', 'Y'."),
    (get_expression, dict(genes="G1", n_samples=0),
     "`n_samples` must be a whole number of at least 1 and at most 1000000, not 0."),
    (get_expression, dict(genes="G1", library_size=0), "`library_size` must be a number more than 0, not 0."),
    (differential_expression, dict(groupby="population", estimand="median"),
     "`estimand` must be one of 'mean', 'cell', not 'median'."),
    (differential_expression, dict(groupby="population", estimand="cell", sample_key="sample"),
     "`sample_key` needs estimand='mean': pairs of cells have no samples to compare."),
    (differential_expression, dict(groupby="population", delta=-1), "`delta` must be a number at least 0, not -1."),
    (differential_expression, {},
     "`groupby` must name a column of adata.obs, or `cells1` some cells; both are missing."),
    (associate_factors, dict(key="x"), "`key` must name a column of adata.obs ('population', 'batch', 'sample', "
     "'treatment'), not 'x'."),
]  # fmt: skip


@pytest.mark.parametrize(("function", "kwargs", "message"), QUESTION_ERRORS)
def test_questions_say_what_is_wrong(fit, simulated, function, kwargs, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        function(fit, simulated, **kwargs)
    assert str(caught.value) == message
