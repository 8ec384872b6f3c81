"""Nothing behind the user's back: no global state, no network, the same numbers in any process, thread or order."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch

import ldvae
from ldvae.model import training as train
from support import MANY_FITS, child, fingerprint, fingerprint_of_fit

QUICK = dict(n_latent=3, n_hidden=8, max_epochs=40, batch_size=32, progress=False, device="cpu", seed=4)


@pytest.fixture(scope="module")
def adata():
    return ldvae.simulate_counts(
        n_cells=240, n_genes=40, n_populations=2, program_size=8, n_identity=8, n_samples=4, seed=1
    )


def work(adata):
    """Everything that computes, as one fingerprint."""
    fit = ldvae.fit_ldvae(adata, batch_key="batch", **QUICK)
    ask = dict(groupby="population")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tables = [
            ldvae.get_latent(fit, adata[:50].copy()),
            ldvae.get_expression(fit, adata, genes=["G1", "G2"]),
            *(ldvae.population_loadings(fit, adata, kind=kind, **ask) for kind in ("between", "within", "deviation")),
            ldvae.population_programs(fit, adata, kind="specific", **ask),
            ldvae.get_program_scores(fit, adata, kind="within", **ask),
            ldvae.get_program_map(fit, adata, **ask),
            ldvae.differential_expression(fit, adata, **ask),
            ldvae.differential_expression(fit, adata, estimand="cell", n_samples=200, **ask),
            ldvae.differential_contributions(fit, adata, group1="P0", **ask),
            ldvae.associate_factors(fit, adata, key="population", sample_key="sample"),
        ]
    simulated = ldvae.simulate_counts(n_cells=30, n_genes=20, program_size=4, seed=3)
    return fingerprint([fingerprint_of_fit(fit), *tables, fingerprint(simulated)])


@pytest.fixture(scope="module")
def wanted(adata):
    return work(adata)


def state():
    """All that is global and not ours."""
    return {
        "random": hash(random.getstate()),
        "numpy": hash(str(np.random.get_state())),  # noqa: NPY002
        "torch": hash(torch.random.get_rng_state().numpy().tobytes()),
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "gradients": torch.is_grad_enabled(),
        "dtype": (torch.get_default_dtype(), torch.empty(0).device),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark),
        "floating point errors": str(np.geterr()),
        "print options": str(np.get_printoptions()),
        "warnings": str([str(f) for f in warnings.filters]),
        "logging": (len(logging.root.handlers), logging.root.level, logging.root.disabled),
        "streams": (id(sys.stdout), id(sys.stderr)),
        "python threads": threading.active_count(),
    }


def test_nothing_global_is_changed(adata, wanted):
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    torch.manual_seed(1)
    before = state()
    assert work(adata) == wanted
    after = state()
    assert {k: (before[k], after[k]) for k in before if before[k] != after[k]} == {}


def test_nothing_global_is_used(adata, wanted):
    """Other global seeds, other numbers of threads left aside, other numpy errors: the same numbers."""
    np.random.seed(99)  # noqa: NPY002
    random.seed(99)
    torch.manual_seed(99)
    with np.errstate(all="ignore"), torch.no_grad():
        torch.set_grad_enabled(True)
        assert work(adata) == wanted


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def strict_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


STRICT = {
    "numpy": lambda: np.errstate(all="raise"),
    "warnings": strict_warnings,
    "torch": deterministic,
    "torch's anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "pandas": lambda: pd.option_context("mode.copy_on_write", True),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", STRICT)
def test_strict_settings_are_borne(adata, wanted, name):
    with STRICT[name]():
        assert work(adata) == wanted


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_gradients_that_are_off_are_on_for_training_alone(adata, wanted, without):
    with without():
        before = state()
        assert work(adata) == wanted
        assert state() == before


def test_gradients_that_an_interrupt_left_off_are_on_again(adata, monkeypatch):
    """Ctrl-C may fall into the exit of `torch.no_grad`, where gradients were not yet on again."""
    held_out = train._held_out

    def interrupted(*args):
        found = held_out(*args)
        if seen:
            torch.set_grad_enabled(False)
            raise KeyboardInterrupt
        seen.append(found)
        return found

    seen = []
    monkeypatch.setattr(train, "_held_out", interrupted)
    assert ldvae.fit_ldvae(adata, **QUICK).info["stopped"] == "interrupted"
    assert torch.is_grad_enabled()


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


FOREIGN = {
    "of torch.float64; call torch.set_default_dtype(torch.float32)": lambda: default_dtype(torch.float64),
    "on meta; call torch.set_default_device('cpu')": lambda: torch.device("meta"),
    "in half precision; leave the block of torch.autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("said", FOREIGN)
def test_tensors_of_another_kind_are_refused(adata, tmp_path, said):
    fit = ldvae.fit_ldvae(adata, **QUICK)
    kinds = dict(groupby="population", kind="between")
    de = dict(groupby="population")
    with FOREIGN[said]():
        for ask in (
            lambda: ldvae.fit_ldvae(adata, **QUICK),
            lambda: ldvae.get_latent(fit, adata[:50].copy()),
            lambda: ldvae.get_expression(fit, adata, genes=["G1"]),
            lambda: ldvae.population_loadings(fit, adata, **kinds),
            lambda: ldvae.population_loadings(fit, adata, **kinds | {"kind": "within"}),
            lambda: ldvae.differential_expression(fit, adata, **de),
            lambda: ldvae.differential_expression(fit, adata, estimand="cell", **de),
            lambda: ldvae.differential_contributions(fit, adata, group1="P0", **de),
        ):
            with pytest.raises(RuntimeError) as caught:
                ask()
            assert str(caught.value) == f"torch must make new tensors of 32-bit numbers on the CPU, not {said} first."
        ldvae.save_fit(fit, tmp_path / "fit")
        assert ldvae.get_loadings(ldvae.load_fit(tmp_path / "fit")).equals(ldvae.get_loadings(fit))


def test_a_process_without_standard_error_shows_no_progress(adata, monkeypatch):
    """As a program of Windows without a console."""
    monkeypatch.setattr("sys.stderr", None)
    fit = ldvae.fit_ldvae(adata, **QUICK | {"progress": True})
    assert len(ldvae.population_loadings(fit, adata, groupby="population", kind="within"))


def test_global_random_state_is_never_drawn_from(adata, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("global random state")

    for name in ("rand", "randn", "random", "normal", "permutation", "choice", "shuffle", "randint", "seed"):
        monkeypatch.setattr(np.random, name, refuse)
    for name in ("random", "shuffle", "choice", "seed", "randint"):
        monkeypatch.setattr(random, name, refuse)
    monkeypatch.setattr(torch, "manual_seed", refuse)
    monkeypatch.setattr(torch, "set_num_threads", refuse)
    monkeypatch.setattr(logging, "basicConfig", refuse)
    work(adata)


def test_the_same_after_other_work(adata, wanted):
    other = ldvae.simulate_counts(n_cells=100, n_genes=20, program_size=4, seed=7)
    ldvae.fit_ldvae(other, **QUICK | {"seed": 5, "max_epochs": 2})
    assert work(adata) == wanted


FRESH = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import socket
    import test_side_effects as here
    import ldvae

    reached = []
    def audit(event, arguments):
        if event.startswith("socket.") or event in ("urllib.Request", "subprocess.Popen", "os.system"):
            reached.append(event)
    sys.addaudithook(audit)
    adata = ldvae.simulate_counts(
        n_cells=240, n_genes=40, n_populations=2, program_size=8, n_identity=8, n_samples=4, seed=1
    )
    print(here.work(adata), reached)
"""


