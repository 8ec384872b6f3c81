"""Files are written all or not at all, whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ldvae import load_fit, save_fit
from ldvae.machine import files
from support import KILLED_SAVES, OLD, child, fingerprint_of_fit, is_sentence, sentence

RAW = OLD[-1].read_bytes()


def test_a_file_of_a_terabyte_of_holes_is_not_read(tmp_path):
    with open(tmp_path / "x", "wb") as file:
        file.truncate(2**42)
    with pytest.raises(ValueError, match="bytes of memory"):
        load_fit(tmp_path / "x")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(RAW)
    path.chmod(0)
    with pytest.raises((ValueError, OSError)) as caught:
        load_fit(path)
    assert is_sentence(caught.value)


FULL_DISK = """
    import resource, signal, sys, warnings
    import ldvae
    from ldvae.model import training as train
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # that the fit is old
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


def test_a_full_disk_is_a_sentence_and_keeps_the_old_file(tmp_path):
    """A limit on the size of files stands for the disk."""
    (tmp_path / "fit").write_bytes(RAW)
    assert child(FULL_DISK, OLD[-1], tmp_path).stderr.splitlines() == 3 * [
        f"`path`: the fit could not be written to '{tmp_path}/fit' (File too large).",
        f"`checkpoint`: the state of training could not be written to '{tmp_path}/state' (File too large).",
    ]
    assert (tmp_path / "fit").read_bytes() == RAW
    assert [p.name for p in tmp_path.iterdir()] == ["fit"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_that_is_full(tmp_path):
    (tmp_path / "x.part").symlink_to("/dev/full")
    (tmp_path / "x").write_bytes(RAW)
    with pytest.raises(OSError, match=r"could not be written to .* \(No space left on device\)"):
        save_fit(load_fit(OLD[-1]), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == RAW and os.listdir(tmp_path) == ["x"]


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs a folder in which nothing can be made")
def test_a_folder_in_which_nothing_can_be_written():
    with pytest.raises(ValueError) as caught:
        save_fit(load_fit(OLD[-1]), "/proc/self/fit")
    assert str(caught.value) == "`path` must be in a folder that can be written to, and '/proc/self' cannot."


def test_writing_reaches_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, call=call: (done.append(name), call(*a))[1])
    save_fit(load_fit(OLD[-1]), tmp_path / "x")
    assert done == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_a_link_leads_where_it_did(tmp_path):
    fit, there = load_fit(OLD[-1]), tmp_path / "there"
    there.mkdir()
    (tmp_path / "link").symlink_to(there / "fit")
    for _ in range(2):  # to nothing yet, then to a file
        save_fit(fit, tmp_path / "link")
        assert (tmp_path / "link").is_symlink() and fingerprint_of_fit(load_fit(there / "fit"))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["fit", "link", "there"]


def test_a_save_that_is_killed_leaves_the_old_file_or_the_new(tmp_path):
    shutil.copy(OLD[-1], tmp_path / "fit")
    assert json.loads(child(KILLED_SAVES, tmp_path / "fit", 20).stdout)["killed"] == 20


@pytest.fixture
def path(fit, tmp_path):
    save_fit(fit, tmp_path / "fit.ldvae")
    return tmp_path / "fit.ldvae"


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


def test_a_file_that_cannot_be_written_gets_a_sentence_and_leaves_nothing(fit, tmp_path):
    (tmp_path / "x").mkdir()  # a folder in the way
    assert sentence(ValueError, save_fit, fit, tmp_path / "x") == (
        f"`path` must be the name of a file, and {str(tmp_path / 'x')!r} is a folder."
    )
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
