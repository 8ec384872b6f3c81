"""How much a program varies, where it was learnt and elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae.programs.catalogue import catalogue
from ldvae.programs.crossfit import HALVINGS, _taught, seeds_of
from ldvae.programs.program import REST, Program
from ldvae.programs.strength import variance_here, variances_elsewhere
from ldvae.programs.within import within_programs
from planted import loading, population


@pytest.fixture(scope="module")
def two():
    """A has a common program and one of its own, B the common one with half the amplitude, C nothing."""
    common, own = loading(4, positive=True), loading(10)
    populations = [
        population(1, "A", np.stack([common, own], 1), n=400),
        population(2, "B", 0.5 * common[:, None], n=400),
        population(3, "C", np.zeros((200, 1)), n=400),
    ]
    within = within_programs(catalogue(populations, 3, 200, 0), 0)
    return populations, within, common, own


def program(within, name, population):
    return next(p for p in within if (p.name, p.population) == (name, population))


def test_variance_where_it_was_learnt(two):
    (a, b, _), within, common, own = two
    for p, name, truth in ((a, "program_1", common), (a, "program_2", own), (b, "program_1", 0.5 * common)):
        variance, error = variance_here(p, program(within, name, p.name), within, 0)
        assert variance == pytest.approx((truth**2).sum(), rel=0.25)
        assert 0.03 < error / variance < 0.25


def test_what_taught_does_not_measure():
    """Loadings that noise taught: nothing on the other half, and much on the same."""
    nothing, on_other, on_same = np.zeros((2, 200, 0)), [], []
    for seed in range(8):
        p = population(seed, "A", np.zeros((200, 1)), n=100)
        learnt = np.stack([_taught(p.local, nothing, s) for s in seeds_of(seed)])
        for halves, out in ((learnt, on_other), (learnt[:, ::-1], on_same)):
            out.append(variance_here(p, learnt_program(halves), [], seed))
    (variance, error), (same, _) = (np.mean(v, 0) for v in (on_other, on_same))
    assert abs(variance) < error and same > 5 * error


def learnt_program(learnt):
    nothing = np.zeros(200)
    return Program("A", "within", "x", nothing, nothing, nothing, nothing == 0, 0.0, 1.0, 1, learnt=learnt)


def test_the_error_is_the_spread_over_draws_of_the_population():
    truth = 0.6 * loading(1)
    program = learnt_program(np.broadcast_to(truth, (HALVINGS, 2, 200)))
    found = [variance_here(population(seed, "A", truth[:, None], n=200), program, [], 0) for seed in range(40)]
    variance, error = np.array(found).T
    assert variance.mean() == pytest.approx((truth**2).sum(), rel=0.15)
    assert error.mean() == pytest.approx(variance.std(), rel=0.25)


def test_variance_elsewhere(two):
    (_, b, c), within, common, own = two
    asked = [(program(within, f"program_{k}", "A"), [1.0 * truth]) for k, truth in ((1, common), (2, own))]
    (in_b, error), (none_in_b, _) = variances_elsewhere(b, asked, within)
    assert in_b == pytest.approx(0.25 * (common**2).sum(), rel=0.25)
    assert abs(none_in_b) < 0.03 * (own**2).sum()
    for variance, error in variances_elsewhere(c, asked, within):
        assert abs(variance) < 4 * error and variance < 0.03 * (common**2).sum()


def test_variance_has_the_unit_of_the_data_not_of_the_loading(two):
    """Twice the loading, a quarter of the variance of its activity, the same together."""
    (_, b, _), within, common, _ = two
    first = program(within, "program_1", "A")
    ((single, _),) = variances_elsewhere(b, [(first, [common])], within)
    ((double, _),) = variances_elsewhere(b, [(first, [2 * common])], within)
    assert double == pytest.approx(single, rel=0.01)


def test_programs_asked_together_are_told_what_each_is_told_alone(two):
    (_, b, _), within, common, own = two
    first, second = program(within, "program_1", "A"), program(within, "program_2", "A")
    asked = [(first, [common, own]), (second, [own]), (first, [own])]
    together = variances_elsewhere(b, asked, within)
    alone = [variances_elsewhere(b, [one], within)[0] for one in asked]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)
    ((only, _),) = variances_elsewhere(b, [(first, [common])], within)
    assert together[0][0] == pytest.approx((only + together[2][0]) / 2, rel=1e-3)  # the mean over its loadings


def test_what_varies_besides_is_held_fixed(two):
    """A loading with a part of A's own program: beside it, the activity is that of the common one alone."""
    (a, *_), within, common, own = two
    mixed = common + 0.6 * own
    asked = [(program(within, "program_1", "B"), [mixed])]
    ((beside, _),) = variances_elsewhere(a, asked, within)
    ((apart, _),) = variances_elsewhere(a, asked, [p for p in within if p.name == REST])
    assert beside == pytest.approx((mixed**2).sum(), rel=0.2)
    assert apart < 0.8 * beside


def test_what_others_taught_is_measured_with_their_loadings(two):
    (_, b, _), within, common, _ = two
    borrowed = program(within, "program_1", "B")
    taught = type(borrowed)(**{**borrowed.__dict__, "learnt": None, "loading": common})
    assert variance_here(b, taught, within, 0) == variances_elsewhere(b, [(taught, [common])], within)[0]
