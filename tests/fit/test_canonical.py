"""The canonical basis says the same as the raw one, in coordinates that do not depend on the training run."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae.fit.canonical import canonical_basis

N_CELLS, N_GENES, K = 400, 120, 5


def planted(seed=0, n_factors=K):
    """Sparse loadings of decreasing strength and skewed scores."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(N_GENES, n_factors)) * (rng.random((N_GENES, n_factors)) < 0.2)
    return loadings * np.linspace(2, 1, n_factors), rng.normal(size=(N_CELLS, n_factors)) + 1


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    loadings, mean = planted()
    mixing = rng.normal(size=(K, K))
    variance = rng.uniform(0.01, 0.1, (N_CELLS, K))
    return loadings @ np.linalg.inv(mixing).T, mean @ mixing, variance


def total_covariance(mean, variance):
    return np.cov(mean.T) + np.diag(variance.mean(0))


def test_the_canonical_basis_says_the_same_about_expression(problem):
    loadings, mean, _ = problem
    found = canonical_basis(*problem)
    scores = (mean - found.center) @ found.rotation
    wanted = (mean - mean.mean(0)) @ (loadings - loadings.mean(0)).T
    assert np.allclose(scores @ found.loadings.T, wanted, atol=1e-9 * np.abs(wanted).max())
    assert np.allclose(found.loadings.mean(0), 0, atol=1e-12)
    assert np.allclose(scores.mean(0), 0, atol=1e-10)


def test_scores_are_uncorrelated_with_unit_variance(problem):
    _, mean, variance = problem
    rotation = canonical_basis(*problem).rotation
    assert np.allclose(rotation.T @ total_covariance(mean, variance) @ rotation, np.eye(K), atol=1e-9)


def test_factors_are_ordered_by_strength_and_signed_by_the_heavier_tail(problem):
    found = canonical_basis(*problem)
    strength = (found.loadings**2).sum(0)
    assert found.active.all() and (np.diff(strength) <= 0).all()
    assert ((found.loadings**3).sum(0) > 0).all()


def test_the_whole_variance_is_kept(problem):
    loadings, mean, variance = problem
    centred = loadings - loadings.mean(0)
    total = np.trace(centred @ total_covariance(mean, variance) @ centred.T)
    assert (canonical_basis(*problem).loadings ** 2).sum() == pytest.approx(total, rel=1e-9)


def test_a_constant_in_a_column_changes_nothing(problem):
    loadings, mean, variance = problem
    constants = np.array([5.0, -3, 0, 1, 100])
    one, two = canonical_basis(*problem), canonical_basis(loadings + constants, mean, variance)
    assert np.allclose(one.loadings, two.loadings, atol=1e-8) and np.allclose(one.rotation, two.rotation, atol=1e-8)


def test_moving_the_latent_changes_nothing(problem):
    loadings, mean, variance = problem
    shift = np.arange(K) * 10.0
    one, two = canonical_basis(*problem), canonical_basis(loadings, mean + shift, variance)
    assert np.allclose(one.loadings, two.loadings, atol=1e-8) and np.allclose(two.center - one.center, shift)


@pytest.mark.parametrize("seed", range(5))
def test_an_invertible_remix_of_the_latent_changes_nothing(problem, seed):
    """Posterior variances are diagonal and so no part of a general remix: they are zero here, and equal below."""
    loadings, mean, variance = problem
    mixing = np.random.default_rng(seed).normal(size=(K, K))
    one = canonical_basis(loadings, mean, 0 * variance)
    two = canonical_basis(loadings @ np.linalg.inv(mixing).T, mean @ mixing, 0 * variance)
    assert np.allclose(one.loadings, two.loadings, atol=1e-4)
    scores = (mean - one.center) @ one.rotation
    assert np.allclose(scores, (mean @ mixing - two.center) @ two.rotation, atol=1e-3)


def test_a_rotation_of_the_latent_changes_nothing(problem):
    loadings, mean, variance = problem
    same = np.repeat(variance[:, :1], K, axis=1)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(K, K)))[0]
    one, two = canonical_basis(loadings, mean, same), canonical_basis(loadings @ turn, mean @ turn, same)
    assert np.allclose(one.loadings, two.loadings, atol=1e-4) and np.allclose(one.kl, two.kl, atol=1e-4)
    assert np.array_equal(one.active, two.active)


def test_the_order_of_genes_cells_and_dimensions_does_not_matter(problem):
    loadings, mean, variance = problem
    rng = np.random.default_rng(0)
    genes, cells, columns = rng.permutation(N_GENES), rng.permutation(N_CELLS), rng.permutation(K)
    one = canonical_basis(*problem)
    two = canonical_basis(loadings[genes][:, columns], mean[cells][:, columns], variance[cells][:, columns])
    assert np.allclose(one.loadings[genes], two.loadings, atol=1e-4)
    assert np.allclose(one.rotation[columns], two.rotation, atol=1e-4)


def test_planted_sparse_factors_are_found(problem):
    """Whatever the mixing, varimax brings the sparse columns back."""
    found, (truth, _) = canonical_basis(*problem), planted()
    correlation = np.abs(np.corrcoef(found.loadings.T, truth.T)[:K, K:])
    assert (correlation.max(0) > 0.9).all() and len(set(correlation.argmax(0))) == K


def test_factors_of_which_the_counts_say_nothing_come_last():
    """Also if their loadings are the strongest of all: their posterior is the prior."""
    loadings = np.kron(np.eye(4), np.tile([1.0, -1.0], 15)[:, None]) * [9, 1, 2, 3]
    mean = np.linalg.qr(np.random.default_rng(0).normal(size=(N_CELLS, 4)) - 1)[0] * N_CELLS**0.5
    mean, variance = mean - mean.mean(0), np.full((N_CELLS, 4), 0.05)
    mean[:, 0], variance[:, 0] = 0.0, 1.0
    found = canonical_basis(loadings, mean, variance)
    assert found.active.tolist() == [True] * 3 + [False]
    assert (found.kl[:3] > 1).all() and found.kl[3] == pytest.approx(0, abs=0.05)
    assert np.argmax(np.abs(found.loadings).sum(0)) == 3
    assert np.allclose(np.abs(found.loadings[:30, 3]), 9) and np.abs(found.loadings[30:, 3]).max() < 0.5


def test_the_information_of_a_factor_is_its_posterior_variance():
    mean = np.random.default_rng(0).normal(size=(N_CELLS, 1))
    mean = (mean - mean.mean()) / mean.std(ddof=1)
    found = canonical_basis(planted(n_factors=1)[0], mean * np.sqrt(0.75), np.full((N_CELLS, 1), 0.25))
    assert found.kl[0] == pytest.approx(-0.5 * np.log(0.25), rel=1e-6) and found.active.tolist() == [True]


def test_a_direction_without_variance_gets_a_score_of_zero():
    """The softmax latent sums to one."""
    rng = np.random.default_rng(0)
    mean = rng.dirichlet(np.ones(4), N_CELLS)
    found = canonical_basis(rng.normal(size=(N_GENES, 4)), mean, np.full((N_CELLS, 4), 1e-13))
    scores = (mean - found.center) @ found.rotation
    assert np.isfinite(found.loadings).all() and np.isfinite(scores).all()
    assert (np.abs(found.rotation) < 1e6).all()
    assert np.sort(scores.std(0))[0] < 1e-5 and np.allclose(np.sort(scores.std(0))[1:], 1, atol=1e-2)
