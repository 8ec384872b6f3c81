"""Files: nothing lost when writing fails, nothing taken in when a file is damaged, forged or too new."""

from __future__ import annotations

import json
import os
import resource
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import ldvae
from ldvae.fit import record as fit_module
from ldvae.machine.files import write_arrays
from ldvae.model.config import Config
from support import KILLED_SAVES, child, fingerprint_of_fit, is_sentence, mutations

OLD = sorted((Path(__file__).parent / "data").glob("fit-*.safetensors"))


@pytest.fixture(scope="module")
def raw():
    return OLD[-1].read_bytes()


def header_of(raw):
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def with_header(header, body):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


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


def test_a_single_changed_bit_is_found(tmp_path, raw):
    for at in (len(raw) - 1, len(raw) // 2, len(raw) - 700):
        changed = bytearray(raw)
        changed[at] ^= 1
        assert refusal(tmp_path, changed) == (
            "is not a fit or is damaged (its checksum does not agree with its content)."
        )


def test_a_changed_name_in_the_metadata_is_found(tmp_path, raw):
    header, body = header_of(raw)
    header["__metadata__"]["info"] = header["__metadata__"]["info"].replace('"seed": 0', '"seed": 1')
    assert "checksum" in refusal(tmp_path, with_header(header, body))


def test_a_future_file_is_told_from_a_damaged_one(tmp_path, raw):
    header, body = header_of(raw)
    for schema in ("2", "9" * 30):
        header["__metadata__"]["schema"] = schema
        assert refusal(tmp_path, with_header(header, body)) == (
            "was written by a newer ldvae; update this one to open it."
        )
    header["__metadata__"]["schema"] = "two"
    assert refusal(tmp_path, with_header(header, body)) == "is not a fit or is damaged (its schema is no number)."


@pytest.mark.parametrize("length", [2**63, 2**40, 10**9, 10**8])
def test_the_length_of_the_header_is_not_believed(tmp_path, raw, length):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "is not a fit or is damaged" in refusal(tmp_path, length.to_bytes(8, "little") + raw[8:])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_sizes_in_the_header_are_not_believed(tmp_path, raw):
    header, body = header_of(raw)
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
        "covariates", "encoder", "lib_size",
    }  # fmt: skip
    assert not fit_module._is_config(replace(Config(n_genes=1), size_factor_scale="x"))


def test_files_with_hundreds_of_mutations_are_refused_or_whole(tmp_path, raw):
    assert mutations(raw, tmp_path / "x", 300, seed=0)["refused"] > 290


def test_special_files_are_no_fits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", tmp_path):
        with pytest.raises(ValueError, match="there is none at"):
            ldvae.load_fit(path)


def test_a_file_of_a_terabyte_of_holes_is_not_read(tmp_path):
    with open(tmp_path / "x", "wb") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match="bytes of memory"):
        ldvae.load_fit(tmp_path / "x")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path, raw):
    path = tmp_path / "x"
    path.write_bytes(raw)
    path.chmod(0)
    with pytest.raises((ValueError, OSError)) as caught:
        ldvae.load_fit(path)
    assert is_sentence(caught.value)


FULL_DISK = """
    import resource, signal, sys
    import ldvae
    from ldvae.model import training as train
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fit, folder = ldvae.load_fit(sys.argv[1]), sys.argv[2]
    adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)
    train._SAVE_EVERY = -1.0
    settings = dict(n_latent=3, n_hidden=8, max_epochs=3, progress=False)
    for room in (10_000, 1_000, 0):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        for call in (
            lambda: ldvae.save_fit(fit, folder + "/fit"),
            lambda: ldvae.fit_ldvae(adata, checkpoint=folder + "/state", **settings),
        ):
            try:
                call()
            except OSError as error:
                sys.stderr.write(str(error) + "\\n")
"""


def test_a_full_disk_is_a_sentence_and_keeps_the_old_file(tmp_path, raw):
    """A limit on the size of files stands for the disk."""
    (tmp_path / "fit").write_bytes(raw)
    assert child(FULL_DISK, OLD[-1], tmp_path).stderr.splitlines() == 3 * [
        f"`path`: the fit could not be written to '{tmp_path}/fit' (File too large).",
        f"`checkpoint`: the state of training could not be written to '{tmp_path}/state' (File too large).",
    ]
    assert (tmp_path / "fit").read_bytes() == raw
    assert [p.name for p in tmp_path.iterdir()] == ["fit"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_that_is_full(tmp_path, raw):
    (tmp_path / "x.part").symlink_to("/dev/full")
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(OSError, match=r"could not be written to .* \(No space left on device\)"):
        ldvae.save_fit(ldvae.load_fit(OLD[-1]), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == raw and os.listdir(tmp_path) == ["x"]


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs a folder in which nothing can be made")
def test_a_folder_in_which_nothing_can_be_written():
    with pytest.raises(OSError) as caught:
        ldvae.save_fit(ldvae.load_fit(OLD[-1]), "/proc/self/fit")
    assert is_sentence(caught.value) and str(caught.value).startswith("`path`: the fit could not be written to")


def test_writing_reaches_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, call=call: (done.append(name), call(*a))[1])
    ldvae.save_fit(ldvae.load_fit(OLD[-1]), tmp_path / "x")
    assert done == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_a_link_leads_where_it_did(tmp_path, raw):
    fit, there = ldvae.load_fit(OLD[-1]), tmp_path / "there"
    there.mkdir()
    (tmp_path / "link").symlink_to(there / "fit")
    for _ in range(2):  # to nothing yet, then to a file
        ldvae.save_fit(fit, tmp_path / "link")
        assert (tmp_path / "link").is_symlink() and fingerprint_of_fit(ldvae.load_fit(there / "fit"))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["fit", "link", "there"]


def test_a_save_that_is_killed_leaves_the_old_file_or_the_new(tmp_path):
    shutil.copy(OLD[-1], tmp_path / "fit")
    assert json.loads(child(KILLED_SAVES, tmp_path / "fit", 20).stdout)["killed"] == 20
