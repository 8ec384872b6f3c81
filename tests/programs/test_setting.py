"""Which populations have a local model."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import fit_ldvae, get_program_scores, population_programs
from ldvae.programs import find as find_module

pytestmark = pytest.mark.filterwarnings("ignore:.*may have more programs")  # one is looked for, to be quick


@pytest.fixture(scope="module")
def with_few(planted):
    """Twenty cells of P3 are a population of their own."""
    adata = planted.copy()
    labels = adata.obs["population"].astype(str).to_numpy()
    labels[np.flatnonzero(labels == "P3")[:20]] = "few"
    adata.obs["population"] = labels
    return adata


@pytest.mark.parametrize("kind", ["within", "specific", "deviation"])
def test_small_populations_have_a_row_and_no_model(with_few, planted_fit, kind):
    find_module._LAST.pop(planted_fit, None)
    with pytest.warns(UserWarning, match="fewer than 30 cells are left out: 'few'"):
        programs = population_programs(planted_fit, with_few, groupby="population", kind=kind, n_programs=1)
    rows = programs[programs["population"] == "few"]
    if kind == "deviation":  # of programs that populations have
        assert len(rows) == 0
        return
    assert set(programs["population"]) == {"P0", "P1", "P2", "P3", "few"}  # a row for each
    assert rows[["program", "called", "reason", "n_cells", "n_genes"]].to_numpy().tolist() == [
        ["rest", False, "too few cells", 20, 0]
    ]
    assert rows[["pval", "padj"]].isna().all(axis=None)
    assert (programs["reason"] == "").tolist() == programs["called"].tolist()
    assert programs.loc[programs["population"] != "few", "padj"].notna().all()


def test_populations_without_a_gene_to_test_have_a_row(planted, planted_fit):
    adata = planted.copy()
    inside = np.flatnonzero(adata.obs["population"] == "P3")
    counts = adata.X.tolil()
    counts[inside] = 0
    counts[inside, 0] = 1.0  # cells with a count, of a gene that the fit has
    adata.X = counts.tocsr()
    fit = fit_ldvae(adata, genes=adata.var_names[1:], n_latent=3, max_epochs=2, progress=False, measure_factors=False)
    with pytest.warns(UserWarning, match="no gene of the fit is in 10 cells are left out: 'P3'"):
        programs = population_programs(fit, adata, groupby="population", kind="within", n_programs=1)
    assert programs.loc[programs["population"] == "P3", "reason"].tolist() == ["too few cells"]


def test_no_population_is_large_enough(planted, planted_fit):
    adata = planted.copy()
    adata.obs["cell"] = [f"c{i // 20}" for i in range(len(adata))]
    with pytest.raises(ValueError, match="must have populations of at least 30 cells"):
        population_programs(planted_fit, adata, groupby="cell")


def test_cells_without_a_label_take_no_part(simulated, fit):
    adata = simulated.copy()
    gone = np.zeros(len(adata), bool)
    gone[np.flatnonzero(adata.obs["population"] == "P2")] = True
    adata.obs["population"] = adata.obs["population"].where(~gone)
    programs = population_programs(fit, adata, groupby="population", kind="within", n_programs=1)
    assert set(programs["population"]) == {"P0", "P1"}
    scores = get_program_scores(fit, adata, groupby="population", kind="within", n_programs=1)
    columns = [c for c in scores if c != "cell"]
    assert scores.loc[gone, columns].isna().all().all()


@pytest.mark.parametrize("kind", ["specific", "deviation"])
def test_one_population_has_nothing_to_differ_from(simulated, fit, kind):
    adata = simulated.copy()
    adata.obs["all"] = "cells"
    with pytest.raises(ValueError, match=f"two populations of at least 30 cells for kind '{kind}', and 'all' has 1"):
        population_programs(fit, adata, groupby="all", kind=kind)
    assert len(population_programs(fit, adata, groupby="all", kind="within", n_programs=1)) >= 1
