"""Regressions of many genes at once against statsmodels, gene by gene."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from ldvae.stats.nb_regression import evidence, nb_regression


@pytest.fixture(scope="module")
def regressed():
    rng = np.random.default_rng(0)
    n = 800
    columns = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    library = rng.uniform(500, 2000, n)
    truth = np.column_stack([rng.uniform(-8, -5, 6), rng.normal(0, 0.4, (6, 2))])
    mu = np.exp(truth @ columns.T) * library
    counts = rng.poisson(mu * rng.gamma(2.0, 0.5, mu.shape)).astype(float)
    half = np.arange(n) % 2 == 0
    return counts, columns, library, nb_regression(counts, columns, library, np.zeros(3), half)


def model(counts, columns, library, theta):
    family = sm.families.NegativeBinomial(alpha=1 / theta)
    return sm.GLM(counts, columns, family=family, offset=np.log(library)).fit()


def test_coefficients_and_errors_are_those_of_a_glm(regressed):
    counts, columns, library, found = regressed
    variance = np.linalg.inv(found.information.sum(0))
    for g in range(len(counts)):
        expected = model(counts[g], columns, library, found.theta[g])
        np.testing.assert_allclose(found.coefficient[g], expected.params, atol=2e-3)
        np.testing.assert_allclose(np.sqrt(np.diag(variance[g])), expected.bse, rtol=0.02)
    assert np.median(found.theta) == pytest.approx(2, rel=0.5)


def test_halves_add_up_and_the_gradient_is_zero_at_the_maximum(regressed):
    counts, columns, library, found = regressed
    assert np.abs(found.gradient.sum(0)).max() < 0.05 and np.abs(found.gradient[0]).max() > 1
    both = nb_regression(counts, columns, library, np.zeros(3), np.zeros(len(library), bool))
    np.testing.assert_allclose(found.information.sum(0), both.information.sum(0), rtol=1e-4)


def test_evidence_is_the_likelihood_ratio(regressed):
    counts, columns, library, found = regressed
    without = found.coefficient.copy()
    without[:, 1] = 0
    z = evidence(counts, columns, library, found.theta, found.coefficient, without)
    for g in range(len(counts)):
        full = model(counts[g], columns, library, found.theta[g]).llf
        offset = np.log(library) + columns[:, 2] * found.coefficient[g, 2]
        family = sm.families.NegativeBinomial(alpha=1 / found.theta[g])
        less = sm.GLM(counts[g], columns[:, :1], family=family, offset=offset).fit().llf
        assert z[g] == pytest.approx(np.sqrt(2 * (full - less)), abs=0.05)


def test_a_gene_without_counts_stays_finite(regressed):
    _, columns, library, _ = regressed
    found = nb_regression(np.zeros((1, len(library))), columns, library, np.ones(3), np.arange(len(library)) % 2 == 0)
    assert np.isfinite(found.coefficient).all() and np.isfinite(found.information).all()
