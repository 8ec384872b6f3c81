"""A fit survives its file, the file holds no code, and files that are no fit are refused with one sentence."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

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
from ldvae.machine import files


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
    assert header["__metadata__"]["kind"] == "ldvae fit" and header["__metadata__"]["schema"] == "1"
    assert set(load_file(path)) == set(header) - {"__metadata__"}

    def refuse(*args, **kwargs):
        raise AssertionError("pickle")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    load_fit(path)


def test_saving_is_all_or_nothing(fit, path, monkeypatch):
    before = path.read_bytes()

    def crash(descriptor):
        raise OSError(28, "disk full")

    monkeypatch.setattr(files.os, "fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        save_fit(fit, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_an_existing_file_is_replaced(fit, path):
    other = replace(fit, info=fit.info | {"seed": 7})
    save_fit(other, path)
    assert load_fit(path).info["seed"] == 7 and list(path.parent.iterdir()) == [path]


def sentence(error, call, *args):
    with pytest.raises(error) as caught:
        call(*args)
    return str(caught.value)


def test_there_must_be_a_file(tmp_path):
    path = tmp_path / "nothing"
    wanted = f"`path` must be a file written by save_fit, and there is none at {str(path)!r}."
    assert sentence(ValueError, load_fit, path) == wanted
    assert sentence(ValueError, load_fit, tmp_path).startswith("`path` must be a file written by save_fit")


def test_the_folder_must_be_there(fit, tmp_path):
    assert sentence(ValueError, save_fit, fit, tmp_path / "no" / "x") == (
        f"`path` must be in an existing folder, and {str(tmp_path / 'no')!r} is not one."
    )


def test_a_file_that_cannot_be_written_gets_a_sentence_and_leaves_nothing(fit, tmp_path):
    (tmp_path / "x").mkdir()  # a folder in the way
    assert sentence(OSError, save_fit, fit, tmp_path / "x").startswith(
        f"`path`: the fit could not be written to {str(tmp_path / 'x')!r} ("
    )
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_only_fits_are_saved(tmp_path):
    assert sentence(TypeError, save_fit, {"a": 1}, tmp_path / "x") == (
        "`fit` must be a Fit (from fit_ldvae or load_fit), not a dict."
    )


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file", pickle.dumps({"a": 1})])
def test_foreign_files(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert sentence(ValueError, load_fit, path).startswith(f"{str(path)!r} is not a fit or is damaged (")


@pytest.mark.parametrize("share", [0.999, 0.5, 0.001])
def test_truncated_files(path, share):
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    assert sentence(ValueError, load_fit, path).startswith(f"{str(path)!r} is not a fit or is damaged (")


def test_other_safetensors(tmp_path):
    path = tmp_path / "x"
    save_file({"a": np.zeros(3)}, path)
    assert sentence(ValueError, load_fit, path) == f"{str(path)!r} is not a fit: it was not written by save_fit."


def test_a_newer_schema(path):
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"]["schema"] = "2"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    assert sentence(ValueError, load_fit, path) == (
        f"{str(path)!r} was written by a newer ldvae; update this one to open it."
    )


def test_a_fit_cannot_be_reassigned(fit):
    with pytest.raises(AttributeError):
        fit.info = {}
