"""Two processes give the fit of one; what cannot be right is refused; a job that lost a process goes on later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ldvae
from ldvae.counts.minibatches import SparseCounts
from ldvae.counts.reader import read_counts
from ldvae.machine import processes as distributed
from ldvae.model.config import LIKELIHOODS, Config
from ldvae.model.network import LDVAE
from support import PACKAGE, child

DATA = """
    import json, os, signal, sys
    import anndata, numpy as np
    import ldvae
    from ldvae.counts import reader as counts
    from ldvae.machine import sparse as store
    from ldvae.model import training as train
    adata = ldvae.simulate_counts(n_cells=220, n_genes=60, n_populations=2, program_size=8, n_identity=8, n_batches=2,
                                  seed=1)
    adata.obs["size"] = np.linspace(1, 2, 220)
    settings = dict(batch_key="batch", n_latent=3, n_hidden=8, n_layers=2, max_epochs=6, batch_size=32, device="cpu",
                    early_stopping=False, progress=False)
    folder, rank, counts._PROBE = sys.argv[1], int(os.environ.get("RANK", 0)), 10
"""


CASES = {
    "memory": {"size_factor_key": "size"},
    "backed": {"genes": [f"G{i}" for i in range(40)]},
    "disk": {"gene_likelihood": "zinb"},
    "few cells": {"batch_size": 8, "max_epochs": 2, "decoder": "nonlinear"},
}


FITS = f"""
    convert, read = counts._block_to_csr, []
    counts._block_to_csr = lambda block, quality: read.append(block.shape[0]) or convert(block, quality)
    for name, more in {CASES!r}.items():
        cells = anndata.read_h5ad(sys.argv[2], backed="r") if name in ("backed", "disk") else adata
        if name == "few cells":
            cells = adata[:24].copy()
        store._SHARE = 0.0 if name == "disk" else 0.25
        fit = ldvae.fit_ldvae(cells, **settings | more)
        ldvae.save_fit(fit, f"{{folder}}/{{name}}.fit")
        arrays = fit.weights | fit.factors | {{"latent": fit.latent_mean, "read": sum(read), "lib_size": fit.lib_size}}
        np.savez(f"{{folder}}/{{name}}.{{rank}}.npz", **arrays)
        read.clear()
"""


REFUSED = """
    other = adata.copy()
    other.X[:50] = other.X[50:100]
    sentences = []
    for cells, more in ((other if rank else adata, {}), (adata, {"seed": rank}), (adata[:1].copy(), {})):
        try:
            ldvae.fit_ldvae(cells, **settings | more)
        except ValueError as error:
            sentences.append(str(error))
    open(f"{folder}/refused.{rank}.json", "w").write(json.dumps(sentences))
"""


# The second process ends itself in the fourth epoch, before which the first has written the checkpoint of the third.
# The first ignores the signal by which torchrun ends what is left of a job, so that it surely has the time to say why.
KILLED = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    held_out, epochs = train._held_out, []

    def killed(*args):
        epochs.append(None)
        if rank and len(epochs) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return held_out(*args)

    train._held_out, train._SAVE_EVERY = killed, -1.0
    ldvae.fit_ldvae(adata, checkpoint=folder + "/state", **settings)
"""


CONTINUED = """
    ldvae.save_fit(ldvae.fit_ldvae(adata, checkpoint=folder + "/state", **settings), folder + "/continued.fit")
"""


WHOLE = """
    ldvae.save_fit(ldvae.fit_ldvae(adata, **settings), folder + "/whole.fit")
"""


