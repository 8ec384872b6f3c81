"""Counts too many for memory are kept in a temporary file, and nothing else is different."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import ldvae
from ldvae.counts.reader import read_counts
from ldvae.machine import sparse as store
from ldvae.machine.sparse import on_disk, row_blocks, sums_of_rows
from support import gathered

RNG = np.random.default_rng(0)
DENSE = RNG.poisson(0.4, (700, 30)).astype(np.float32)
DENSE[5] = 0


@pytest.fixture
def small_memory(monkeypatch):
    """As if a few kilobytes were free."""
    monkeypatch.setattr(store, "free_memory", lambda: 4000.0)


@pytest.mark.parametrize("limit", [2**31 - 1, 100])
def test_what_is_gathered_on_disk_is_what_was_given(monkeypatch, limit):
    monkeypatch.setattr(store, "_ENTRIES", 1000)
    monkeypatch.setattr(store, "_NARROW", limit)
    found = gathered(monkeypatch, DENSE, 0.0)
    assert on_disk(found) and found.indices.dtype == found.indptr.dtype == (np.int32 if limit > 100 else np.int64)
    assert np.array_equal(found.toarray(), DENSE)
    assert np.array_equal(found[[3, 699, 3]].toarray(), DENSE[[3, 699, 3]])


def test_little_stays_in_memory(monkeypatch):
    found = gathered(monkeypatch, DENSE, 0.25)
    assert not on_disk(found) and np.array_equal(found.toarray(), DENSE)


def test_the_file_vanishes_with_the_matrix(monkeypatch):
    open_files = lambda: sum("deleted" in os.readlink(p) for p in Path("/proc/self/fd").glob("*") if p.exists())  # noqa: E731
    if not Path("/proc/self/maps").is_file():
        pytest.skip("needs /proc")
    mapped = lambda: Path("/proc/self/maps").read_text().count("(deleted)")  # noqa: E731
    before = mapped(), open_files()
    found = gathered(monkeypatch, DENSE, 0.0)
    assert mapped() > before[0]
    del found
    gc.collect()
    assert (mapped(), open_files()) == before


def test_a_full_disk_is_one_sentence(monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(
        OSError, match=r"do not fit into memory, and .* has 10 bytes left for them; set .* TMPDIR"
    ) as caught:
        gathered(monkeypatch, DENSE, 0.0)
    assert "\n" not in str(caught.value)


def test_blocks_cover_all_rows(monkeypatch):
    matrix = sp.csr_matrix(DENSE)
    for entries in (1, 50, 10**9):
        blocks = row_blocks(matrix, entries)
        assert np.array_equal(np.concatenate([np.arange(700)[b] for b in blocks]), np.arange(700))
    assert [b.stop - b.start for b in row_blocks(sp.csr_matrix((3, 2)))] == [3]


def test_sums_of_rows_are_the_product(monkeypatch):
    monkeypatch.setattr(store, "_ENTRIES", 500)
    weight = RNG.normal(size=(700, 3))
    np.testing.assert_allclose(sums_of_rows(sp.csr_matrix(DENSE), weight), weight.T @ DENSE, rtol=1e-6, atol=1e-9)


def test_a_fit_from_disk_answers_like_one_from_memory(fit, simulated, settings, tmp_path, small_memory):
    simulated.write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    assert on_disk(read_counts(backed).matrix)
    ask = {"groupby": "population"}
    of_disk = ldvae.fit_ldvae(backed, batch_key="batch", **settings)
    quality = [ldvae.get_history(f)["elbo_validation"].max() for f in (of_disk, fit)]
    assert quality[0] == pytest.approx(quality[1], rel=0.01)
    for question in (
        lambda x: ldvae.differential_expression(of_disk, x, **ask),
        lambda x: ldvae.differential_expression(of_disk, x, **ask, estimand="cell", n_samples=100),
        lambda x: ldvae.population_loadings(of_disk, x, **ask, kind="between"),
        lambda x: ldvae.population_programs(of_disk, x, **ask, kind="within"),
        lambda x: ldvae.get_latent(of_disk, x),
    ):
        pd.testing.assert_frame_equal(question(backed), question(simulated), rtol=1e-5)
    backed.file.close()
