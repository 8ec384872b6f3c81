"""Training goes on from its file as if never interrupted, and from no other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from ldvae import fit_ldvae
from ldvae.counts.minibatches import SparseCounts
from ldvae.model import training as train
from ldvae.model.config import Config
from ldvae.model.schedule import Schedule
from support import same


def interrupt_after(monkeypatch, n_epochs):
    held_out, calls = train._held_out, []

    def interrupted(*args):
        calls.append(None)
        if len(calls) > n_epochs:
            raise KeyboardInterrupt
        return held_out(*args)

    monkeypatch.setattr(train, "_held_out", interrupted)
    monkeypatch.setattr(train, "_SAVE_EVERY", -1.0)


@pytest.mark.parametrize("n_epochs", [1, 4])
def test_training_continues_from_a_checkpoint_as_if_never_interrupted(run, uninterrupted, tmp_path, n_epochs):
    path = tmp_path / "state.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, n_epochs)
        stopped = run(checkpoint=path)
    assert stopped.stopped == "interrupted" and len(stopped.history["epoch"]) == n_epochs
    assert not torch.equal(stopped.model.loadings, uninterrupted.model.loadings)
    resumed = run(checkpoint=path)
    assert resumed.stopped == "finished" and resumed.best_epoch == uninterrupted.best_epoch
    same(resumed, uninterrupted)
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_another_fit_is_refused(run, start, tmp_path):
    path = tmp_path / "state.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 1)
        run(checkpoint=path)
    config, data, schedule, mean = start
    other = SparseCounts(
        read_counts_twice(data), np.exp(data.log_library.numpy()[:, 0]) * 2, data.design.numpy(), data.device
    )
    for changed, kwargs in (
        (start, {"seed": 1}),
        (start, {"validation_size": 0.2}),
        (start, {"schedule": Schedule(64, 6, 1e-3, patience=5)}),
        ((Config(n_genes=150, n_latent=4, n_hidden=16, dropout_rate=0.2), data, schedule, mean), {}),
        ((config, other, schedule, mean), {}),
        ((config, data, schedule, np.roll(mean, 1)), {}),
    ):
        with pytest.raises(ValueError) as caught:
            run(given=changed, checkpoint=path, **kwargs)
        assert str(caught.value) == (
            f"`checkpoint` {str(path)!r} belongs to a fit with other settings or data; name another file."
        )


def test_a_checkpoint_that_cannot_be_used_is_refused_before_training(run, tmp_path):
    with pytest.raises(ValueError) as caught:
        run(checkpoint=tmp_path / "nowhere" / "state")
    assert str(caught.value) == (
        f"`checkpoint` must be in an existing folder, and {str(tmp_path / 'nowhere')!r} is not one."
    )
    (tmp_path / "notes.txt").write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"`checkpoint` '.*notes.txt' is not a checkpoint or is damaged"):
        run(checkpoint=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "no checkpoint"


def read_counts_twice(data):
    start, column, value = data._matrix.indptr, data._matrix.indices, data._matrix.data
    return sp.csr_matrix((value * 2, column, start), shape=(data.n_cells, data.n_genes))


def test_a_whole_fit_continues_from_a_checkpoint(simulated, settings, tmp_path):
    few = settings | {"max_epochs": 3}
    path = str(tmp_path / "state")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 2)
        assert fit_ldvae(simulated, checkpoint=path, **few).info["stopped"] == "interrupted"
    resumed, whole = fit_ldvae(simulated, checkpoint=path, **few), fit_ldvae(simulated, **few)
    assert np.array_equal(resumed.factors["loadings"], whole.factors["loadings"])
    assert np.array_equal(resumed.latent_mean, whole.latent_mean)
