"""Which programs are called."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ldvae.programs.program import Program, call_programs


def test_calls_need_genes_and_effect():
    lfsr = np.r_[np.full(5, 0.01), np.ones(5)]
    program = Program("P", "specific", "own_1", np.ones(10), np.ones(10), lfsr, np.ones(10, bool), 1e-4, 9.0, 100)
    variants = [
        program,
        replace(program, lfsr=np.r_[np.full(4, 0.01), np.ones(6)]),
        replace(program, enough=False),
        replace(program, pvalue=0.04),
    ]
    adjusted, called = call_programs(variants)
    assert called.tolist() == [True, False, False, True]
    np.testing.assert_allclose(adjusted, [4e-4 / 3, 4e-4 / 3, 4e-4 / 3, 0.04])
    deviation = replace(program, kind="deviation", lfsr=np.r_[0.01, np.ones(9)])
    assert call_programs([deviation])[1].tolist() == [True]
