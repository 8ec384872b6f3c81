"""What teaches a program does not measure it."""

from __future__ import annotations

from ldvae import population_programs
from ldvae.programs.crossfit import halves_of


def test_every_program_is_measured_on_the_halves_that_did_not_teach_it(planted, planted_fit, monkeypatch):
    seeds = []
    monkeypatch.setattr(
        "ldvae.programs.crossfit.halves_of", lambda local, seed: seeds.append(seed) or halves_of(local, seed)
    )
    # a second program must be sought, so that a split of its own would show
    programs = population_programs(planted_fit, planted, groupby="population", kind="specific", n_programs=2, seed=7)
    assert (programs["program"] == "own_2").any()
    assert set(seeds) == {7}