def test_the_same_in_a_fresh_process_that_reaches_for_no_network(adata, wanted):
    """Threads are part of what has to be the same: both take as many as torch has here."""
    threads = str(torch.get_num_threads())
    said = child(FRESH, __file__.rsplit("/", 1)[0], OMP_NUM_THREADS=threads).stdout.split(maxsplit=1)
    assert said == [wanted, "[]\n"]


def test_no_socket_is_opened(adata, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("network")

    monkeypatch.setattr("socket.socket", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    work(adata)


def test_fits_in_threads(adata, wanted):
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, [adata, adata])) == [wanted, wanted]


def fit_only(adata):
    return fingerprint_of_fit(ldvae.fit_ldvae(adata, **QUICK | {"max_epochs": 3}))


FORKED = """
    import multiprocessing, sys
    sys.path.insert(0, sys.argv[1])
    import test_side_effects as here
    import ldvae
    import torch

    def main():
        adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)
        wanted = here.fit_only(adata)  # torch has been used before the fork
        for method, start in (("fork", None), ("fork", torch.set_num_threads), ("spawn", None)):
            with multiprocessing.get_context(method).Pool(2, start, () if start is None else (1,)) as pool:
                try:
                    found = pool.map_async(here.fit_only, [adata, adata]).get(timeout=120)
                    print(method, set(found) == {wanted} if start is None else len(set(found)))
                except RuntimeError as error:
                    print(method, error)

    if __name__ == "__main__":
        main()
"""
REFUSED = (
    "fork This is a forked process, in which torch would hang with several threads; start the worker afresh ('spawn', "
    "or a cluster of new processes), or call torch.set_num_threads(1) in it first."
)


@pytest.mark.parametrize(("threads", "said"), [(1, "fork True"), (2, REFUSED)])
def test_fits_in_forked_and_spawned_workers(threads, said):
    found = child(FORKED, __file__.rsplit("/", 1)[0], OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive").stdout
    assert found.splitlines() == [said, "fork 1", "spawn True"]


def test_thirty_fits_leave_nothing_behind():
    found = json.loads(child(MANY_FITS, 30).stdout)
    assert found["threads"] == 0 and found["handles"] == 0 and found["memory"] < 5e6, found


def test_a_notebook_has_its_event_loop():
    """Inside a running event loop, as in Jupyter."""
    code = """
        import asyncio
        import ldvae

        async def cell():
            adata = ldvae.simulate_counts(n_cells=60, n_genes=20, program_size=4)
            fit = ldvae.fit_ldvae(adata, n_latent=2, n_hidden=4, max_epochs=2, progress=False)
            return len(ldvae.get_latent(fit))

        print(asyncio.run(cell()))
    """
    assert child(code).stdout == "60\n"
