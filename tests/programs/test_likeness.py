"""Programs that are mixtures of populations, and the samples in which programs vary."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from ldvae.programs.catalogue import catalogue
from ldvae.programs.likeness import compared, warn_like
from ldvae.programs.program import call_programs, plausible
from ldvae.programs.within import within_programs
from planted import loading, population, setting


def markers(seed):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(200) < 0.25, rng.normal(size=200), 0.0)


def programs_of(populations, n=3):
    found = setting(populations)
    return compared(found, within_programs(catalogue(populations, n, 200, 0), 0))


def r(program, truth):
    return abs(np.corrcoef(program.loading, truth)[0, 1])


@pytest.mark.parametrize("seed", range(2))
def test_wrong_labels_are_pointed_out_with_the_right_population(seed):
    """A fifth of A are cells of B or, then, of C; A and C have a program besides."""
    to_b, to_c, own, of_c = markers(100 + seed), markers(200 + seed), loading(1), loading(9)
    for other, change in (("B", to_b), ("C", to_c)):
        populations = [
            population(1 + seed, "A", own[:, None], shift=(np.arange(250) < 50)[:, None] * change),
            population(2 + seed, "B", np.zeros((200, 1)), shift=to_b),
            population(3 + seed, "C", of_c[:, None], shift=to_c),
        ]
        programs = [p for p in programs_of(populations) if plausible(p)]
        mixture = max((p for p in programs if p.population == "A"), key=lambda p: r(p, change))
        assert r(mixture, change) > 0.7
        assert mixture.towards == other and mixture.towards_cosine > 0.5
        with pytest.warns(UserWarning, match=rf"'{mixture.name} of A \(like {other}, 0\.\d\d\)': ") as said:
            warn_like(programs, np.ones(len(programs), bool))
        assert "program_" in mixture.name and "wrong labels" in str(said[0].message)
        real = [p for p in programs if p is not mixture]
        assert len(real) >= 2
        assert all(p.towards_cosine < 0.5 * mixture.towards_cosine for p in real)


def test_a_real_program_is_like_no_population():
    populations = [
        population(i, name, loading(10 + i)[:, None], n=400, shift=markers(100 + i)) for i, name in enumerate("ABC")
    ]
    programs = [p for p in programs_of(populations) if plausible(p)]
    assert len(programs) == 3
    for p in programs:
        assert p.towards in set("ABC") - {p.population}
        assert 0 <= p.towards_cosine < 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_like(programs, np.ones(3, bool))


def test_only_what_is_called_is_warned_of():
    (program,) = (p for p in programs_of([population(1, "A", loading(1)[:, None])]) if plausible(p))
    assert program.towards == "" and np.isnan(program.towards_cosine)  # alone
    like = replace(program, towards="B", towards_cosine=0.5)
    with pytest.warns(UserWarning, match="like B, 0.50"):
        warn_like([like, program], np.array([True, True]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_like([like, program], np.array([False, True]))
        warn_like([replace(like, towards_cosine=0.19)], np.array([True]))


def test_share_of_samples_in_which_a_program_varies():
    """It varies in two of four samples; one of ten cells is not asked."""
    rng, truth = np.random.default_rng(5), loading(1)
    samples = np.repeat(np.arange(5), [80, 80, 80, 80, 10])
    n = len(samples)
    activity = np.where(samples[:, None] < 2, rng.normal(size=(n, 1)), 0.0)
    half = population(1, "A", np.zeros((200, 1)), n=n, shift=activity * truth, samples=samples)
    every = population(2, "B", truth[:, None], n=n, samples=samples)
    unknown = population(3, "C", truth[:, None], n=n)
    found = {p.population: p for p in programs_of([half, every, unknown], 2) if plausible(p)}
    assert {name: p.name for name, p in found.items()} == dict.fromkeys("ABC", "program_1")
    assert found["A"].samples == 0.5 and found["B"].samples == 1.0 and np.isnan(found["C"].samples)


def test_what_is_no_program_is_compared_with_nothing():
    populations = [population(i, f"P{i}", np.zeros((200, 1)), shift=markers(i)) for i in range(2)]
    programs = programs_of(populations, 1)
    assert not call_programs(programs)[1].any() and len(programs) == 2
    for p in programs:
        assert p.towards == "" and np.isnan(p.towards_cosine) and np.isnan(p.samples)
