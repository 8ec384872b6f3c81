"""Factors of planted counts: as many as there are, with loadings that are right; none where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from ldvae.fit.measured import measure_factors


def planted(seed, n=1500, n_genes=200, permute=False):
    """Two factors of 25 genes each; positions of the latent are the factors, noisy, beside six of noise."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, 2))
    loadings = np.zeros((n_genes, 2))
    loadings[:25, 0], loadings[25:50, 1] = rng.choice([-0.6, 0.6], 25), rng.choice([-0.6, 0.6], 25)
    library = np.exp(rng.normal(7, 0.4, n))
    rho = np.exp(rng.normal(-5.3, 0.8, n_genes) + factor @ loadings.T)
    x = rng.poisson(library[:, None] * rho * rng.gamma(4, 0.25, rho.shape)).astype(np.float32)
    if permute:
        x = rng.permuted(x, axis=0)
    z = np.column_stack([factor + 0.5 * rng.normal(size=(n, 2)), rng.normal(size=(n, 6))])
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    return sp.csr_matrix(x), library, z @ turn, factor, loadings


@pytest.fixture(scope="module")
def found():
    counts, library, z, factor, loadings = planted(0)
    return measure_factors(counts, library, np.zeros((len(library), 0)), z), factor, loadings


def test_there_are_as_many_as_were_planted(found):
    measured, factor, _ = found
    assert measured.loadings.shape[1] == 2 and (measured.pvalue < 0.01).all() and (measured.reliability > 0.7).all()
    r = np.abs(np.corrcoef(measured.scores.T, factor.T)[:2, 2:])
    assert (r.max(1) > 0.9).all() and sorted(r.argmax(1)) == [0, 1]
    # the reliability is what it says: the squared correlation with the truth
    np.testing.assert_allclose(r.max(1) ** 2, measured.reliability, atol=0.08)


def test_loadings_are_per_standard_deviation_of_the_true_factor(found):
    measured, factor, loadings = found
    r = np.corrcoef(measured.scores.T, factor.T)[:2, 2:]
    for k in range(2):
        j = int(np.abs(r[k]).argmax())
        truth, sign = loadings[:, j], np.sign(r[k, j])
        on = truth != 0
        slope = (measured.loadings[on, k] * sign * truth[on]).sum() / (truth[on] ** 2).sum()
        assert slope == pytest.approx(1, abs=0.1)  # a noisy score alone would give its attenuation
        sure = measured.lfsr[:, k] < 0.05
        assert sure[on].mean() > 0.9 and sure[~on].mean() < 0.03
        inside = np.abs(measured.loadings[sure, k] * sign - truth[sure]) < 1.96 * measured.std[sure, k]
        assert inside.mean() > 0.85


@pytest.mark.parametrize("seed", range(3))
def test_permuted_counts_have_none(seed):
    counts, library, z, *_ = planted(seed, permute=True)
    measured = measure_factors(counts, library, np.zeros((len(library), 0)), z, seed=seed)
    assert measured.loadings.shape == (200, 0) and measured.scores.shape == (1500, 0)


def test_a_batch_is_no_factor():
    counts, library, z, *_ = planted(1, permute=True)
    rng = np.random.default_rng(5)
    batch = rng.random(len(library)) < 0.5
    x = counts.toarray()
    x[batch, :40] = rng.poisson(3 * x[batch, :40] + 0.5)  # forty genes are higher in one batch
    z[:, 0] += 2 * batch
    counts, design = sp.csr_matrix(x), (batch - batch.mean())[:, None]
    without = measure_factors(counts, library, np.zeros((len(library), 0)), z)
    assert without.loadings.shape[1] == 1
    assert measure_factors(counts, library, design, z).loadings.shape[1] == 0


def test_the_same_seed_gives_the_same_numbers():
    counts, library, z, *_ = planted(2, n=300)
    one, two, other = (measure_factors(counts, library, np.zeros((300, 0)), z, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.loadings, two.loadings)
    assert not np.array_equal(one.loadings, other.loadings)
