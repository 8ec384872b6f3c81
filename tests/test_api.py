"""The public functions: their signatures, documentation, tables, and what they say to wrong arguments."""

from __future__ import annotations

import inspect
import re

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

import ldvae
from ldvae import (
    add_ldvae,
    api,
    associate_factors,
    differential_contributions,
    differential_expression,
    fit_ldvae,
    get_expression,
    get_factors,
    get_history,
    get_latent,
    get_loadings,
    get_loadings_uncertainty,
    get_program_scores,
    population_loadings,
    population_programs,
    top_genes,
)
from ldvae.tables import COLUMNS

# The same in R: a change here is a change for every user in both languages.
SIGNATURES = {
    "fit_ldvae": "(adata, *, genes=None, batch_key=None, covariate_keys=(), size_factor_key=None, layer=None, "
    "n_latent=30, n_hidden=128, n_layers=1, dropout_rate=0.1, gene_likelihood='nb', latent_distribution='normal', "
    "decoder='linear', loadings_prior='ard', max_epochs=None, batch_size=None, learning_rate=0.01, "
    "validation_size=0.1, early_stopping=True, checkpoint=None, seed=0, device='auto', progress=True)",
    "get_history": "(fit)",
    "get_latent": "(fit, adata=None)",
    "get_loadings": "(fit)",
    "get_loadings_uncertainty": "(fit)",
    "get_factors": "(fit)",
    "population_loadings": "(fit, adata, *, groupby, kind='specific', reference=None, sample_key=None, n_programs=3, "
    "seed=0)",
    "population_programs": "(fit, adata, *, groupby, kind='specific', reference=None, sample_key=None, n_programs=3, "
    "seed=0)",
    "get_program_scores": "(fit, adata, *, groupby, kind='specific', reference=None, sample_key=None, n_programs=3, "
    "seed=0)",
    "differential_expression": "(fit, adata, *, groupby=None, group1=None, group2=None, cells1=None, cells2=None, "
    "estimand='mean', sample_key=None, within=None, delta=0.25, batch_correction=True, fdr_target=0.05, "
    "n_samples=5000, seed=0)",
    "differential_contributions": "(fit, adata, *, groupby, group1, group2=None, sample_key=None)",
    "plot_differential_expression": "(de, *, group1=None, group2=None, n_labels=10, contributions=None, ax=None, "
    "figsize=None)",
    "associate_factors": "(fit, adata, *, key, sample_key=None, within=None)",
    "get_expression": "(fit, adata, *, genes, n_samples=25, library_size=10000.0, seed=0)",
    "top_genes": "(loadings, *, n=10, gmt=None)",
    "save_fit": "(fit, path)",
    "load_fit": "(path)",
    "add_ldvae": "(adata, fit, *, scores=None, de=None, groupby=None)",
    "from_scvi": "(model, adata=None)",
    "write_report": "(fit, adata, *, groupby, path, key=None, sample_key=None, embedding=None, n_genes=10, seed=0)",
}  # fmt: skip
PLOTS = {"plot_history", "plot_loadings", "plot_programs", "plot_differential_expression", "plot_association"}

