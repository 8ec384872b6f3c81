"""What the README tells a newcomer to type runs, on fewer cells and with little training."""

from __future__ import annotations

import re
import shlex
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

import ldvae
from ldvae import cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
CELLS = dict(n_cells=300, n_genes=120, n_populations=3, program_size=12, n_identity=15, smallest_share=0.2, seed=0)
TRAINING = dict(n_latent=5, n_hidden=32, max_epochs=20, batch_size=32, progress=False)


def blocks(section, language):
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    simulate, fit = ldvae.simulate_counts, ldvae.fit_ldvae
    monkeypatch.setattr(ldvae, "simulate_counts", lambda **given: simulate(**given | CELLS))
    monkeypatch.setattr(ldvae, "fit_ldvae", partial(fit, **TRAINING))
    monkeypatch.setattr(plt, "show", lambda: None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)  # numba, inside scanpy, changes them
    plt.close("all")


def test_command_line():
    (block,) = blocks("Command line", "sh")
    python, *lines = block.splitlines()
    exec(shlex.split(python, comments=True)[2])
    for line in lines:
        command = shlex.split(line)[1:]
        more = ["--max-epochs", "2", "--no-progress"] if command[0] == "fit" else []
        assert cli.main(command + more) == 0
    assert {path.name for path in Path().iterdir()} == {
        "counts.h5ad", "fit.ldvae", "programs.csv", "de.csv", "report.html",
    }  # fmt: skip


def test_python():
    names = {}
    for block in blocks("Python", "python"):
        exec(block, names)
    assert names["de"]["is_de"].any() and set(names["markers"]["population"]) == {"P0", "P1", "P2"}
    assert Path("fit.safetensors").is_file() and len(plt.get_fignums()) == 2
