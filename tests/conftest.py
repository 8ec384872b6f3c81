"""Small data with planted truth, and one fit of them, for all tests that only look at a fit."""

from __future__ import annotations

import pytest

from ldvae import fit_ldvae, simulate_counts


@pytest.fixture(scope="session")
def simulated():
    """Three populations, two batches, six samples of which three are treated. Tests must not change it."""
    return simulate_counts(
        n_cells=600,
        n_genes=150,
        n_populations=3,
        program_size=15,
        n_identity=20,
        n_batches=2,
        n_samples=6,
        treatment_effect=0.8,
        seed=1,
    )


@pytest.fixture(scope="session")
def settings():
    """What keeps a fit of `simulated` to a second or two."""
    return dict(n_latent=6, n_hidden=32, max_epochs=15, batch_size=32, progress=False, device="cpu")


@pytest.fixture(scope="session")
def fit(simulated, settings):
    """A linear negative binomial fit of all genes, with the batch."""
    return fit_ldvae(simulated, batch_key="batch", **settings)


@pytest.fixture(scope="session")
def decoded(simulated, settings):
    """The same, its factors those of the decoder."""
    return fit_ldvae(simulated, batch_key="batch", measure_factors=False, **settings)


@pytest.fixture(params=["cpu", "as on a device"])
def each_path(request, monkeypatch):
    """Twice: by what is done on a CPU, and by what is done on a device, where no number may be waited for."""
    if request.param != "cpu":
        for module in ("counts.minibatches", "model.link", "model.objective", "model.training"):
            monkeypatch.setattr(f"ldvae.{module}.on_cpu", lambda tensor: False)
