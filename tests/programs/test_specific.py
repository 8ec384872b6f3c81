"""A program of one population's own, and none that others have."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from ldvae.programs.catalogue import catalogue
from ldvae.programs.program import REST, call_programs
from ldvae.programs.specific import specific_programs
from ldvae.programs.within import within_programs
from planted import loading, population, setting

pytestmark = pytest.mark.filterwarnings("ignore:.*may have more programs")  # one is looked for, to be quick


def both(populations, most=2):
    found = setting(populations)
    return found, within_programs(catalogue(populations, most, 200, 0), 0)


def of(programs, name, population):
    return next(p for p in programs if (p.name, p.population) == (name, population))


def reasons(programs):
    return {(p.population, p.name): r for p, r in zip(programs, call_programs(programs)[2], strict=True)}


@pytest.mark.parametrize(("amplitude", "own"), [(0.0, True), (0.5, True), (0.85, False), (1.0, False)])
def test_a_program_with_half_of_its_variance_elsewhere_is_not_specific(amplitude, own):
    program = loading(1)
    found, within = both(
        [
            population(1, "A", program[:, None]),
            population(3, "C", 0 * program[:, None]),
            population(2, "B", amplitude * program[:, None]),
        ]
    )
    programs = specific_programs(found, within, None)
    first = of(programs, "program_1", "A")
    assert first.varies < 1e-6
    assert reasons(programs)["A", "program_1"] == ("" if own else "varies in B too")
    assert first.reference == "B" or amplitude == 0
    if amplitude >= 0.5:
        assert first.ratio == pytest.approx(amplitude**-2, rel=0.35)
        # elsewhere it is weaker, so it is not that population's own
        assert reasons(programs)["B", "program_1"] == "varies in A too"
    else:
        assert first.ratio > 20
    with_c = specific_programs(found, within, ["C"])  # whatever B does, C has none of it
    assert reasons(with_c)["A", "program_1"] == ""
    assert of(with_c, "program_1", "A").reference == "C" and of(with_c, "program_1", "A").ratio > 20
    assert {p.population for p in with_c} == ({"A", "B"})  # C is not compared with itself


def test_a_ratio_that_is_not_sure_may_be_less():
    """Three or four times the variance, told by few cells."""
    program = loading(1)
    found, within = both([population(1, "A", program[:, None], n=70), population(12, "B", 0.5 * program[:, None])])
    programs = specific_programs(found, within, None)
    assert of(programs, "program_1", "A").ratio > 2 and of(programs, "program_1", "A").pvalue > 0.05
    assert reasons(programs)["A", "program_1"] == "may vary in B too"


def test_a_common_program_is_nobodys_own_and_an_own_one_is():
    common, own = loading(4, positive=True), loading(10)
    programs = [np.stack([common, own], 1), common[:, None], common[:, None]]
    found, within = both([population(i, f"P{i}", p) for i, p in enumerate(programs)])
    asked = specific_programs(found, within, None)
    why = reasons(asked)
    assert [key for key, reason in why.items() if not reason] == [("P0", "program_2")]
    for i in range(3):
        assert why[f"P{i}", "program_1"] in {f"varies in P{j} too" for j in range(3) if j != i}
        assert of(asked, "program_1", f"P{i}").pvalue > 0.5
        assert of(asked, "program_1", f"P{i}").varies < 1e-6
    assert np.array_equal(of(asked, "program_2", "P0").loading, of(within, "program_2", "P0").loading)
    assert {p.kind for p in asked} == {"specific"} and all(isnan(p.share) for p in asked)


def test_every_population_has_a_row():
    """What is not plausible is asked nothing, and the rest of every population is told."""
    program = loading(1)
    populations = [
        population(i, name, a * program[:, None]) for i, (name, a) in enumerate(zip("ABC", (1, 1, 0), strict=True), 1)
    ]
    found, within = both(populations)
    assert of(within, "program_1", "C").pvalue > 0.05
    programs = specific_programs(found, within, None)
    assert {(p.population, p.name) for p in programs} >= {("C", REST), ("A", "program_1"), ("B", "program_1")}
    assert ("C", "program_1") not in {(p.population, p.name) for p in programs}
    rest = of(programs, REST, "C")
    assert rest.pvalue == of(within, REST, "C").pvalue and isnan(rest.ratio)


def test_the_pvalue_is_the_larger_of_two():
    program = loading(1)
    found, within = both([population(1, "A", program[:, None]), population(2, "B", 0 * program[:, None])])
    here = of(within, "program_1", "A")
    sure = of(specific_programs(found, within, None), "program_1", "A")
    assert here.varies < sure.pvalue < 1e-4  # genes vary for sure, and so much more than elsewhere a little less so
    unsure = [replace(p, varies=0.03) if p is here else p for p in within]
    assert of(specific_programs(found, unsure, None), "program_1", "A").pvalue == 0.03
