"""Training repeats itself, ends at the full bound, and keeps its best state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ldvae.model import training as train
from ldvae.model.network import LDVAE
from ldvae.model.schedule import Schedule
from support import same

N_EPOCHS = 6


def test_same_seed_same_numbers(run, uninterrupted):
    same(uninterrupted, run())


def test_another_seed_other_numbers(run, uninterrupted):
    other = run(seed=1)
    assert not torch.equal(uninterrupted.model.loadings, other.model.loadings)
    assert not np.array_equal(uninterrupted.history["elbo_train"], other.history["elbo_train"])


def test_training_raises_the_bound(uninterrupted):
    history = uninterrupted.history
    assert history["epoch"].tolist() == list(range(1, N_EPOCHS + 1)) and uninterrupted.stopped == "finished"
    assert history["elbo_validation"][-1] > history["elbo_validation"][0] + 3
    assert np.allclose(history["elbo_train"], history["reconstruction"] - history["kl"])
    assert (history["kl"] > 0).all()


def test_intercepts_start_at_mean_expression(run, start, monkeypatch):
    seen, mean = {}, start[3]

    def stop(self, batch, generator):
        seen["intercept"] = self.intercept.detach().numpy().copy()
        raise KeyboardInterrupt

    monkeypatch.setattr(LDVAE, "elbo", stop)
    with pytest.raises(KeyboardInterrupt):  # nothing was learnt yet, so there is nothing to return
        run()
    assert np.allclose(seen["intercept"], np.log(mean), atol=1e-6)


def test_both_penalties_grow_to_their_full_weight(run, monkeypatch):
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
    run()
    steps = N_EPOCHS * (540 // 64)
    wanted = np.minimum(1, np.arange(1, steps + 1) / (0.15 * steps))
    assert np.allclose([p.grad.item() * 64 for p in probes["kl"]], wanted, rtol=1e-5)
    assert np.allclose([p.grad.item() * 540 for p in probes["penalty"]], wanted, rtol=1e-5)
    assert wanted[-1] == 1 and (wanted == 1).mean() > 0.8


def held_out_rows(seed=0):
    order = torch.randperm(600, generator=torch.Generator().manual_seed(seed))
    return order[:60].sort().values


def test_the_best_state_is_returned(start, uninterrupted):
    elbo = uninterrupted.history["elbo_validation"]
    assert uninterrupted.best_epoch == elbo.argmax() + 1
    again = train._held_out(uninterrupted.model, start[1], held_out_rows(), 64, 0)
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

    monkeypatch.setattr(train, "_held_out", held_out)
    return seen


def test_training_stops_early_and_goes_back_to_the_best_epoch(run, monkeypatch):
    seen = scripted(monkeypatch, [-9.0, -5.0, -6.0, -5.5, -5.2, -7.0, -8.0, -9.0])
    found = run(Schedule(64, 8, 5e-3, patience=3))
    assert found.stopped == "early" and found.best_epoch == 2
    assert len(found.history["epoch"]) == 6  # 2 and the patience of 3, and the epoch that exceeds it
    assert torch.equal(found.model.loadings, seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_without_early_stopping_all_epochs_are_run_and_the_best_is_kept(run, monkeypatch):
    seen = scripted(monkeypatch, [-9.0, -5.0, -6.0, -5.5, -5.2, -7.0, -8.0, -9.0])
    found = run(Schedule(64, 8, 5e-3, patience=3), early_stopping=False)
    assert found.stopped == "finished" and found.best_epoch == 2 and len(found.history["epoch"]) == 8
    assert torch.equal(found.model.loadings, seen[1])


def test_without_held_out_cells_the_last_state_is_kept(run):
    found = run(validation_size=0.0)
    assert found.best_epoch == N_EPOCHS and np.isnan(found.history["elbo_validation"]).all()
    assert np.isfinite(found.history["elbo_train"]).all()


@pytest.mark.parametrize("where", ["training", "held out"])
def test_a_loss_that_is_not_finite_is_an_error(run, monkeypatch, where):
    elbo, prediction, calls = LDVAE.elbo, LDVAE.prediction, []

    def broken(self, batch, generator):
        reconstruction, kl = elbo(self, batch, generator)
        calls.append(None)
        return reconstruction * (math.nan if len(calls) > 12 and where == "training" else 1), kl

    def broken_prediction(self, batch, generator):
        return prediction(self, batch, generator) * (math.nan if len(calls) > 12 and where == "held out" else 1)

    monkeypatch.setattr(LDVAE, "elbo", broken)
    monkeypatch.setattr(LDVAE, "prediction", broken_prediction)
    with pytest.raises(RuntimeError) as caught:
        run()
    assert str(caught.value) == (
        "training diverged in epoch 2: the loss is not finite; lower `learning_rate` (now 0.005)."
    )


def test_an_interruption_keeps_the_best_state(run, monkeypatch):
    seen = scripted(monkeypatch, [-9.0, -5.0, -6.0, KeyboardInterrupt()])
    found = run()
    assert found.stopped == "interrupted" and found.best_epoch == 2
    assert found.history["elbo_validation"].tolist() == [-9.0, -5.0, -6.0]
    assert torch.equal(found.model.loadings, seen[1]) and not found.model.training
