"""Training repeats itself, ends at the full bound, keeps its best state, and survives interruption."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from ldvae import fit_ldvae
from ldvae.counts.minibatches import SparseCounts
from ldvae.counts.reader import read_counts
from ldvae.machine.device import pick_device
from ldvae.model import training as train
from ldvae.model.config import Config
from ldvae.model.network import LDVAE
from ldvae.model.schedule import Schedule, one_cycle, schedule_for

N_EPOCHS = 6


@pytest.fixture(scope="module")
def start(simulated):
    """What `train` takes: settings, counts, schedule, mean expression."""
    counts = read_counts(simulated)
    data = SparseCounts(counts.matrix, counts.lib_size, np.zeros((600, 0), np.float32), torch.device("cpu"))
    config = Config(n_genes=150, n_latent=4, n_hidden=16)
    mean = np.asarray(counts.matrix.sum(0)).ravel() / counts.lib_size.sum()
    return config, data, Schedule(64, N_EPOCHS, 5e-3, patience=5), mean


def run(start, schedule=None, **kwargs):
    config, data, default, mean = start
    kwargs = dict(validation_size=0.1, early_stopping=True, seed=0, progress=False) | kwargs
    return train.train(
        config, data, schedule or default, mean_expression=mean, design_effect=np.zeros((0, 150)), **kwargs
    )


def same(first, second):
    one, two = first.model.state_dict(), second.model.state_dict()
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name
    for name in first.history:
        assert np.array_equal(first.history[name], second.history[name]), name


@pytest.fixture(scope="module")
def uninterrupted(start):
    return run(start)


def test_same_seed_same_numbers(start, uninterrupted):
    same(uninterrupted, run(start))


def test_another_seed_other_numbers(start, uninterrupted):
    other = run(start, seed=1)
    assert not torch.equal(uninterrupted.model.loadings, other.model.loadings)
    assert not np.array_equal(uninterrupted.history["elbo_train"], other.history["elbo_train"])


def test_training_raises_the_bound(uninterrupted):
    history = uninterrupted.history
    assert history["epoch"].tolist() == list(range(1, N_EPOCHS + 1)) and uninterrupted.stopped == "finished"
    assert history["elbo_validation"][-1] > history["elbo_validation"][0] + 5
    assert np.allclose(history["elbo_train"], history["reconstruction"] - history["kl"])
    assert (history["kl"] > 0).all()


def test_intercepts_start_at_mean_expression(start, monkeypatch):
    seen, mean = {}, start[3]

    def stop(self, batch, generator):
        seen["intercept"] = self.intercept.detach().numpy().copy()
        raise KeyboardInterrupt

    monkeypatch.setattr(LDVAE, "elbo", stop)
    with pytest.raises(KeyboardInterrupt):  # nothing was learnt yet, so there is nothing to return
        run(start)
    assert np.allclose(seen["intercept"], np.log(mean), atol=1e-6)


def test_both_penalties_grow_to_their_full_weight(start, monkeypatch):
    """Probes of value zero are added to both penalties; their gradients are the weights."""
    probes = {"kl": [], "penalty": []}

    def probe(name):
        probes[name].append(torch.zeros((), requires_grad=True))
        return probes[name][-1]

    elbo, penalty = LDVAE.elbo, LDVAE.penalty

    def probed_elbo(self, batch, generator):
        reconstruction, kl = elbo(self, batch, generator)
        return reconstruction, kl + probe("kl") if self.training else kl

    monkeypatch.setattr(LDVAE, "elbo", probed_elbo)
    monkeypatch.setattr(LDVAE, "penalty", lambda self: penalty(self) + probe("penalty"))
    run(start)
    steps = N_EPOCHS * (540 // 64)
    wanted = np.minimum(1, np.arange(1, steps + 1) / (0.15 * steps))
    assert np.allclose([p.grad.item() * 64 for p in probes["kl"]], wanted, rtol=1e-5)
    assert np.allclose([p.grad.item() * 540 for p in probes["penalty"]], wanted, rtol=1e-5)
    assert wanted[-1] == 1 and (wanted == 1).mean() > 0.8


def test_the_learning_rate_rises_and_ends_near_zero():
    rates = np.array([one_cycle(t) for t in np.linspace(0, 1, 1001)])
    assert rates.argmax() == 100 and rates.max() == pytest.approx(1)
    assert rates[0] == pytest.approx(0.04) and rates[-1] == pytest.approx(1e-4)
    assert (np.diff(rates)[:100] > 0).all() and (np.diff(rates)[100:] < 0).all()


def held_out_rows(seed=0):
    order = torch.randperm(600, generator=torch.Generator().manual_seed(seed))
    return order[:60].sort().values


def test_the_best_state_is_returned(start, uninterrupted):
    elbo = uninterrupted.history["elbo_validation"]
    assert uninterrupted.best_epoch == elbo.argmax() + 1
    again = train._held_out_elbo(uninterrupted.model, start[1], held_out_rows(), 64, 0)
    assert again == pytest.approx(elbo.max(), abs=1e-9)
    assert not uninterrupted.model.training


def scripted(monkeypatch, values):
    """Held-out bounds as given, and the loadings at the time of each."""
    seen = []

    def held_out(model, *_):
        seen.append(model.loadings.detach().clone())
        value = values[len(seen) - 1]
        if isinstance(value, BaseException):
            raise value
        return value

    monkeypatch.setattr(train, "_held_out_elbo", held_out)
    return seen


def test_training_stops_early_and_goes_back_to_the_best_epoch(start, monkeypatch):
    seen = scripted(monkeypatch, [-9.0, -5.0, -6.0, -5.5, -5.2, -7.0, -8.0, -9.0])
    found = run(start, Schedule(64, 8, 5e-3, patience=3))
    assert found.stopped == "early" and found.best_epoch == 2
    assert len(found.history["epoch"]) == 6  # 2 and the patience of 3, and the epoch that exceeds it
    assert torch.equal(found.model.loadings, seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_without_early_stopping_all_epochs_are_run_and_the_best_is_kept(start, monkeypatch):
    seen = scripted(monkeypatch, [-9.0, -5.0, -6.0, -5.5, -5.2, -7.0, -8.0, -9.0])
    found = run(start, Schedule(64, 8, 5e-3, patience=3), early_stopping=False)
    assert found.stopped == "finished" and found.best_epoch == 2 and len(found.history["epoch"]) == 8
    assert torch.equal(found.model.loadings, seen[1])


def test_without_held_out_cells_the_last_state_is_kept(start):
    found = run(start, validation_size=0.0)
    assert found.best_epoch == N_EPOCHS and np.isnan(found.history["elbo_validation"]).all()
    assert np.isfinite(found.history["elbo_train"]).all()


@pytest.mark.parametrize("where", ["training", "held out"])
def test_a_loss_that_is_not_finite_is_an_error(start, monkeypatch, where):
    elbo, calls = LDVAE.elbo, []

    def broken(self, batch, generator):
        reconstruction, kl = elbo(self, batch, generator)
        calls.append(None)
        bad = len(calls) > 12 and self.training == (where == "training")
        return reconstruction * (math.nan if bad else 1), kl

    monkeypatch.setattr(LDVAE, "elbo", broken)
    with pytest.raises(RuntimeError) as caught:
        run(start)
    assert str(caught.value) == (
        "training diverged in epoch 2: the loss is not finite; lower `learning_rate` (now 0.005)."
    )


def test_an_interruption_keeps_the_best_state(start, monkeypatch):
    seen = scripted(monkeypatch, [-9.0, -5.0, -6.0, KeyboardInterrupt()])
    found = run(start)
    assert found.stopped == "interrupted" and found.best_epoch == 2
    assert found.history["elbo_validation"].tolist() == [-9.0, -5.0, -6.0]
    assert torch.equal(found.model.loadings, seen[1]) and not found.model.training


def interrupt_after(monkeypatch, n_epochs):
    held_out, calls = train._held_out_elbo, []

    def interrupted(*args):
        calls.append(None)
        if len(calls) > n_epochs:
            raise KeyboardInterrupt
        return held_out(*args)

    monkeypatch.setattr(train, "_held_out_elbo", interrupted)
    monkeypatch.setattr(train, "_SAVE_EVERY", -1.0)


@pytest.mark.parametrize("n_epochs", [1, 4])
def test_training_continues_from_a_checkpoint_as_if_never_interrupted(start, uninterrupted, tmp_path, n_epochs):
    path = tmp_path / "state.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, n_epochs)
        stopped = run(start, checkpoint=path)
    assert stopped.stopped == "interrupted" and len(stopped.history["epoch"]) == n_epochs
    assert not torch.equal(stopped.model.loadings, uninterrupted.model.loadings)
    resumed = run(start, checkpoint=path)
    assert resumed.stopped == "finished" and resumed.best_epoch == uninterrupted.best_epoch
    same(resumed, uninterrupted)
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_another_fit_is_refused(start, tmp_path):
    path = tmp_path / "state.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 1)
        run(start, checkpoint=path)
    config, data, schedule, mean = start
    other = SparseCounts(
        read_counts_twice(data), np.exp(data.log_library.numpy()[:, 0]) * 2, data.design.numpy(), data.device
    )
    for changed, kwargs in (
        (start, {"seed": 1}),
        (start, {"validation_size": 0.2}),
        (start, {"schedule": Schedule(64, N_EPOCHS, 1e-3, patience=5)}),
        ((Config(n_genes=150, n_latent=4, n_hidden=16, dropout_rate=0.2), data, schedule, mean), {}),
        ((config, other, schedule, mean), {}),
        ((config, data, schedule, np.roll(mean, 1)), {}),
    ):
        with pytest.raises(ValueError) as caught:
            run(changed, checkpoint=path, **kwargs)
        assert str(caught.value) == (
            f"`checkpoint` {str(path)!r} belongs to a fit with other settings or data; name another file."
        )


def test_a_checkpoint_that_cannot_be_used_is_refused_before_training(start, tmp_path):
    with pytest.raises(ValueError) as caught:
        run(start, checkpoint=tmp_path / "nowhere" / "state")
    assert str(caught.value) == (
        f"`checkpoint` must be in an existing folder, and {str(tmp_path / 'nowhere')!r} is not one."
    )
    (tmp_path / "notes.txt").write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"`checkpoint` '.*notes.txt' is not a checkpoint or is damaged"):
        run(start, checkpoint=tmp_path / "notes.txt")
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


@pytest.mark.parametrize(
    ("n_cells", "batch_size", "max_epochs", "wanted"),
    [
        (2_700, None, None, Schedule(128, 48, 5e-3, 9)),
        (100, None, None, Schedule(100, 1000, 5e-3, 200)),
        (60_000, None, None, Schedule(256, 8, 5e-3, 5)),
        (1_000_000, None, None, Schedule(512, 8, 5e-3, 5)),
        (2_700, 64, 10, Schedule(64, 10, 5e-3, 5)),
    ],
)
def test_the_schedule_suits_the_number_of_cells(n_cells, batch_size, max_epochs, wanted):
    assert schedule_for(n_cells, batch_size, max_epochs, 5e-3) == wanted


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:x", ""])
def test_unknown_devices(device):
    with pytest.raises(ValueError) as caught:
        pick_device(device)
    assert str(caught.value) == f"`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not {device!r}."


def test_what_is_no_device():
    with pytest.raises(TypeError, match="`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not 0"):
        pick_device(0)


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError) as caught:
        pick_device("cuda:3")
    assert str(caught.value) == "`device` is 'cuda:3', but this machine has 1 CUDA devices; use 'auto'."
