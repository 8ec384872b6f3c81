"""A model of scvi-tools as a fit, without scvi-tools: from the numbers that tests/reference/test_scvi.py wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData
from safetensors import safe_open

import ldvae
from ldvae.fit import from_scvi as adapters
from ldvae.fit.cells import read_data
from ldvae.fit.posterior import rebuild
from ldvae.fit.record import check_fit
from ldvae.model.link import log_expression

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module", params=["linear", "nonlinear"])
def saved(request):
    """Its fit, the cells, and what scvi-tools computed for them at the posterior mean of z."""
    with safe_open(DATA / f"scvi_{request.param}.safetensors", framework="np") as file:
        meta = {name: json.loads(text) for name, text in file.metadata().items()}
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    state = {name[6:]: value.astype(float) for name, value in arrays.items() if name.startswith("state.")}
    genes = meta["registry"]["field_registries"]["X"]["state_registry"]["column_names"]
    counts = arrays["counts"].astype(np.float32)
    obs = pd.DataFrame(meta["obs"], index=[f"C{i}" for i in range(len(counts))])
    adata = AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=genes))
    history = {name: np.zeros(1) for name in ("elbo_train", "elbo_validation", "reconstruction", "kl")}
    history["epoch"] = np.ones(1, np.int64)
    fit = adapters._fit(state, meta["registry"], adata, **meta["settings"], history=history, measure=False, seed=0)
    return check_fit(fit), adata, {name[7:]: value for name, value in arrays.items() if name.startswith("wanted.")}


def test_expression_latent_and_libraries_are_those_of_scvi_tools(saved):
    fit, adata, wanted = saved
    cells, model = read_data(fit, adata), rebuild(fit)
    with torch.no_grad():
        logits = model.decode(torch.from_numpy(cells.mean), torch.from_numpy(cells.design))
    found = {
        "mean": cells.mean, "variance": cells.variance, "library": cells.counts.lib_size,
        "log_rho": log_expression(logits, closed=True).numpy(),
    }  # fmt: skip
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=2e-5, atol=2e-5, err_msg=name)
    assert np.array_equal(fit.latent_mean, cells.mean) and np.array_equal(fit.lib_size, cells.counts.lib_size)


def test_some_of_the_cells_get_the_same_posterior(saved):
    fit, adata, _ = saved
    pd.testing.assert_frame_equal(
        ldvae.get_latent(fit, adata[20:40].copy()), ldvae.get_latent(fit)[20:40].reset_index(drop=True), rtol=1e-4
    )


def test_covariates_are_centred_over_the_cells(saved):
    fit, adata, _ = saved
    assert np.abs(read_data(fit, adata).design.mean(0)).max() < 1e-6
    assert fit.config.covariates[0].key == "lane" and fit.config.covariates[0].levels == ["1", "3", "5"]


def test_it_survives_a_file_and_answers(saved, tmp_path):
    fit, adata, _ = saved
    ldvae.save_fit(fit, tmp_path / "fit")
    loaded = ldvae.load_fit(tmp_path / "fit")
    assert loaded.config == fit.config and "trained by scvi-tools" in repr(loaded)
    pd.testing.assert_frame_equal(ldvae.get_loadings(loaded), ldvae.get_loadings(fit))
    found = ldvae.differential_expression(loaded, adata, groupby="population", group1="P0")
    assert found["lfc_mean"].notna().any()
    added = ldvae.add_ldvae(adata, loaded)
    assert "seed" not in added.uns["ldvae"]  # that of scvi-tools is not known
    added.write_h5ad(tmp_path / "x.h5ad")
    ldvae.write_report(loaded, adata, groupby="population", path=tmp_path / "report.html")
    assert "The model was trained by scvi-tools" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_loadings_are_points_with_a_standard_deviation_from_the_counts(saved):
    fit, _, _ = saved
    found = ldvae.get_loadings_uncertainty(fit)
    assert fit.config.loadings_prior == "none" and "loadings_log_variance" not in fit.weights
    assert len(found) and (found["std"] > 0).all() and found["lfsr"].between(0, 1).all()


def test_it_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scvi", None)
    with pytest.raises(ImportError) as caught:
        ldvae.from_scvi("folder")
    assert str(caught.value) == "from_scvi needs scvi-tools, which is not installed: pip install scvi-tools."
