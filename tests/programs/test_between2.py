"""x"""

from __future__ import annotations

import pytest

from ldvae import population_programs


def test_a_reference_must_have_cells(simulated, fit):
    adata = simulated.copy()
    labels = adata.obs["population"].astype(str).to_numpy()
    labels[:10] = "few"
    adata.obs["population"] = labels
    with (
        pytest.warns(UserWarning, match="'few'"),
        pytest.raises(ValueError, match="`reference` must have a population"),
    ):
        population_programs(fit, adata, groupby="population", reference=["few"])


def test_a_reference_is_not_compared_with_itself(simulated, fit):
    arguments = dict(groupby="population", n_programs=1)
    programs = population_programs(fit, simulated, reference=["P1"], **arguments)
    assert set(programs["population"]) == {"P0", "P2"}
    programs = population_programs(fit, simulated, reference=["P1", "P2"], **arguments)
    assert set(programs["population"]) == {"P0", "P1", "P2"}
