"""Arguments are accepted as Python and R write them, or refused with one sentence."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from ldvae import checks


def sentence(error, call, *args, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_shown_quotes_a_few_and_counts_the_rest():
    assert checks.shown(["a", 2]) == "'a', '2'"
    assert checks.shown("abcdefg", 3) == "'a', 'b', 'c' and 4 more"
    assert checks.shown(iter("abcde")) == "'a', 'b', 'c', 'd', 'e'"
    assert checks.shown([]) == ""


@pytest.mark.parametrize("value", [2, 2.0, np.int32(2), np.float32(2), np.array(2), Fraction(4, 2)])
def test_number_takes_every_kind_of_real(value):
    found = checks.number("x", value, 0, 3)
    assert found == 2.0 and type(found) is float


@pytest.mark.parametrize(
    ("value", "kwargs", "message"),
    [
        (5, dict(low=0, high=1), "`x` must be a number at least 0 and at most 1, not 5."),
        (-0.5, dict(low=0), "`x` must be a number at least 0, not -0.5."),
        (0, dict(low=0, low_open=True), "`x` must be a number more than 0, not 0."),
        (1, dict(low=0, high=1, high_open=True), "`x` must be a number at least 0 and less than 1, not 1."),
        (2, dict(high=1), "`x` must be a number at most 1, not 2."),
        (math.nan, {}, "`x` must be a number, not nan."),
        (math.inf, {}, "`x` must be a number, not inf."),
    ],
)
def test_number_refuses_what_is_out_of_bounds(value, kwargs, message):
    assert sentence(ValueError, checks.number, "x", value, **kwargs) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "`x` must be a number at least 0, but True is a bool."),
        (np.True_, "`x` must be a number at least 0, but True is a bool."),
        ("1", "`x` must be a number at least 0, but '1' is a str."),
        (None, "`x` must be a number at least 0, not None."),
        ([1], "`x` must be a number at least 0, but [1] is a list."),
        (1j, "`x` must be a number at least 0, but 1j is a complex."),
    ],
)
def test_number_refuses_what_is_no_number(value, message):
    assert sentence(TypeError, checks.number, "x", value, 0) == message


def test_number_takes_its_closed_bounds():
    assert checks.number("x", 0, 0, 1) == 0 and checks.number("x", 1, 0, 1) == 1


@pytest.mark.parametrize("value", [10, 10.0, np.int64(10), np.float64(10), np.uint8(10), np.array(10.0)])
def test_integer_takes_whole_numbers_as_r_writes_them(value):
    found = checks.integer("n", value, 1, 10)
    assert found == 10 and type(found) is int


def test_integer_keeps_all_digits():
    assert checks.integer("n", 2**62 + 1, 0) == 2**62 + 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "`n` must be a whole number of at least 1 and at most 9, not 1.5."),
        (0, "`n` must be a whole number of at least 1 and at most 9, not 0."),
        (10, "`n` must be a whole number of at least 1 and at most 9, not 10."),
        (math.nan, "`n` must be a whole number of at least 1 and at most 9, not nan."),
        (-math.inf, "`n` must be a whole number of at least 1 and at most 9, not -inf."),
    ],
)
def test_integer_refuses_fractions_and_bounds(value, message):
    assert sentence(ValueError, checks.integer, "n", value, 1, 9) == message


def test_integer_refuses_what_is_no_number():
    assert sentence(TypeError, checks.integer, "n", True, 1) == (
        "`n` must be a whole number of at least 1, but True is a bool."
    )
    assert sentence(TypeError, checks.integer, "n", "3", 1).endswith("but '3' is a str.")
    assert sentence(TypeError, checks.integer, "n", None, 1).endswith(", not None.")


def test_boolean_takes_only_true_and_false():
    assert checks.boolean("b", True) is True
    assert checks.boolean("b", np.False_) is False
    assert checks.boolean("b", np.array(True)) is True
    for value in (1, 0, "True", None, 1.0):
        assert sentence(TypeError, checks.boolean, "b", value) == f"`b` must be True or False, not {value!r}."


def test_choice():
    assert checks.choice("c", "nb", ("nb", "zinb")) == "nb"
    found = checks.choice("c", np.str_("zinb"), ("nb", "zinb"))
    assert found == "zinb" and type(found) is str
    assert sentence(ValueError, checks.choice, "c", "NB", ("nb", "zinb")) == (
        "`c` must be one of 'nb', 'zinb', not 'NB'."
    )
    assert sentence(ValueError, checks.choice, "c", None, ("nb",)) == "`c` must be one of 'nb', not None."
    assert sentence(ValueError, checks.choice, "c", ["nb"], ("nb",)) == "`c` must be one of 'nb', not ['nb']."


def test_strings():
    assert checks.strings("g", "ACTB") == ["ACTB"]
    assert checks.strings("g", ("b", "a")) == ["b", "a"]
    assert checks.strings("g", np.array(["b", "a"])) == ["b", "a"]
    assert {type(v) for v in checks.strings("g", np.array(["b", "a"]))} == {str}
    assert checks.strings("g", ()) == []
    many = [f"g{i:02}" for i in range(40)]
    assert checks.strings("g", set(many)) == checks.strings("g", frozenset(many)) == many
    assert checks.strings("g", {"b": 1, "a": 2}.keys()) == ["b", "a"]
    assert sentence(TypeError, checks.strings, "g", 3) == "`g` must be a list of names, not 3."
    assert sentence(TypeError, checks.strings, "g", ["a", 2]) == "`g` must be a list of names, but 2 is a int."
    assert sentence(ValueError, checks.strings, "g", list("abcab")) == "`g` names 'a', 'b' more than once."


def test_optional_lets_none_through_and_checks_the_rest():
    assert checks.optional(checks.integer, "n", None, 1) is None
    assert checks.optional(checks.integer, "n", 2.0, 1) == 2
    assert sentence(ValueError, checks.optional, checks.integer, "n", 0, 1).startswith("`n` must be a whole number")
