"""`from_scvi` against scvi-tools itself. Run by `make test-scvi`; skipped where scvi-tools is not installed.

`python tests/reference/test_scvi.py` writes the numbers that tests/test_adapters.py checks without scvi-tools.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

import ldvae
from ldvae.fit.cells import read_data
from ldvae.fit.posterior import rebuild
from ldvae.model.link import log_expression

try:
    import scvi
except ImportError:
    pytest.skip("scvi-tools is not installed: make test-scvi", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # scvi-tools and lightning warn much
COVARIATES = dict(batch_key="lane", categorical_covariate_keys=["kit", "one"], continuous_covariate_keys=["age"])
LINEAR, NONLINEAR = scvi.model.LinearSCVI, scvi.model.SCVI


def cells(n_cells=300, n_genes=80):
    """Simulated counts with covariates of every kind."""
    adata = ldvae.simulate_counts(
        n_cells=n_cells, n_genes=n_genes, n_populations=3, program_size=8, n_identity=10, n_batches=3, seed=2
    )
    rng = np.random.default_rng(0)
    adata.obs["lane"] = adata.obs["batch"].cat.codes.to_numpy() * 2 + 1  # numbers, as scanpy users have them
    adata.obs["kit"] = rng.choice(["v2", "v3"], n_cells, p=[0.2, 0.8])
    adata.obs["one"] = "the same"
    adata.obs["age"] = rng.normal(50, 12, n_cells)
    return adata


def trained(kind, adata, covariates=None, max_epochs=5, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.settings.seed = 0
        kind.setup_anndata(adata, **(covariates or {}))
        model = kind(adata, **dict(n_hidden=16, n_latent=5) | settings)
        model.train(
            max_epochs=max_epochs, accelerator="cpu", batch_size=32, check_val_every_n_epoch=2,
            plan_kwargs={"lr": 5e-3}, enable_progress_bar=False,
        )  # fmt: skip
    return model


@torch.inference_mode()
def theirs(model, adata=None):
    """What the module of scvi-tools computes at the posterior mean of z."""
    module = model.module.eval()
    (tensors,) = model._make_data_loader(model._validate_anndata(adata), batch_size=10_000)
    inferred = module.inference(**module._get_inference_input(tensors))
    qz, ql = inferred["qz"], inferred["ql"]
    inferred["z"] = module.z_encoder.z_transformation(qz.loc)
    library = inferred["library"].exp()
    if ql is not None:
        library = torch.distributions.LogNormal(ql.loc, ql.scale).mean
        inferred["library"] = library.log()
    px = module.generative(**module._get_generative_input(tensors, inferred))["px"]
    values = {
        "mean": qz.loc, "variance": qz.variance, "library": library[:, 0], "log_rho": px.scale.log(),
        "expected": px.mean,
    }  # fmt: skip
    return {name: value.numpy() for name, value in values.items()}


@torch.no_grad()
def ours(fit, adata):
    found, model = read_data(fit, adata), rebuild(fit)
    z = model.latent(torch.from_numpy(found.mean))
    log_rho = log_expression(model.decode(z, torch.from_numpy(found.design)), fit.config.closed).numpy()
    return {"mean": found.mean, "variance": found.variance, "library": found.counts.lib_size, "log_rho": log_rho}


def assert_equal(mine, wanted):
    for name, value in mine.items():
        np.testing.assert_allclose(value, wanted[name], rtol=2e-5, atol=2e-5, err_msg=name)


BATCH = dict(batch_key="lane")
MODELS = {
    "linear, the defaults": (LINEAR, {}, {}),
    "linear, batch": (LINEAR, BATCH, dict(n_layers=2)),
    "linear, batch, zinb, ln": (LINEAR, BATCH, dict(gene_likelihood="zinb", latent_distribution="ln")),
    "linear, poisson, observed": (LINEAR, BATCH, dict(gene_likelihood="poisson", use_observed_lib_size=True)),
    "linear, no norm, bias": (LINEAR, BATCH, dict(use_batch_norm=False, bias=True)),
    "SCVI, the defaults": (NONLINEAR, {}, {}),
    "SCVI, covariates": (NONLINEAR, COVARIATES, dict(n_layers=2)),
    "SCVI, one category": (NONLINEAR, dict(categorical_covariate_keys=["one"], continuous_covariate_keys=["age"]), {}),
    "SCVI, encoded, latent library": (
        NONLINEAR, COVARIATES, dict(n_layers=2, encode_covariates=True, use_observed_lib_size=False),
    ),
    "SCVI, first layer only, ln": (
        NONLINEAR, COVARIATES,
        dict(n_layers=3, encode_covariates=True, deeply_inject_covariates=False, latent_distribution="ln"),
    ),
    "SCVI, no norm, nb": (NONLINEAR, COVARIATES, dict(use_batch_norm="none", gene_likelihood="nb")),
    "SCVI, layer norm": (
        NONLINEAR, COVARIATES, dict(use_layer_norm="both", use_batch_norm="none", encode_covariates=True, n_layers=2),
    ),
    "SCVI, layer norm of the encoder, latent library": (
        NONLINEAR, COVARIATES, dict(use_layer_norm="encoder", use_observed_lib_size=False),
    ),
    "SCVI, a dispersion per batch": (NONLINEAR, BATCH, dict(dispersion="gene-batch")),
    "SCANVI": (scvi.model.SCANVI, dict(labels_key="population", unlabeled_category="none", **BATCH), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_everything_decoded_and_encoded_is_that_of_scvi_tools(name):
    kind, covariates, settings = MODELS[name]
    adata = cells()
    model = trained(kind, adata, covariates, **settings)
    fit = ldvae.from_scvi(model)
    assert_equal(ours(fit, adata), theirs(model))
    assert fit.cells.tolist() == adata.obs_names.tolist() and fit.genes.tolist() == adata.var_names.tolist()
    # cells that were not trained on
    new = ldvae.simulate_counts(n_cells=50, n_genes=80, n_populations=3, program_size=8, n_identity=10, seed=9)
    new.obs = (
        adata.obs[:50].set_index(new.obs_names).drop(columns=adata.obs.columns[adata.obs.columns.str.match("_scvi")])
    )
    assert_equal(ours(fit, new.copy()), theirs(model, new))


@pytest.mark.parametrize("name", ["linear, batch", "SCVI, covariates"])
def test_normalized_expression_in_another_batch(name):
    kind, covariates, settings = MODELS[name]
    adata = cells()
    model = trained(kind, adata, covariates, **settings)
    fit = ldvae.from_scvi(model)
    with torch.no_grad():  # a posterior without variance, since get_normalized_expression draws from it
        model.module.z_encoder.var_encoder.bias -= 1e3
        model.module.z_encoder.var_eps = 1e-14
    wanted = model.get_normalized_expression(transform_batch=5, return_numpy=True)
    moved = adata.copy()
    moved.obs["lane"] = 5
    np.testing.assert_allclose(np.exp(ours(fit, moved)["log_rho"]), wanted, rtol=1e-4)


def test_loadings_are_the_columns_of_get_loadings():
    model = trained(LINEAR, adata := cells(), BATCH)
    fit = ldvae.from_scvi(model)
    np.testing.assert_allclose(fit.weights["loadings"], model.get_loadings(), rtol=1e-5, atol=1e-6)
    assert ldvae.get_latent(fit)["cell"].tolist() == adata.obs_names.tolist()


@pytest.mark.parametrize("name", ["linear, batch, zinb, ln", "SCVI, the defaults"])
def test_excess_zeros_keep_the_expected_total_of_each_gene(name):
    kind, covariates, settings = MODELS[name]
    model = trained(kind, cells(), covariates, **settings)
    fit, wanted = ldvae.from_scvi(model), theirs(model)
    mu = np.exp(wanted["log_rho"]) * wanted["library"][:, None]
    np.testing.assert_allclose(
        mu.sum(0) / (1 + np.exp(fit.weights["zero_logit"])), wanted["expected"].sum(0), rtol=1e-4
    )


def test_history_has_our_signs_and_every_epoch():
    model = trained(LINEAR, cells(), max_epochs=4)
    history = ldvae.get_history(ldvae.from_scvi(model))
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(history["elbo_train"], history["reconstruction"] - history["kl"], rtol=1e-4)
    assert (history["elbo_train"] < 0).all() and history["elbo_validation"].isna().tolist() == [True, False] * 2


@pytest.mark.parametrize(
    ("kind", "covariates", "settings"),
    [(LINEAR, BATCH, {}), (NONLINEAR, COVARIATES, dict(n_layers=2, gene_likelihood="zinb"))],
)
def test_every_question_is_answered(kind, covariates, settings, tmp_path):
    adata = cells(600)
    fit = ldvae.from_scvi(trained(kind, adata, covariates, max_epochs=60, **settings))
    ldvae.save_fit(fit, tmp_path / "fit")
    fit = ldvae.load_fit(tmp_path / "fit")
    loadings = ldvae.get_loadings_uncertainty(fit)
    assert ldvae.get_factors(fit)["active"].sum() >= 2 and (loadings["std"] > 0).all()
    key = dict(groupby="population")
    truth = adata.uns["truth"]["means"]
    de = ldvae.differential_expression(fit, adata, **key, group1="P0", group2="P1")
    tested = de["lfc_mean"].notna().to_numpy()
    assert np.corrcoef(de["lfc_mean"][tested], (truth[0] - truth[1])[tested])[0, 1] > 0.9
    between = ldvae.population_loadings(fit, adata, **key, kind="between")
    assert (between.groupby("population").size() > 0).all() and between["std"].gt(0).all()
    assert len(ldvae.population_programs(fit, adata, **key, kind="within"))
    assert np.isfinite(ldvae.differential_contributions(fit, adata, **key, group1="P0")["contribution"]).all()
    found = ldvae.associate_factors(fit, adata, key="population")
    assert (found.query("factor == 'all'")["pval"] < 1e-6).all()
    assert ldvae.add_ldvae(adata, fit).obsm["X_ldvae"].shape == (600, ldvae.get_factors(fit)["active"].sum())


def test_a_saved_folder_and_cells_given_apart(tmp_path):
    adata = cells()
    adata.layers["raw"], adata.X = adata.X, adata.X.log1p()
    model = trained(LINEAR, adata, dict(BATCH, layer="raw"))
    fit = ldvae.from_scvi(model)
    model.save(str(tmp_path / "alone"))
    model.save(str(tmp_path / "whole"), save_anndata=True)
    clean = cells()
    clean.layers["raw"], clean.X = clean.X, clean.X.log1p()
    other = ad.AnnData(clean.layers["raw"][:, :2].copy(), clean.obs[[]], pd.DataFrame(index=["X1", "X2"]))
    other.layers["raw"] = other.X
    before = (clean.obs.columns.tolist(), list(clean.uns))
    clean.write_h5ad(tmp_path / "cells.h5ad")
    for found in (
        ldvae.from_scvi(tmp_path / "whole"),
        ldvae.from_scvi(str(tmp_path / "alone"), clean),
        ldvae.from_scvi(tmp_path / "alone", ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")),
        ldvae.from_scvi(model, clean),
        ldvae.from_scvi(model, more := ad.concat([clean[:, ::-1], other], axis=1, merge="first")),
        ldvae.from_scvi(tmp_path / "alone", more),
    ):
        assert found.config == fit.config and found.config.layer == "raw"
        assert np.array_equal(found.latent_mean, fit.latent_mean)
    assert (clean.obs.columns.tolist(), list(clean.uns)) == before
    with pytest.raises(ValueError, match=r"^2 of 80 genes are not in `adata`: 'G0', 'G1'\.$"):
        ldvae.from_scvi(tmp_path / "alone", clean[:, 2:])
    with pytest.raises(TypeError, match=r"^`adata` must be an AnnData, not a builtins\.str\.$"):
        ldvae.from_scvi(tmp_path / "alone", "cells.h5ad")
    with pytest.raises(ValueError) as caught:
        ldvae.from_scvi(tmp_path / "alone")
    folder = str(tmp_path / "alone")
    assert str(caught.value) == f"{folder!r} was saved without its cells: give those it was trained on as `adata`."
    with pytest.raises(ValueError) as caught:
        ldvae.from_scvi(tmp_path)
    assert str(caught.value) == f"`model` must be the folder of a saved model, and {str(tmp_path)!r} holds no model.pt."


def test_a_minified_model_wants_its_counts():
    adata = cells()
    model = trained(NONLINEAR, adata.copy())
    fit = ldvae.from_scvi(model)
    model.adata.obsm["qzm"], model.adata.obsm["qzv"] = model.get_latent_representation(return_dist=True)
    model.minify_adata(use_latent_qzm_key="qzm", use_latent_qzv_key="qzv")
    with pytest.raises(ValueError) as caught:
        ldvae.from_scvi(model)
    assert str(caught.value) == "`model` holds no counts: give the cells it was trained on as `adata`."
    assert np.array_equal(ldvae.from_scvi(model, adata).latent_mean, fit.latent_mean)


REFUSED = {
    "dispersion='gene-cell', which ldvae does not have; train it with dispersion='gene'.":
        dict(dispersion="gene-cell"),
    "gene_likelihood='normal', which ldvae does not have; train it with gene_likelihood='nb'.":
        dict(gene_likelihood="normal"),
    "an embedding of batches, which ldvae does not have; train it with batch_representation='one-hot'.":
        dict(batch_representation="embedding"),
    "log_variational=False, which ldvae does not have; train it with log_variational=True.":
        dict(log_variational=False),
    "a variance of its own in the encoder, which ldvae does not have; train it with the default var_activation and "
    "var_eps.": dict(var_activation=torch.nn.functional.softplus),
}  # fmt: skip


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_has_no_counterpart_is_refused(sentence):
    model = trained(NONLINEAR, cells(100), BATCH, max_epochs=1, **REFUSED[sentence])
    with pytest.raises(ValueError) as caught:
        ldvae.from_scvi(model)
    assert str(caught.value) == f"`model` was trained with {sentence}"


def test_size_factors_other_models_and_untrained_ones_are_refused(tmp_path):
    adata = cells(100)
    model = trained(NONLINEAR, adata, dict(size_factor_key="age"), max_epochs=1)
    with pytest.raises(
        ValueError, match="was trained with a size_factor_key, which ldvae does not have; train it with"
    ):
        ldvae.from_scvi(model)
    other = trained(scvi.model.AUTOZI, adata, max_epochs=1)
    with pytest.raises(TypeError) as caught:
        ldvae.from_scvi(other)
    assert str(caught.value) == (
        "`model` must be a trained scvi.model.LinearSCVI, scvi.model.SCVI or scvi.model.SCANVI, or the folder of a "
        "saved one, not a AUTOZI."
    )
    other.save(str(tmp_path / "other"), save_anndata=True)
    with pytest.raises(
        TypeError, match=r"^`model` must be a saved LinearSCVI, SCVI or SCANVI, and .* holds a AUTOZI\.$"
    ):
        ldvae.from_scvi(tmp_path / "other")
    LINEAR.setup_anndata(adata)
    with pytest.raises(ValueError) as caught:
        ldvae.from_scvi(LINEAR(adata))
    assert str(caught.value) == "`model` must be trained: call its train() first."


def test_models_after_surgery(tmp_path):
    """A reference with labels, and a query of a batch that it has not seen (scArches)."""
    reference = cells()
    model = trained(
        NONLINEAR, reference, BATCH, use_layer_norm="both", use_batch_norm="none", encode_covariates=True, n_layers=2
    )
    labelled = scvi.model.SCANVI.from_scvi_model(model, labels_key="population", unlabeled_category="none")
    labelled.train(2, accelerator="cpu", enable_progress_bar=False)
    query = cells(120)
    query.obs_names, query.obs["lane"] = "q" + query.obs_names, 7
    for kind, trained_on in ((NONLINEAR, model), (scvi.model.SCANVI, labelled)):
        own = query.copy()
        moved = kind.load_query_data(own, trained_on)
        moved.train(2, accelerator="cpu", enable_progress_bar=False)
        fit = ldvae.from_scvi(moved)
        assert_equal(ours(fit, own), theirs(moved))
        assert fit.config.batch.levels == ["1", "3", "5", "7"]
        moved.save(str(tmp_path / kind.__name__))
        again = ldvae.from_scvi(tmp_path / kind.__name__, own)
        assert_equal(ours(again, own), theirs(moved))


def test_the_guide_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).parents[2] / "docs" / "from-scvi.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        exec(block, names)
    assert set(names["markers"]["population"]) == {"P0", "P1", "P2"} and names["de"]["is_de"].any()


def plain(value):
    """A registry of scvi-tools as JSON."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def write_fixture(path, kind, covariates, **settings):
    adata = cells(240, 30)
    model = trained(kind, adata, covariates, max_epochs=80, n_hidden=8, n_latent=3, **settings)
    state = {k: v.numpy() for k, v in model.module.state_dict().items() if not k.endswith("num_batches_tracked")}
    wanted = {k: np.float32(v) for k, v in theirs(model).items() if k != "expected"}
    counts = {"counts": np.int16(adata.X.toarray())}
    meta = {
        "registry": {k: plain(model.registry_[k]) for k in ("setup_args", "field_registries", "scvi_version")},
        "settings": {k: getattr(model.module, k) for k in ("gene_likelihood", "latent_distribution")},
        "obs": {k: adata.obs[k].tolist() for k in ("lane", "kit", "one", "age", "population")},
    }
    tensors = counts | {f"state.{k}": v for k, v in state.items()} | {f"wanted.{k}": v for k, v in wanted.items()}
    save_file(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, {k: json.dumps(v) for k, v in meta.items()}
    )


if __name__ == "__main__":
    folder = Path(__file__).parents[1] / "data"
    write_fixture(folder / "scvi_linear.safetensors", LINEAR, BATCH)
    write_fixture(
        folder / "scvi_nonlinear.safetensors", NONLINEAR, COVARIATES, n_layers=2, encode_covariates=True,
        use_observed_lib_size=False,
    )  # fmt: skip
    sys.stdout.write(f"{folder}\n")
