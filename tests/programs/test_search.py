"""Programs of one population, found one after the other and turned apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ldvae.programs import crossfit
from ldvae.programs.crossfit import HALVINGS
from ldvae.programs.search import _aligned, search, shrunk
from planted import loading, population


@pytest.mark.parametrize("seed", range(3))
def test_programs_of_equal_variance_come_apart(seed):
    truth = np.stack([loading(20 + seed), loading(40 + seed)], 1)
    found = search(population(seed, "A", truth, n=300).local, 3, 0)
    assert len(found) == 2 and found.sound() == [0, 1]
    r = np.abs(np.corrcoef(truth.T, found.slope.T)[:2, 2:])
    order = r.argmax(0)
    assert sorted(order) == [0, 1] and r.max(0).min() > 0.95 and r.min(0).max() < 0.25
    assert found.learnt.shape == (HALVINGS, 2, 200, 2)
    for k in range(2):  # every half has the same program in the same column, with the same sign
        halves = found.learnt[..., k].reshape(-1, 200)
        along = np.corrcoef(np.vstack([truth[:, order[k]], halves]))[0, 1:]
        assert np.abs(along).min() > 0.9
        assert len(set(np.sign(along))) == 1
        assert np.sign(along[0]) == np.sign(truth[:, order[k]] @ found.slope[:, k])
    assert max(test.pvalue for test in found.tests) < 1e-8
    assert found.last is not None and found.last.test.pvalue > 0.001


def test_slopes_have_the_size_of_what_was_planted():
    truth = loading(1)
    found = search(population(2, "A", truth[:, None], n=500).local, 2, 0)
    assert len(found) == 1
    activity = np.random.default_rng(2).normal(size=(500, 1)).std()
    sign = np.sign(found.slope[:, 0] @ truth)
    z = (sign * found.slope[:, 0] - truth * activity) / found.std[:, 0]
    assert 0.88 < np.mean(np.abs(z) < 1.96) < 0.99


def test_a_program_is_tested_beside_the_others():
    local = population(0, "A", np.stack([loading(20), loading(40)], 1), n=300).local
    found = search(local, 3, 0)
    for k in range(2):
        own, others = found.learnt[..., k], found.learnt[..., [1 - k]]
        assert found.tests[k] == crossfit.tested(local, own, others, 0)
        assert found.tests[k].ratio != crossfit.tested(local, own, others[..., :0], 0).ratio


def test_what_is_held_fixed_is_not_found():
    truth = np.stack([loading(20), loading(40)], 1)
    p = population(0, "A", truth, n=300)
    alone = search(p.local.given(truth), 2, 0)
    assert len(alone) == 0 and alone.sound() == [] and alone.slope.shape == (200, 0)
    beside = search(p.local.given(truth[:, :1]), 2, 0)
    assert len(beside) == 1
    assert abs(np.corrcoef(beside.slope[:, 0], truth[:, 1])[0, 1]) > 0.95


def test_no_more_than_are_asked_for():
    truth = np.stack([loading(20), loading(40)], 1)
    found = search(population(0, "A", truth, n=300).local, 1, 0)
    assert len(found) == 1 and found.last is None


def test_noise_is_no_program():
    for seed in range(5):
        found = search(population(seed, "A", np.zeros((200, 1)), n=150).local, 2, 0)
        assert len(found) == 0 and found.last is not None and found.last.learnt is None


def test_sound_needs_genes_and_certainty():
    found = search(population(2, "A", loading(1)[:, None], n=300).local, 2, 0)
    assert found.sound() == [0]
    assert replace(found, std=found.std * 100).sound() == []
    assert replace(found, tests=[replace(found.tests[0], ratio=1.01)]).sound() == []
    assert replace(found, tests=[replace(found.tests[0], ratio=1.1, df=1e5)]).sound() == []  # sure, but little


def test_halves_are_turned_to_one_basis():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(100, 3)) * [1.0, 1.1, 1.2]
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2 * HALVINGS)]
    learnt = np.stack([truth @ turn + 0.1 * rng.normal(size=(100, 3)) for turn in turns])
    aligned = _aligned(learnt.reshape(HALVINGS, 2, 100, 3)).reshape(-1, 100, 3)
    for found in aligned:
        for k in range(3):
            assert np.corrcoef(found[:, k], aligned[0][:, k])[0, 1] > 0.95
    np.testing.assert_allclose(np.linalg.norm(aligned, axis=(1, 2)), np.linalg.norm(learnt, axis=(1, 2)))


def test_shrunk_goes_column_by_column():
    slope = np.stack([loading(1), np.random.default_rng(0).normal(0, 0.1, 200)], 1)
    found = shrunk(slope, np.full((200, 2), 0.1))
    assert np.corrcoef(found[:, 0], slope[:, 0])[0, 1] > 0.99
    assert np.abs(found[:, 1]).max() < 0.1
    assert shrunk(np.zeros((200, 0)), np.zeros((200, 0))).shape == (200, 0)
