"""A fit survives its file, the file holds no code, and what is damaged, forged, foreign or too new is refused."""

from __future__ import annotations

import json
import os
import pickle
import resource
from dataclasses import asdict, fields, replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import ldvae
from ldvae import (
    fit_ldvae,
    get_factors,
    get_history,
    get_latent,
    get_loadings,
    get_loadings_uncertainty,
    load_fit,
    save_fit,
)
from ldvae.machine.files import write_arrays
from ldvae.model.config import Config, is_valid
from support import OLD, header_of, is_sentence, mutations, sentence, with_header

RAW = OLD[-1].read_bytes()


@pytest.mark.parametrize("path", OLD, ids=lambda p: p.stem)
def test_files_of_every_version_open(path):
    assert path.stat().st_size < 60_000
    fit = ldvae.load_fit(path)
    adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)
    assert fit.cells.tolist() == adata.obs_names.tolist() and fit.config.batch_key == "batch"
    assert len(ldvae.get_history(fit)) == 40 and ldvae.get_factors(fit)["active"].any()
    new = ldvae.get_latent(fit, adata[:60].copy())
    assert np.allclose(new.iloc[:, 1:], ldvae.get_latent(fit).iloc[:60, 1:], atol=1e-3)
    assert ldvae.differential_expression(fit, adata, groupby="population")["lfc_mean"].notna().any()


def test_a_file_of_this_version_is_kept():
    assert f"fit-{ldvae.__version__}.safetensors" in [path.name for path in OLD]


