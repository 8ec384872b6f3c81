"""Activities of programs in cells."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import get_program_scores
from ldvae.programs.activities import as_tensor
from planted import loading, population


def test_scores_follow_the_true_activity(planted, planted_fit):
    scores = get_program_scores(planted_fit, planted, groupby="population", kind="within")
    population = planted.obs["population"].to_numpy()
    for name in ("P0", "P1", "P2"):
        rows = population == name
        for column, program in enumerate(["own_1", "shared_1"]):
            score = scores[f"{name}_{program}"].to_numpy()
            r = np.corrcoef(score[rows], planted.obsm["activity"][rows, column])[0, 1]
            assert abs(r) > 0.8
            assert score[rows].std() == pytest.approx(1.0, abs=0.2)


def test_a_score_has_the_units_of_its_loading():
    """Twice the loading, half the activity: what they predict together is the same."""
    program = loading(1)
    local = population(1, "A", program[:, None]).local
    single, double = (local.score(as_tensor(f * program[:, None]), local.intercept) for f in (1.0, 2.0))
    r = np.corrcoef(single.full[:, 0], double.full[:, 0])[0, 1]
    assert r > 0.999
    assert float(single.scale[0] / double.scale[0]) == pytest.approx(2.0, rel=0.05)
