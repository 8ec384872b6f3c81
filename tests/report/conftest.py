"""A report and what was drawn for it."""

from __future__ import annotations

import numpy as np
import pytest

import ldvae
from ldvae.report import sections
from support import LABELS, Reader


@pytest.fixture(scope="module")
def cells():
    """The treatment has an effect that six samples are enough to see."""
    cells = ldvae.simulate_counts(
        n_cells=600, n_genes=150, n_populations=3, program_size=15, n_identity=20, n_samples=6, treatment_effect=2.5,
        seed=1,
    )  # fmt: skip
    cells.obs["label"] = cells.obs["population"].astype(str).map(LABELS)
    return cells


@pytest.fixture(scope="module")
def fit(cells, settings):
    return ldvae.fit_ldvae(cells, **settings)


@pytest.fixture(scope="module")
def volcanoes():
    """The tables that the report draws, as (de, contributions)."""
    return []


@pytest.fixture(scope="module")
def written(fit, cells, tmp_path_factory, volcanoes):
    path = tmp_path_factory.mktemp("report") / "report.html"
    at = np.random.default_rng(0).normal(size=(cells.n_obs, 2))

    def plot(de, *, contributions=None, page=1):
        volcanoes.append((de, contributions))
        return ldvae.plot_differential_expression(de, contributions=contributions, page=page)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "plot_differential_expression", plot)
        ldvae.write_report(
            fit, cells, groupby="label", path=path, key="treatment", sample_key="sample", embedding=at, n_genes=3
        )
    return path


@pytest.fixture(scope="module")
def read(written):
    return Reader(written.read_text(encoding="utf-8"))