# Which table a function returns.
SCHEMAS = {
    "get_history": "history",
    "get_factors": "factors",
    "get_loadings_uncertainty": "loadings_uncertainty",
    "population_loadings": "population_loadings",
    "population_programs": "population_programs",
    "differential_expression": "differential_expression",
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
        "differential_expression": differential_expression(fit, simulated, **by),
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


def test_latent_scores_have_unit_variance_with_their_uncertainty(fit):
    scores = get_latent(fit)
    assert list(scores.columns) == ["cell", *(f"Z_{k}" for k in range(1, 7))]
    assert scores["cell"].tolist() == fit.cells.tolist()
    values, rotation = scores.iloc[:, 1:].to_numpy(), fit.factors["rotation"]
    assert np.allclose(values.mean(0), 0, atol=1e-5)
    total = values.var(0, ddof=1) + (fit.latent_variance @ rotation**2).mean(0)
    assert np.allclose(total, 1, atol=1e-4)


def test_loadings_times_scores_are_the_decoded_expression_less_the_noise_of_loadings(fit, simulated):
    scores, loadings = get_latent(fit).iloc[:, 1:].to_numpy(), get_loadings(fit)
    assert list(loadings.columns) == ["gene", *(f"Z_{k}" for k in range(1, 7))]
    assert loadings["gene"].tolist() == fit.genes.tolist()
    log2 = (fit.latent_mean - fit.latent_mean.mean(0)) @ fit.weights["loadings"].T / np.log(2)
    shrunk = scores @ loadings.iloc[:, 1:].to_numpy().T
    log2, shrunk = (v - v.mean(1, keepdims=True) for v in (log2, shrunk))  # the softmax forgets what all genes share
    assert np.corrcoef(shrunk.ravel(), log2.ravel())[0, 1] > 0.98
    assert np.polyfit(log2.ravel(), shrunk.ravel(), 1)[0] == pytest.approx(1, abs=0.1)


def test_uncertainty_is_the_long_form_of_the_active_loadings(fit):
    long, loadings = get_loadings_uncertainty(fit), get_loadings(fit).set_index("gene")
    active = get_factors(fit).query("active")["factor"].tolist()
    assert long["factor"].unique().tolist() == active and len(long) == 150 * len(active)
    for factor, rows in long.groupby("factor"):
        assert rows.set_index("gene")["loading"].equals(loadings[factor].rename("loading"))
    assert (long["std"] > 0).all() and long["lfsr"].between(0, 1).all()


def test_history_is_nats_per_cell(fit):
    history = get_history(fit)
    assert history["epoch"].tolist() == list(range(1, 16))
    assert np.allclose(history["elbo_train"], history["reconstruction"] - history["kl"])


def test_top_genes_of_a_wide_table(fit):
    loadings = get_loadings(fit)
    found = top_genes(loadings, n=4)
    assert list(found.columns) == ["gene", "factor", "loading"] and len(found) == 24
    for factor in loadings.columns[1:]:
        rows = found[found["factor"] == factor]
        order = loadings[factor].abs().sort_values(ascending=False).index[:4]
        assert rows["gene"].tolist() == loadings["gene"][order].tolist()
        assert rows["loading"].tolist() == loadings[factor][order].tolist()


def test_top_genes_of_a_long_table():
    long = pd.DataFrame(
        {"population": list("aaabbb"), "program": "P", "gene": list("uvwuvw"), "loading": [1, -3, 2.0, -1, 0.5, 2]}
    )
    found = top_genes(long, n=2)
    assert found["gene"].tolist() == ["v", "w", "w", "u"] and found["population"].tolist() == list("aabb")
    assert isinstance(found.index, pd.RangeIndex) and list(found.columns) == list(long.columns)
    assert len(top_genes(long, n=10.0)) == 6


def test_expression_is_the_average_of_the_decoder_at_the_average_batch(fit, simulated):
    found = get_expression(fit, simulated, genes=["G3", "G1"], n_samples=2000, library_size=100)
    assert found["gene"].tolist() == ["G3"] * 600 + ["G1"] * 600
    assert found["cell"].tolist() == fit.cells.tolist() * 2
    rng, w = np.random.default_rng(5), fit.weights
    wanted = np.zeros((600, 2))
    for _ in range(2000):
        z = fit.latent_mean + np.sqrt(fit.latent_variance) * rng.standard_normal(fit.latent_mean.shape)
        rho = np.exp(z @ w["loadings"].T + w["intercept"])
        wanted += 100 * (rho / rho.sum(1, keepdims=True))[:, [3, 1]] / 2000
    assert np.allclose(found["expression"], wanted.T.ravel(), rtol=0.05)


def test_expression_follows_the_counts(fit, simulated):
    total = np.asarray(simulated.X.sum(0)).ravel()
    genes = simulated.var_names[np.argsort(-total)[:20]].tolist()
    found = get_expression(fit, simulated, genes=genes).pivot(index="gene", columns="cell", values="expression")
    counts = pd.DataFrame(simulated.X.toarray(), simulated.obs_names, simulated.var_names)[genes]
    share = 1e4 * counts.sum() / simulated.X.sum()
    error = np.abs(found.mean(axis=1)[genes] / share - 1)
    assert error.median() < 0.1 and error.max() < 0.3  # after a few epochs only


def test_same_seed_same_expression(fit, simulated):
    one, two, other = (get_expression(fit, simulated, genes="G1", n_samples=1, seed=s)["expression"] for s in (0, 0, 1))
    assert one.equals(two) and not one.equals(other)


def test_add_ldvae_returns_a_changed_copy(fit, simulated):
    cells = simulated[100:200].copy()
    found = add_ldvae(cells, fit)
    active = get_factors(fit).query("active")["factor"].tolist()
    assert found is not cells and "X_ldvae" not in cells.obsm
    assert np.allclose(found.obsm["X_ldvae"], get_latent(fit)[active].to_numpy()[100:200], atol=1e-3)
    assert np.array_equal(found.varm["ldvae_loadings"], get_loadings(fit)[active].to_numpy())
    assert found.uns["ldvae"]["factors"].tolist() == active
    assert np.allclose(found.uns["ldvae"]["variance_explained"], get_factors(fit)["variance_explained"][: len(active)])
    assert (found.X != cells.X).nnz == 0


def test_add_ldvae_survives_a_file_and_marks_genes_that_were_not_modelled(simulated, settings, tmp_path):
    genes = ["G7", "G5", *(f"G{j}" for j in range(20, 80))]
    fit = fit_ldvae(simulated, genes=genes, **settings)
    found = add_ldvae(simulated, fit)
    loadings = get_loadings(fit).set_index("gene")[list(found.uns["ldvae"]["factors"])]
    kept = found.var_names.isin(genes)
    assert kept.sum() == 62 and np.isnan(found.varm["ldvae_loadings"][~kept]).all()
    assert np.array_equal(found.varm["ldvae_loadings"][kept], loadings.loc[found.var_names[kept]].to_numpy())
    found.write_h5ad(tmp_path / "x.h5ad")
    again = ad.read_h5ad(tmp_path / "x.h5ad")
    assert np.array_equal(again.obsm["X_ldvae"], found.obsm["X_ldvae"])
    assert again.uns["ldvae"]["decoder"] == "linear"


def test_add_ldvae_reads_a_backed_file(fit, simulated, tmp_path):
    simulated.write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    try:
        found = add_ldvae(backed, fit)
        assert not found.isbacked and backed.isbacked and "X_ldvae" not in backed.obsm
        assert np.allclose(found.obsm["X_ldvae"], add_ldvae(simulated, fit).obsm["X_ldvae"])
    finally:
        backed.file.close()


def test_cells_in_a_zarr_store_are_those_in_memory(fit, simulated, tmp_path):
    zarr = pytest.importorskip("zarr")
    simulated.write_zarr(tmp_path / "x.zarr")
    read = ad.read_zarr(tmp_path / "x.zarr")
    stored = ad.io.sparse_dataset(zarr.open(str(tmp_path / "x.zarr"), mode="r")["X"])
    wanted = add_ldvae(simulated, fit)
    for cells in (read, ad.AnnData(stored, read.obs, read.var)):
        found = add_ldvae(cells, fit)
        assert np.array_equal(found.obsm["X_ldvae"], wanted.obsm["X_ldvae"])
        assert np.array_equal(found.X.toarray(), simulated.X.toarray()) and "X_ldvae" not in cells.obsm
        de = differential_expression(fit, cells, groupby="population")
        pd.testing.assert_frame_equal(de, differential_expression(fit, simulated, groupby="population"))


def test_add_ldvae_takes_program_scores_along_by_name(fit, simulated):
    scores = get_program_scores(fit, simulated, groupby="population", kind="between")
    found = add_ldvae(simulated, fit, scores=scores.sample(frac=1, random_state=0))
    for column in scores.columns[1:]:
        assert found.obs[column].tolist() == scores[column].tolist()
    with pytest.raises(TypeError, match=r"^`scores` must be the table that get_program_scores returns\.$"):
        add_ldvae(simulated, fit, scores=scores.drop(columns="cell"))
    with pytest.raises(ValueError, match=r"^`scores` lacks 597 of the 600 cells of `adata`\.$"):
        add_ldvae(simulated, fit, scores=scores[:3])


def test_association_without_samples_is_that_of_the_scores(fit, simulated):
    found = associate_factors(fit, simulated, key="population")
    assert set(found["unit"]) == {"cells"} and set(found["within"]) == {"all"}
    scores, mine = get_latent(fit), (simulated.obs["population"] == "P1").to_numpy()
    row = found[(found["factor"] == "Z_1") & (found["level"] == "P1")].iloc[0]
    effect = scores["Z_1"][mine].mean() - scores["Z_1"][~mine].mean()
    assert row["effect"] == pytest.approx(effect, rel=1e-6)
    auc = stats.mannwhitneyu(scores["Z_1"][mine], scores["Z_1"][~mine]).statistic / (mine.sum() * (~mine).sum())
    assert row["auc"] == pytest.approx(auc, abs=1e-9)
    assert row["n_cells"] == mine.sum()


def test_association_finds_populations_and_the_treatment_by_samples(fit, simulated):
    groups = associate_factors(fit, simulated, key="population")
    assert (groups.loc[groups["factor"] == "all", "pval"] < 1e-10).all()
    found = associate_factors(fit, simulated, key="treatment", sample_key="sample", within="population")
    assert set(found["within"]) == {"P0", "P1", "P2"} and set(found["unit"]) == {"samples"}
    assert (found["n_samples"] == 6).all() and set(found["level"]) == {"treated"}
    shuffled = simulated.copy()
    shuffled.obs["coin"] = np.random.default_rng(0).choice(["a", "b"], 600)
    null = associate_factors(fit, shuffled, key="coin")
    assert null["pval"].min() > 1e-3


def test_between_loadings_find_planted_markers(tables, simulated):
    truth = simulated.uns["truth"]["identity"]
    for p in range(3):
        own = tables["population_loadings"].query(f"population == 'P{p}'").set_index("gene")["loading"]
        contrast = pd.Series(truth[p] - np.delete(truth, p, 0).mean(0), simulated.var_names)[own.index]
        assert np.corrcoef(own, contrast)[0, 1] > 0.7


def test_program_scores_are_one_column_per_called_program(fit, simulated):
    programs = population_programs(fit, simulated, groupby="population", kind="between").query("called")
    scores = get_program_scores(fit, simulated, groupby="population", kind="between")
    assert list(scores.columns) == ["cell", *(programs["population"] + "_" + programs["program"])]
    assert scores["cell"].tolist() == fit.cells.tolist() and len(scores.columns) > 1
    with pytest.raises(ValueError, match=r"`kind` must be 'between', 'within' or 'specific' for scores"):
        get_program_scores(fit, simulated, groupby="population", kind="deviation")


FIT_ERRORS = [
    (dict(n_latent=0), "`n_latent` must be a whole number of at least 1 and at most 1000, not 0."),
    (dict(n_hidden=2.5), "`n_hidden` must be a whole number of at least 1, not 2.5."),
    (dict(n_layers=-1), "`n_layers` must be a whole number of at least 1 and at most 20, not -1."),
    (dict(dropout_rate=1.0), "`dropout_rate` must be a number at least 0 and less than 1, not 1."),
    (dict(gene_likelihood="normal"), "`gene_likelihood` must be one of 'nb', 'zinb', 'poisson', not 'normal'."),
    (dict(latent_distribution="lognormal"), "`latent_distribution` must be one of 'normal', 'ln', not 'lognormal'."),
    (dict(decoder="mlp"), "`decoder` must be one of 'linear', 'nonlinear', not 'mlp'."),
    (dict(loadings_prior=None), "`loadings_prior` must be one of 'ard', 'none', not None."),
    (dict(max_epochs=0), "`max_epochs` must be a whole number of at least 1 and at most 1000000, not 0."),
    (dict(batch_size=1), "`batch_size` must be a whole number of at least 2, not 1."),
    (dict(learning_rate=0), "`learning_rate` must be a number more than 0 and at most 1, not 0."),
    (dict(validation_size=0.95), "`validation_size` must be a number at least 0 and at most 0.9, not 0.95."),
    (dict(early_stopping="yes"), "`early_stopping` must be True or False, not 'yes'."),
    (dict(progress=1), "`progress` must be True or False, not 1."),
    (dict(seed=-1), "`seed` must be a whole number of at least 0 and at most 4294967295, not -1."),
    (dict(device="tpu"), "`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not 'tpu'."),
    (dict(batch_key="lane"), "`batch_key` must name a column of adata.obs ('population', 'batch', 'sample', "
     "'treatment'), not 'lane'."),
    (dict(covariate_keys=["batch"], batch_key="batch"), "`covariate_keys` must not repeat the `batch_key` 'batch'."),
    (dict(genes=["G1", "X"]), "1 of 2 genes are not in `adata`: 'X'."),
    (dict(layer="counts"), "`layer` must be a layer of `adata`, which has none, not 'counts'."),
]  # fmt: skip


@pytest.mark.parametrize(("kwargs", "message"), FIT_ERRORS)
def test_fit_says_what_is_wrong(simulated, kwargs, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        fit_ldvae(simulated, **{"max_epochs": 1, "progress": False} | kwargs)
    assert str(caught.value) == message


def test_fit_needs_cells_to_train_on(simulated):
    with pytest.raises(ValueError) as caught:
        fit_ldvae(simulated[:2].copy(), progress=False)
    assert str(caught.value) == (
        "`adata` must have more cells to train on than 2; lower `validation_size` or add cells."
    )


def test_a_few_cells_are_enough_to_run(simulated):
    fit = fit_ldvae(simulated[:5].copy(), max_epochs=2, n_latent=2, progress=False, device="cpu")
    assert np.isfinite(fit.latent_mean).all() and len(get_factors(fit)) == 2


def test_numbers_may_come_as_r_writes_them(simulated, settings):
    few = settings | {"max_epochs": 1}
    floats = {k: float(v) if type(v) is int else v for k, v in few.items()}
    one, two = fit_ldvae(simulated, **few), fit_ldvae(simulated, seed=0.0, n_layers=1.0, **floats)
    assert one.config == two.config and np.array_equal(one.latent_mean, two.latent_mean)


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
    (get_program_scores, dict(groupby="g")), (differential_expression, dict(groupby="g")),
    (differential_contributions, dict(groupby="g", group1="a")), (associate_factors, dict(key="g")),
    (get_expression, dict(genes="G1")),
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


def test_top_genes_says_what_is_wrong(fit):
    with pytest.raises(TypeError) as caught:
        top_genes(fit)
    assert str(caught.value) == (
        "`loadings` must be a table of get_loadings, get_loadings_uncertainty or population_loadings."
    )
    with pytest.raises(ValueError, match="`n` must be a whole number of at least 1, not 0"):
        top_genes(get_loadings(fit), n=0)


def test_cells_without_counts_of_the_modelled_genes_can_be_encoded(fit, simulated):
    new = simulated[:3].copy()
    new.X = sp.csr_matrix(np.eye(3, 150))
    assert np.isfinite(get_latent(fit, new).iloc[:, 1:]).all(axis=None)
