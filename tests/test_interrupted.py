"""Work that is cut short: Ctrl-C gives the best state, a killed process continues to the very same result."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from pathlib import Path

import pytest

from support import KILLED_FITS, PACKAGE, child

CTRL_C = """
    import os, signal, sys, threading, time
    import ldvae
    signal.signal(signal.SIGINT, signal.default_int_handler)
    adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)

    def interrupt():
        while not os.path.exists(sys.argv[1]):  # the first checkpoint: some epochs are done
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    from ldvae.model import training as train
    train._SAVE_EVERY = 0.2
    threading.Thread(target=interrupt, daemon=True).start()
    fit = ldvae.fit_ldvae(adata, n_latent=3, n_hidden=8, max_epochs=1_000_000, batch_size=32, device="cpu",
                          early_stopping=False, checkpoint=sys.argv[1], progress=False)
    history = ldvae.get_history(fit)
    best = history["elbo_validation"].idxmax() + 1
    print(fit.info["stopped"], fit.info["best_epoch"] == best, len(history) > 1, len(history) < 1_000_000)
    ldvae.save_fit(fit, sys.argv[1] + ".fit")
    again = ldvae.load_fit(sys.argv[1] + ".fit")
    print(again.info["stopped"], ldvae.get_latent(again, adata).notna().all(axis=None), "(interrupted)" in repr(again))
"""


def test_ctrl_c_gives_the_best_state_so_far(tmp_path):
    said = child(CTRL_C, tmp_path / "state").stdout.splitlines()
    assert said == ["interrupted True True True", "interrupted True True"]


def test_sigterm_gives_the_best_state_so_far_too(tmp_path):
    """As Slurm ends a job: no time is spent on measuring, and the script goes on to save."""
    script = CTRL_C.replace("os.kill(os.getpid(), signal.SIGINT)", "os.kill(os.getpid(), signal.SIGTERM)")
    said = child(script + "    print(fit.measured)\n", tmp_path / "state").stdout.splitlines()
    assert said == ["interrupted True True True", "interrupted True True", "False"]


def test_a_killed_process_continues_to_the_same_result(tmp_path):
    assert json.loads(child(KILLED_FITS, tmp_path / "state", 3, 60).stdout)["killed"] == 3


CELLS = """
    import os, sys, ldvae
    from ldvae.model import training as train
    train._SAVE_EVERY = -1.0
    adata = ldvae.simulate_counts(n_cells=120, n_genes=30, n_populations=2, program_size=6, n_identity=6, seed=0)
    settings = dict(n_latent=3, n_hidden=8, batch_size=32, device="cpu", progress=False, early_stopping=False)
---
    fit = ldvae.fit_ldvae(adata, max_epochs=1_000_000, checkpoint=os.environ["STATE"], **settings)
---
    found = ldvae.population_loadings(fit, adata, groupby="population", kind="between")
    two = [ldvae.fit_ldvae(adata, max_epochs=5, **settings) for _ in range(2)]
    print(fit.info["stopped"], found["loading"].notna().all(), (two[0].latent_mean == two[1].latent_mean).all())
"""


def test_a_cell_of_a_notebook_that_is_stopped(tmp_path, monkeypatch):
    """A kernel of Jupyter, interrupted as the stop button does it: the fit is there, and the kernel goes on."""
    pytest.importorskip("ipykernel")
    from jupyter_client.manager import KernelManager

    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    path = tmp_path / "state"
    prepare, fit, look = map(textwrap.dedent, CELLS.split("---\n"))
    kernel = KernelManager(kernel_name="python3")
    folders = os.pathsep.join([str(Path(PACKAGE).parent), *sys.path])
    kernel.start_kernel(env=os.environ | {"PYTHONPATH": folders, "STATE": str(path)})
    cells, said = kernel.client(), []
    cells.start_channels()
    try:
        cells.wait_for_ready(timeout=120)
        cells.execute_interactive(prepare, timeout=120)
        asked = cells.execute(fit)
        while not path.exists():  # some epochs are done
            assert kernel.is_alive()
            time.sleep(0.01)
        kernel.interrupt_kernel()
        while (reply := cells.get_shell_msg(timeout=120))["parent_header"]["msg_id"] != asked:
            pass
        assert reply["content"]["status"] == "ok", reply["content"]
        cells.execute_interactive(look, timeout=120, output_hook=lambda m: said.append(m["content"].get("text", "")))
    finally:
        cells.stop_channels()
        kernel.shutdown_kernel(now=True)
    assert "".join(said) == "interrupted True True\n"
