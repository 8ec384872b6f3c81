"""Activities of programs in cells."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import get_program_scores, population_programs
from ldvae.programs.activities import as_tensor
from ldvae.tables import score_name
from planted import loading, population

pytestmark = pytest.mark.filterwarnings("ignore:.*may have more programs")  # one is looked for, to be quick


def test_scores_follow_the_true_activity(planted, planted_fit):
    scores = get_program_scores(planted_fit, planted, groupby="population", kind="within")
    programs = population_programs(planted_fit, planted, groupby="population", kind="within").query("called")
    population = planted.obs["population"].to_numpy()
    names = programs.groupby("population")["program"].apply(set)
    for name in ("P0", "P1", "P2"):
        rows = population == name
        (own,) = names[name] - {"program_1"}
        for column, program in enumerate([own, "program_1"]):
            score = scores[f"{name}_{program}"].to_numpy()
            r = np.corrcoef(score[rows], planted.obsm["activity"][rows, column])[0, 1]
            assert abs(r) > 0.8
            assert score[rows].std() == pytest.approx(1.0, abs=0.2)
            if program == own:  # elsewhere it does not vary
                assert score[~rows].std() < 0.7
    # a common program is the same score, whichever population's loadings make it
    common = np.corrcoef([scores[f"{name}_program_1"] for name in ("P0", "P1", "P2", "P3")])
    assert common.min() > 0.95


def test_a_score_has_the_units_of_its_loading():
    """Twice the loading, half the activity: what they predict together is the same."""
    program = loading(1)
    local = population(1, "A", program[:, None]).local
    single, double = (local.score(as_tensor(f * program[:, None]), local.intercept) for f in (1.0, 2.0))
    r = np.corrcoef(single.full[:, 0], double.full[:, 0])[0, 1]
    assert r > 0.999
    assert float(single.scale[0] / double.scale[0]) == pytest.approx(2.0, rel=0.05)


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


@pytest.mark.parametrize(
    ("population", "name"),
    [("P0", "P0_program_1"), ("0", "group_0_program_1"), ("CD4+ T", "CD4pos_T_program_1"), ("CD4-", "CD4neg_program_1"),
     ("T/NK cell", "T_NK_cell_program_1"), ("T-cell", "T_cell_program_1"), ("CD56+CD16-", "CD56posCD16neg_program_1"),
     ("β cells", "group____cells_program_1")],
)  # fmt: skip
def test_scores_have_names_that_are_valid_everywhere(population, name):
    found = score_name(population, "program_1")
    assert (found == name or population.startswith("β")) and found.isidentifier() and found.isascii()
