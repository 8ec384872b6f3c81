"""What cannot fit is refused before it is begun, with the number of bytes and what to do."""

from __future__ import annotations

import os

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import ldvae
from ldvae.machine import memory
from support import child, is_sentence


def refusal(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert is_sentence(caught.value)
    return str(caught.value)


def test_free_memory_is_that_of_the_machine():
    free = memory.free_memory()
    assert 1e8 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_machine_that_says_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "Path", lambda name: tmp_path / "nothing")
    assert memory.free_memory() > 1e8  # as on macOS
    monkeypatch.delattr(os, "sysconf")
    assert memory._machine() == memory._UNKNOWN  # as on Windows


def test_a_container_has_less(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert memory.free_memory() == 2e6
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory() > 1e8


def test_a_limit_of_the_process_counts():
    code = """
        import resource
        from ldvae.machine.memory import free_memory
        resource.setrlimit(resource.RLIMIT_AS, (2**40, resource.RLIM_INFINITY))
        many = free_memory()
        resource.setrlimit(resource.RLIMIT_AS, (5 * 10**9, resource.RLIM_INFINITY))
        print(many > 0, free_memory() <= 5e9)
    """
    assert child(code).stdout == "True True\n"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1e6)


def test_expression_of_all_genes_in_all_cells(fit, simulated, small):
    assert refusal(lambda: ldvae.get_expression(fit, simulated, genes=fit.genes.tolist())) == (
        "150 genes in 600 cells need about 5.4e+06 bytes of memory, and 1e+06 are free; "
        "name fewer `genes` or cells at a time."
    )
    assert len(ldvae.get_expression(fit, simulated, genes=["G1"])) == 600


def test_all_pairs_of_500_groups(fit, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 2.0**31)
    rng = np.random.default_rng(0)
    adata = ad.AnnData(
        sp.csr_matrix(1 + rng.poisson(1, (2000, 150)).astype(np.float32)),
        obs=pd.DataFrame({"group": [f"p{i % 500}" for i in range(2000)], "batch": "B0"}).set_axis(
            [f"c{i}" for i in range(2000)]
        ),
        var=pd.DataFrame(index=fit.genes),
    )
    assert refusal(lambda: ldvae.differential_expression(fit, adata, groupby="group", group2="pairwise")) == (
        "124,750 comparisons of 150 genes need about 3.74e+09 bytes of memory, and 2.15e+09 are free; "
        "name fewer groups in `group1`."
    )


def test_models_and_simulations_that_are_too_large(simulated, small):
    assert refusal(lambda: ldvae.fit_ldvae(simulated, n_hidden=10_000, progress=False)).startswith(
        "150 genes, `n_hidden` 10,000 and `batch_size` 128 need about "
    )
    assert "need about" in refusal(lambda: ldvae.simulate_counts(n_cells=100_000))
