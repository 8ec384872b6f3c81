"""x"""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import get_program_scores, population_programs


def test_scores_have_a_column_for_each_called_program(simulated, fit):
    arguments = dict(groupby="population", kind="between")
    scores = get_program_scores(fit, simulated, **arguments)
    assert scores.columns.tolist() == ["cell", "P0_between", "P1_between", "P2_between"]
    assert scores["cell"].tolist() == simulated.obs_names.tolist()
    for name in ("P0", "P1", "P2"):  # 1 at the centre of the population, 0 at that of the others
        own = (simulated.obs["population"] == name).to_numpy()
        score = scores[f"{name}_between"]
        assert score[own].mean() == pytest.approx(1.0)
        others = [score[simulated.obs["population"].to_numpy() == p].mean() for p in ("P0", "P1", "P2") if p != name]
        assert np.mean(others) == pytest.approx(0.0, abs=1e-8)
    within = get_program_scores(fit, simulated, groupby="population", kind="within", n_programs=1)
    programs = population_programs(fit, simulated, groupby="population", kind="within", n_programs=1)
    called = programs[programs["called"]]
    assert within.columns.tolist() == ["cell", *(called["population"] + "_" + called["program"])]
    assert len(called) > 0
    for column, name in zip(within.columns[1:], called["population"], strict=True):
        own = (simulated.obs["population"] == name).to_numpy()
        assert within.loc[own, column].notna().all()


def test_deviations_have_no_scores(simulated, fit):
    with pytest.raises(ValueError, match="`kind` must be 'between', 'within' or 'specific' for scores"):
        get_program_scores(fit, simulated, groupby="population", kind="deviation")
