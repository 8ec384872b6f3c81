"""Whether genes vary together, from several halves."""

from __future__ import annotations

import pytest

from ldvae.programs.evidence import VarianceTest


def test_variance_tests_of_halves_combine():
    assert VarianceTest(1.0, 0.0).pvalue == 1.0
    both = VarianceTest.combine([VarianceTest(1.5, 30.0), VarianceTest(0.9, 90.0)])
    assert both.df == 120
    assert both.ratio == pytest.approx((1.5 * 30 + 0.9 * 90) / 120)
    none = VarianceTest.combine([VarianceTest(1.0, 0.0), VarianceTest(1.0, 0.0)])
    assert (none.ratio, none.pvalue) == (1.0, 1.0)
