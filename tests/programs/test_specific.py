"""A program of one population's own, and none that others have."""

from __future__ import annotations

import pytest

from ldvae.programs.program import call_programs
from ldvae.programs.specific import specific_programs
from ldvae.programs.within import within_programs
from planted import loading, population, setting


@pytest.mark.parametrize(("amplitude", "own"), [(0.0, True), (0.5, True), (0.85, False), (1.0, False)])
def test_a_program_with_half_of_its_variance_elsewhere_is_not_specific(amplitude, own):
    program = loading(1)
    populations = [
        population(1, "A", program[:, None]),
        population(2, "B", amplitude * program[:, None]),
        population(3, "C", 0 * program[:, None]),
    ]
    found = setting(populations, None)
    first = specific_programs(found, 1)[0]
    assert first.varies < 1e-6
    assert call_programs([first])[1].tolist() == [own]
    if amplitude >= 0.5:
        assert first.ratio == pytest.approx(amplitude**-2, rel=0.35)
    with_c = specific_programs(found, 1, ["C"])[0]  # whatever B does, C has none of it
    assert call_programs([with_c])[1].tolist() == [True]


def test_shared_loadings_are_no_specific_programs():
    common = loading(4, positive=True)
    populations = [population(i, f"P{i}", common[:, None]) for i in range(3)]
    own = specific_programs(setting(populations, common), 2)
    assert [p.name for p in own] == ["own_1"] * 3
    assert not call_programs(own)[1].any()
    within = within_programs(setting(populations, common), own)
    assert [p.name for p in within if p.pvalue < 0.01] == ["shared_1"] * 3
    # not knowing it, each population finds it for itself, and it is no one's own
    own = specific_programs(setting(populations, None), 1)
    assert all(p.varies < 1e-6 for p in own)
    assert not call_programs(own)[1].any()
