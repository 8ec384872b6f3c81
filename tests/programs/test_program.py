"""Which programs are called, and why others are not."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from ldvae.programs.program import REST, Program, beside, call_programs, cosine, heavier_tail, plausible, too_small

LFSR = np.r_[np.full(5, 0.01), np.ones(5)]
PROGRAM = Program(
    "P", "specific", "program_1", np.ones(10), np.ones(10), LFSR, np.ones(10, bool), 1e-4, 9.0, 100, varies=1e-9
)


def test_calls_need_genes_and_effect():
    variants = [
        PROGRAM,
        replace(PROGRAM, lfsr=np.r_[np.full(4, 0.01), np.ones(6)]),
        replace(PROGRAM, enough=False),
        replace(PROGRAM, pvalue=0.04),
    ]
    adjusted, called, reasons = call_programs(variants)
    assert called.tolist() == [True, False, False, True]
    np.testing.assert_allclose(adjusted, [4e-4 / 3, 4e-4 / 3, 4e-4 / 3, 0.04])
    assert [not reason for reason in reasons] == called.tolist()
    deviation = replace(PROGRAM, kind="deviation", lfsr=np.r_[0.01, np.ones(9)])
    assert call_programs([deviation])[1].tolist() == [True]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        (dict(varies=0.05), "does not vary beyond counting noise"),
        (dict(varies=float("nan")), "does not vary beyond counting noise"),
        (dict(enough=False), "less than 10 % beyond counting noise"),
        (dict(lfsr=np.r_[np.full(4, 0.01), np.ones(6)]), "fewer than 5 sure genes"),
        (dict(tested=np.arange(10) > 0), "fewer than 5 sure genes"),
        (dict(pvalue=0.3, ratio=1.5, reference="Q"), "varies in Q too"),
        (dict(pvalue=0.3, ratio=3.0, reference="Q"), "may vary in Q too"),
        (dict(pvalue=0.3, ratio=float("inf"), reference="Q"), "may vary in Q too"),
        (dict(pvalue=0.3, kind="within"), "not sure enough among as many tests"),
        (dict(reason="other genes answer here"), "other genes answer here"),
        (dict(kind="between", pvalue=0.06), "no gene differs for sure"),
        (dict(kind="deviation", lfsr=np.ones(10)), "no gene differs for sure"),
        (dict(kind="between", lfsr=np.r_[0.01, np.ones(9)]), ""),
        (dict(kind="within", varies=0.2, enough=False, pvalue=0.2), "does not vary beyond counting noise"),  # the first
    ],
)
def test_every_reason(change, reason):
    _, called, reasons = call_programs([replace(PROGRAM, **change)])
    assert reasons == [reason]
    assert called.tolist() == [reason == ""]


def test_many_tests_make_a_pvalue_unsure():
    programs = [replace(PROGRAM, pvalue=0.03), *[replace(PROGRAM, pvalue=0.9, ratio=1.0, reference="Q")] * 9]
    assert call_programs(programs)[2] == ["not sure enough among as many tests", *["varies in Q too"] * 9]
    assert call_programs(programs[:1])[2] == [""]


def test_too_few_cells_to_say_anything():
    program = too_small("few", "within", 12, 30)
    assert (program.name, program.n_cells, program.n_genes, program.loading.shape) == (REST, 12, 0, (30,))
    assert isnan(program.pvalue) and not plausible(program)
    adjusted, called, reasons = call_programs([PROGRAM, program])
    assert called.tolist() == [True, False] and reasons == ["", "too few cells"]
    assert adjusted[0] == PROGRAM.pvalue  # it was no test


def test_plausible_is_to_vary_for_sure_by_enough_with_enough_genes():
    assert plausible(PROGRAM)
    for change in (dict(varies=0.06), dict(enough=False), dict(lfsr=np.ones(10)), dict(varies=float("nan"))):
        assert not plausible(replace(PROGRAM, **change))
    assert plausible(replace(PROGRAM, pvalue=1.0))  # whatever else is asked of it


def test_what_varies_besides():
    eye = np.eye(10)
    one, two, like = (
        replace(PROGRAM, name=f"program_{k}", loading=v) for k, v in enumerate((*eye[:2], eye[0] + eye[2]))
    )
    weak = replace(PROGRAM, name="program_9", loading=eye[5], enough=False)
    here = [one, two, like, weak]
    elsewhere = [replace(p, population="Q") for p in here]
    found = beside([*here, *elsewhere], "P", one)
    assert np.array_equal(found.T, [two.loading, like.loading])  # not itself, nor what is no program
    found = beside([*here, *elsewhere], "Q", one)
    assert np.array_equal(found.T, [two.loading])  # elsewhere its like may be it, under another name
    assert beside([one], "P", one).shape == (10, 0)


def test_cosines_have_no_sign():
    a, b = np.array([1.0, 0, 0]), np.array([[1.0, -1, 0], [0, 1, 1], [0, 0, 0]])
    np.testing.assert_allclose(cosine(a, b), [1, 2**-0.5, 0])
    assert cosine(0 * a, b).tolist() == [0, 0, 0]


def test_the_heavier_tail_is_up():
    loading = np.array([[2.0, -2.0, 2.0], [-1.0, 1.0, -1.0], [-1.0, 1.0, -1.0], [-9.0, -9.0, 0.1]])
    std = np.array([[0.1] * 3] * 3 + [[9.0, 9.0, np.nan]])  # the largest are noise
    assert heavier_tail(loading, std).tolist() == [1, -1, 1]
