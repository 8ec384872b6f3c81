"""Fits of other kinds than the one that all tests look at."""

from __future__ import annotations

import pytest

from ldvae import fit_ldvae


@pytest.fixture(scope="session")
def few_genes(simulated, settings):
    """Of some of the genes, two of them out of order: their expression does not sum to one."""
    return fit_ldvae(simulated, batch_key="batch", genes=["G7", "G5", *(f"G{j}" for j in range(20, 80))], **settings)


@pytest.fixture(scope="session")
def curved(simulated, settings):
    """With a non-linear decoder."""
    return fit_ldvae(simulated, batch_key="batch", decoder="nonlinear", **settings)
