"""Populations of which it is known which programs they have."""

from __future__ import annotations

import pytest

from ldvae import fit_ldvae
from planted import SETTINGS, simulate_programs


@pytest.fixture(scope="session")
def planted():
    """Four populations with one shared program and one of their own, but P3."""
    return simulate_programs(null_populations=[3], seed=1)


@pytest.fixture(scope="session")
def planted_fit(planted):
    return fit_ldvae(planted, **SETTINGS)
