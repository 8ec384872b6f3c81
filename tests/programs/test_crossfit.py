"""What teaches a program does not measure it."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import population_programs
from ldvae.programs import crossfit
from ldvae.programs.activities import as_tensor
from ldvae.programs.crossfit import HALVINGS, _taught, cross_fit, halves_of, measured, seeds_of
from ldvae.programs.local import Local
from planted import loading, population

pytestmark = pytest.mark.filterwarnings("ignore:.*may have more programs")  # one is looked for, to be quick

NOTHING = np.zeros((HALVINGS, 2, 200, 0))


def test_halves_are_all_cells_once():
    local = population(1, "A", np.zeros((200, 1)), n=101).local
    first, second = halves_of(local, 3)
    assert abs(len(first.x) - len(second.x)) == 1
    cells = {tuple(row) for row in local.x.tolist()}
    parts = [{tuple(row) for row in half.x.tolist()} for half in (first, second)]
    assert parts[0] | parts[1] == cells and not parts[0] & parts[1]
    assert np.array_equal(first.x, halves_of(local, 3)[0].x)
    assert not np.array_equal(first.x, halves_of(local, 4)[0].x)


def test_no_two_seeds_share_a_halving():
    seeds = [seeds_of(seed) for seed in range(5)]
    assert all(len(each) == HALVINGS for each in seeds)
    assert len({s for each in seeds for s in each}) == 5 * HALVINGS


def test_no_cell_measures_what_it_taught(monkeypatch):
    """Cells are followed by their counts: those that taught a loading are none of those that meet it."""
    taught, met = {}, []
    learn = Local.learn

    def cells(local):
        return {tuple(row) for row in local.x.tolist()}

    def learnt(local, seed):
        out = learn(local, seed)
        taught[np.abs(out.numpy()).round(4).tobytes()] = cells(local)
        return out

    def follow(name, loadings_of):
        original = getattr(Local, name)

        def followed(local, *arguments):
            for one in loadings_of(*arguments):
                own = taught.get(np.abs(np.asarray(one, dtype=np.float32)).round(4).tobytes())
                if own is not None:
                    met.append((name, bool(own & cells(local))))
            return original(local, *arguments)

        monkeypatch.setattr(Local, name, followed)

    local = population(1, "A", loading(1)[:, None], n=200).local
    monkeypatch.setattr(Local, "learn", learnt)
    follow("variance_test", lambda loading: [loading])
    follow("associate", lambda loading: [loading])
    found = cross_fit(local, NOTHING, 5)
    monkeypatch.undo()
    assert len(taught) == 2 * HALVINGS
    follow("variance_test", lambda loading: [loading])
    follow("score", lambda loadings, *_: np.asarray(loadings).T)
    crossfit.tested(local, found.learnt, NOTHING, 5)
    measured(local, found.learnt[..., None], 5)
    assert not any(own for _, own in met)
    seen = [name for name, _ in met]
    assert [seen.count(name) for name in ("associate", "variance_test", "score")] == [2, 2 + 2 * HALVINGS, 2 * HALVINGS]
    halves_of(local, seeds_of(5)[0])[0].variance_test(as_tensor(found.learnt[0, 0]))
    assert met[-1] == ("variance_test", True)  # it would have been seen


def test_pvalues_without_a_program():
    """Over forty populations: uniform on cells that did not teach, cautious over halvings, tiny on those that did."""
    one, all_halvings, own = [], [], []
    for seed in range(40):
        local = population(seed, "A", np.zeros((200, 1)), n=100).local
        one.append(cross_fit(local, NOTHING, seed).test.pvalue)
        learnt = np.stack([_taught(local, NOTHING[0], s) for s in seeds_of(seed)])
        all_halvings.append(crossfit.tested(local, learnt, NOTHING, seed).pvalue)
        half = halves_of(local, seeds_of(seed)[0])[0]
        own.append(half.variance_test(as_tensor(learnt[0, 0])).pvalue)
    for pvalues in (one, all_halvings):
        below = np.array(pvalues)[:, None] < [0.05, 0.2, 0.5]
        assert (below.mean(0) <= [0.15, 0.36, 0.68]).all()
    assert 0.3 < np.mean(one) < 0.7
    assert max(own) < 1e-3


def test_a_program_is_seen_and_learnt_by_each_half():
    truth = loading(1)
    found = cross_fit(population(2, "A", truth[:, None]).local, NOTHING, 0)
    assert found.test.pvalue < 1e-20 and found.test.excess > 0.3
    assert abs(np.corrcoef(found.slope, truth)[0, 1]) > 0.95
    assert found.learnt.shape == (HALVINGS, 2, 200)
    r = np.corrcoef(np.vstack([truth, found.learnt.reshape(-1, 200)]))[0, 1:]
    assert np.abs(r).min() > 0.9 and len(set(np.sign(r))) == 1


def test_what_was_found_before_is_not_found_again():
    truth = loading(1)
    local = population(2, "A", truth[:, None]).local
    before = np.broadcast_to(truth[:, None], (HALVINGS, 2, 200, 1))
    found = cross_fit(local, before, 0)
    assert found.learnt is None and found.test.pvalue > 0.01
    learnt = np.broadcast_to(truth, (HALVINGS, 2, 200))
    assert crossfit.tested(local, learnt, NOTHING, 0).pvalue < 1e-20
    assert crossfit.tested(local, learnt, before, 0).pvalue > 0.5


def test_halvings_make_numbers_steadier():
    """Slopes of two seeds differ less when each is the mean over halvings than when it is that of one."""
    local = population(3, "A", 0.4 * loading(1)[:, None], n=200).local
    found = [cross_fit(local, NOTHING, seed) for seed in (0, 1)]
    every = [measured(local, f.learnt[..., None], seed) for seed, f in enumerate(found)]

    def apart(first, second):
        return np.abs(first * np.sign(first @ second) - second).mean()

    assert apart(every[0][0][:, 0], every[1][0][:, 0]) < 0.8 * apart(found[0].slope, found[1].slope)
    assert np.median(every[0][1][:, 0]) == pytest.approx(np.median(found[0].std), rel=0.15)  # of one halving


def test_every_program_is_measured_by_the_halvings_of_its_seed(planted, planted_fit, monkeypatch):
    seeds = []

    def followed(local, seed):
        seeds.append(seed)
        return halves_of(local, seed)

    for module in ("crossfit", "strength"):
        monkeypatch.setattr(f"ldvae.programs.{module}.halves_of", followed)
    programs = population_programs(planted_fit, planted, groupby="population", kind="specific", n_programs=2, seed=7)
    assert programs["called"].any()
    assert set(seeds) == set(seeds_of(7))