def job(code, folder, *arguments):
    """Run code in two processes that torchrun starts."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(DATA) + textwrap.dedent(code))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", script, folder]
    environment = os.environ | {"PYTHONPATH": str(Path(PACKAGE).parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(part) for part in (*command, *arguments)], env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What one process wrote, and what two did."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    child(DATA + '    adata.write_h5ad(folder + "/counts.h5ad")\n' + FITS, one, one / "counts.h5ad")
    done = job(FITS + REFUSED, two, one / "counts.h5ad")
    assert done.returncode == 0, done.stderr
    return one, two


def close(first, second):
    """The same but for rounding; numbers are of the order of 1, bounds of 100."""
    assert second.info == first.info
    assert np.allclose(first.history["elbo_validation"], second.history["elbo_validation"], rtol=1e-4)
    assert np.allclose(first.history["elbo_train"], second.history["elbo_train"], rtol=1e-4)
    for name, value in first.weights.items():
        assert np.allclose(value, second.weights[name], atol=1e-3), name
    assert np.allclose(first.latent_mean, second.latent_mean, atol=1e-3)
    assert np.array_equal(first.lib_size, second.lib_size) and np.array_equal(first.cells, second.cells)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_fit_of_one(folders, name):
    one, two = (ldvae.load_fit(folder / f"{name}.fit") for folder in folders)
    close(one, two)


@pytest.mark.parametrize("name", CASES)
def test_both_processes_go_on_with_the_same_fit(folders, name):
    first, second = (np.load(folders[1] / f"{name}.{rank}.npz") for rank in (0, 1))
    assert first.files == second.files
    assert all(np.array_equal(first[k], second[k], equal_nan=True) for k in first.files)


@pytest.mark.parametrize("name", ["memory", "backed", "disk"])
def test_each_process_reads_its_cells_and_a_few_to_compare(folders, name):
    assert np.load(folders[0] / f"{name}.0.npz")["read"] == 220
    assert [int(np.load(folders[1] / f"{name}.{rank}.npz")["read"]) for rank in (0, 1)] == [110 + 10] * 2


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_process_without_a_cell_of_a_minibatch_adds_nothing(simulated, likelihood, each_path):
    read = read_counts(simulated)
    ranks = SimpleNamespace(n=2, rows=lambda n: slice(0, 300), sum=lambda values: values)
    data = SparseCounts(read.matrix, read.lib_size, np.zeros((600, 0), np.float32), torch.device("cpu"), ranks)
    config = Config(n_genes=150, n_latent=4, n_hidden=16, gene_likelihood=likelihood)
    model = LDVAE(config, torch.Generator().manual_seed(0)).eval()
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    (batch,) = data.shares(torch.arange(400, 420), 20)
    reconstruction, kl = model.elbo(batch, generators[0])
    (kl - reconstruction).backward()
    assert len(batch) == 0 and reconstruction == 0 and kl == 0
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)
    model.elbo(data.minibatch(torch.arange(400, 420)), generators[1])  # the other draws on as the one that has all
    assert torch.equal(*(g.get_state() for g in generators))


def test_jobs_that_cannot_be_right_are_refused_by_all(folders):
    different = (
        "fit_ldvae must be given the same cells, counts and arguments in all 2 processes of a job, and those of "
        "process 1 are not those of process 0; for fits of their own, start each alone."
    )
    few = (
        "`adata` must have at least one cell for each of the 2 processes of this job, not 1 in all; start fewer "
        "processes."
    )
    for rank in (0, 1):
        assert json.loads((folders[1] / f"refused.{rank}.json").read_text()) == [different, different, few]


def test_a_job_that_lost_a_process_ends_with_a_sentence_and_goes_on_from_its_checkpoint(tmp_path):
    done = job(KILLED, tmp_path)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "RuntimeError: process 0" in line]
    assert len(said) == 1, done.stderr
    start, end = said[0].split("RuntimeError: ")[1].split(" (", 1)
    assert start == "process 0 of 2 cannot go on, since another one ended or cannot be reached"
    wanted = f"); start the job again: it continues from the `checkpoint` '{tmp_path / 'state'}' if that was written."
    assert end.endswith(wanted)
    child(DATA + CONTINUED + WHOLE, tmp_path)  # one process now, and one that was alone from the start
    close(*(ldvae.load_fit(tmp_path / f"{name}.fit") for name in ("whole", "continued")))


def test_a_job_without_checkpoint_says_what_would_have_helped():
    def broken():
        raise RuntimeError("[gloo/pair.cc:553] Connection closed\n  by peer [::1]:9. This is typical.")

    ranks = distributed.Ranks(1, 2, 2, torch.device("cpu"), None)
    with pytest.raises(RuntimeError) as caught:
        ranks._together(broken)
    assert str(caught.value) == (
        "process 1 of 2 cannot go on, since another one ended or cannot be reached (Connection closed by peer "
        "[::1]:9); start the job again: with a `checkpoint` that would continue from the last one written."
    )


def test_alone_there_is_no_group():
    assert distributed.join(torch.device("cpu"), None) is distributed.ALONE
    assert distributed.is_first() and not torch.distributed.is_initialized()