def refusal(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        ldvae.load_fit(path)
    assert is_sentence(caught.value), str(caught.value)
    return str(caught.value).removeprefix(f"'{path}' ")


def test_a_single_changed_bit_is_found(tmp_path):
    for at in (len(RAW) - 1, len(RAW) // 2, len(RAW) - 700):
        changed = bytearray(RAW)
        changed[at] ^= 1
        assert refusal(tmp_path, changed) == (
            "is not a fit or is damaged (its checksum does not agree with its content)."
        )


def test_a_changed_name_in_the_metadata_is_found(tmp_path):
    header, body = header_of(RAW)
    header["__metadata__"]["info"] = header["__metadata__"]["info"].replace('"seed": 0', '"seed": 1')
    assert "checksum" in refusal(tmp_path, with_header(header, body))


def test_a_future_file_is_told_from_a_damaged_one(tmp_path):
    header, body = header_of(RAW)
    for schema in ("3", "9" * 30):
        header["__metadata__"]["schema"] = schema
        assert refusal(tmp_path, with_header(header, body)) == (
            "was written by a newer ldvae; update this one to open it."
        )
    header["__metadata__"]["schema"] = "two"
    assert refusal(tmp_path, with_header(header, body)) == "is not a fit or is damaged (its schema is no number)."


@pytest.mark.parametrize("length", [2**63, 2**40, 10**9, 10**8])
def test_the_length_of_the_header_is_not_believed(tmp_path, length):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "is not a fit or is damaged" in refusal(tmp_path, length.to_bytes(8, "little") + RAW[8:])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_sizes_in_the_header_are_not_believed(tmp_path):
    header, body = header_of(RAW)
    for change in (
        {"shape": [10**12], "data_offsets": [0, 8 * 10**12]}, {"shape": [2**62, 8]}, {"shape": [-1]},
        {"data_offsets": [0, 2**63]}, {"data_offsets": [10, 4]}, {"dtype": "F8_E4M3"}, {"dtype": "pickle"},
    ):  # fmt: skip
        forged = header | {"lib_size": header["lib_size"] | change}
        assert "is not a fit or is damaged" in refusal(tmp_path, with_header(forged, body))


def forged(tmp_path, change):
    """A file with the right checksum, by someone who knows how."""
    arrays = load_file(OLD[-1])
    header, _ = header_of(OLD[-1].read_bytes())
    meta = {k: v for k, v in header["__metadata__"].items() if k != "checksum"}
    change(arrays, meta)
    write_arrays(tmp_path / "forged", arrays, meta, "fit")
    return tmp_path / "forged"


def config(**changed):
    return lambda arrays, meta: meta.update(config=json.dumps(json.loads(meta["config"]) | changed))


def names(name, values):
    return lambda arrays, meta: arrays.update({name: np.frombuffer(json.dumps(values).encode(), np.uint8)})


FORGED = {
    "no settings": lambda arrays, meta: meta.pop("config"),
    "settings are no JSON": lambda arrays, meta: meta.update(config="{"),
    "settings are a list": lambda arrays, meta: meta.update(config="[]"),
    "deep JSON": lambda arrays, meta: meta.update(info="[" * 100_000 + "]" * 100_000),
    "unknown setting": config(code="import os"),
    "genes": config(n_genes=31),
    "many hidden units": config(n_hidden=10**9),
    "many factors": config(n_latent=999),
    "many layers": config(n_layers=20, n_hidden=2**30),
    "negative": config(n_latent=-3),
    "boolean": config(n_layers=True),
    "likelihood": config(gene_likelihood="pickle"),
    "layer": config(layer=["x"]),
    "covariates": config(covariates=[{"key": "batch", "levels": ["a"] * 10**5, "share": []}]),
    "covariates of other kinds": config(covariates={"a": 1}),
    "missing weights": lambda arrays, meta: arrays.pop("weights.loadings"),
    "more weights": lambda arrays, meta: arrays.update({"weights.more": np.zeros(3)}),
    "unknown part": lambda arrays, meta: arrays.update({"payload": np.zeros(3)}),
    "shape": lambda arrays, meta: arrays.update({"latent_mean": np.zeros((120, 4), np.float32)}),
    "type": lambda arrays, meta: arrays.update({"latent_mean": np.zeros((120, 3), np.float64)}),
    "NaN": lambda arrays, meta: arrays["weights.loadings"].fill(np.nan),
    "infinite": lambda arrays, meta: arrays["lib_size"].fill(np.inf),
    "repeated genes": names("genes", ["G"] * 30),
    "genes are numbers": names("genes", list(range(30))),
    "genes are a word": names("genes", "G" * 30),
    "fewer cells": names("cells", ["a", "b"]),
    "no text": lambda arrays, meta: arrays.update(genes=np.full(9, 255, np.uint8)),
    "no training": lambda arrays, meta: meta.update(info="{}"),
    "a history of two lengths": lambda arrays, meta: arrays.update({"history.kl": np.zeros(3)}),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_file_is_refused(tmp_path, change):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = forged(tmp_path, change)
    with pytest.raises(ValueError) as caught:
        ldvae.load_fit(path)
    assert is_sentence(caught.value) and "is not a fit or is damaged (" in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_forging_is_what_makes_the_difference(tmp_path):
    assert ldvae.load_fit(forged(tmp_path, lambda arrays, meta: None)).config == ldvae.load_fit(OLD[-1]).config


def test_every_setting_is_looked_at():
    """A new field of `Config` has to be thought of in `load_fit`."""
    assert set(asdict(Config(n_genes=1))) == {
        "n_genes", "n_latent", "n_hidden", "n_layers", "dropout_rate", "gene_likelihood", "latent_distribution",
        "decoder", "loadings_prior", "closed", "layer", "batch_key", "size_factor_key", "size_factor_scale",
        "covariates", "encoder", "input_scale", "lib_size", "use_rep", "gene_symbols", "layer_norm",
    }  # fmt: skip
    assert not is_valid(replace(Config(n_genes=1), size_factor_scale="x"))


def test_files_with_hundreds_of_mutations_are_refused_or_whole(tmp_path):
    assert mutations(RAW, tmp_path / "x", 300, seed=0)["refused"] > 290


def test_special_files_are_no_fits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", tmp_path):
        with pytest.raises(ValueError, match="there is none at"):
            ldvae.load_fit(path)


def assert_same(one, two):
    assert [f.name for f in fields(one)] == [f.name for f in fields(two)]
    assert one.config == two.config and one.info == two.info
    for name in ("genes", "cells"):
        assert getattr(one, name).tolist() == getattr(two, name).tolist()
        assert getattr(two, name).dtype == object
    for name in ("lib_size", "latent_mean", "latent_variance"):
        a, b = getattr(one, name), getattr(two, name)
        assert a.dtype == b.dtype and np.array_equal(a, b), name
    for name in ("weights", "history", "factors"):
        a, b = getattr(one, name), getattr(two, name)
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].dtype == b[key].dtype and a[key].shape == b[key].shape, key
            assert np.array_equal(a[key], b[key], equal_nan=a[key].dtype.kind == "f"), key


@pytest.fixture
def path(fit, tmp_path):
    save_fit(fit, tmp_path / "fit.ldvae")
    return tmp_path / "fit.ldvae"


def test_a_fit_survives_its_file(fit, path):
    loaded = load_fit(str(path))
    assert_same(fit, loaded)
    assert repr(loaded) == repr(fit)


@pytest.mark.parametrize("read", [get_history, get_latent, get_loadings, get_loadings_uncertainty, get_factors])
def test_a_loaded_fit_gives_the_same_tables(fit, path, read):
    pd.testing.assert_frame_equal(read(load_fit(path)), read(fit), check_exact=True)


def test_a_loaded_fit_encodes_the_same(fit, path, simulated):
    new = simulated[:50].copy()
    pd.testing.assert_frame_equal(get_latent(load_fit(path), new), get_latent(fit, new), check_exact=True)


def test_a_non_linear_fit_with_awkward_names_survives(simulated, settings, tmp_path):
    adata = simulated.copy()
    adata.var_names = ["ﬁ–β 'γ\"\n", *adata.var_names[1:]]
    adata.obs["age"] = np.linspace(0, 1, adata.n_obs)
    fit = fit_ldvae(
        adata, covariate_keys=["age"], decoder="nonlinear", n_layers=2, genes=adata.var_names[:100].tolist(),
        **settings | {"max_epochs": 1},
    )  # fmt: skip
    save_fit(fit, tmp_path / "x")
    assert_same(fit, load_fit(tmp_path / "x"))


def test_the_fit_says_what_it_is(fit):
    n = int(fit.factors["active"].sum())
    assert repr(fit) == (
        f"Fit of 600 cells × 150 genes: {n} of 6 factors active, nb likelihood, linear decoder, "
        "15 epochs on cpu (finished)"
    )


def test_the_file_is_safetensors_and_no_pickle_is_opened(path, monkeypatch):
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert header["__metadata__"]["kind"] == "ldvae fit" and header["__metadata__"]["schema"] == "2"
    assert set(load_file(path)) == set(header) - {"__metadata__"}

    def refuse(*args, **kwargs):
        raise AssertionError("pickle")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    load_fit(path)


def test_there_must_be_a_file(tmp_path):
    path = tmp_path / "nothing"
    wanted = f"`path` must be a file written by save_fit, and there is none at {str(path)!r}."
    assert sentence(ValueError, load_fit, path) == wanted


def test_only_fits_are_saved(tmp_path):
    assert sentence(TypeError, save_fit, {"a": 1}, tmp_path / "x") == (
        "`fit` must be a Fit (from fit_ldvae or load_fit), not a dict."
    )


CUT = [RAW[: int(len(RAW) * share)] for share in (0.999, 0.5, 0.001)]


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file", pickle.dumps({"a": 1}), *CUT], ids=len)
def test_foreign_files_and_parts_of_a_fit(tmp_path, content):
    assert refusal(tmp_path, content).startswith("is not a fit or is damaged (")


def test_other_safetensors(tmp_path):
    path = tmp_path / "x"
    save_file({"a": np.zeros(3)}, path)
    assert sentence(ValueError, load_fit, path) == f"{str(path)!r} is not a fit: it was not written by save_fit."


def test_a_fit_cannot_be_reassigned(fit):
    with pytest.raises(AttributeError):
        fit.info = {}
