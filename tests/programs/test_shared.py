"""Shared programs: how many are found, where, and with which genes."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import fit_ldvae
from ldvae.counts.labels import read_labels
from ldvae.fit.posterior import read_data
from ldvae.programs.setting import prepare
from ldvae.programs.shared import agreement, candidate_programs
from planted import SETTINGS, simulate_programs


def test_candidates_separate_programs_of_different_variance():
    """Three activities mixed by an invertible matrix, with noise directions that carry almost nothing."""
    rng = np.random.default_rng(2)
    planted = np.zeros((90, 3))
    for j in range(3):
        planted[30 * j : 30 * j + 20, j] = rng.choice([-1, 1], 20)
    spread = np.array([[1.0, 0.05, 1.0], [1.0, 1.0, 0.05]])  # shared, and one of each population
    activity = rng.normal(size=(1000, 3)) * spread[np.repeat([0, 1], 500)]
    mixing = rng.normal(size=(6, 6))
    z = np.c_[activity, 0.01 * rng.normal(size=(1000, 3))] @ mixing
    loadings = np.c_[planted, rng.normal(size=(90, 3))] @ np.linalg.inv(mixing).T
    members = [np.arange(500), np.arange(500, 1000)]
    found = candidate_programs(loadings, z, np.full_like(z, 1e-3), members, None)
    assert found.shape[1] == 3  # noise is no candidate
    match = np.abs(np.corrcoef(planted, found, rowvar=False)[:3, 3:])
    assert match.max(1).min() > 0.98
    # scaled to one standard deviation within populations
    best = found[:, match[0].argmax()]
    assert np.abs(best).max() == pytest.approx(1.0, abs=0.15)


def test_candidates_leave_out_differences_between_samples():
    rng = np.random.default_rng(3)
    sample = np.repeat(np.arange(8), 100)
    z = np.c_[rng.normal(size=800), 3 * rng.normal(size=8)[sample] + 0.01 * rng.normal(size=800)]
    loadings = np.zeros((40, 2))
    loadings[:10, 0], loadings[20:30, 1] = 1.0, 1.0
    members = [np.arange(0, 800, 2), np.arange(1, 800, 2)]
    assert candidate_programs(loadings, z, np.full_like(z, 1e-3), members, None).shape[1] == 2
    assert candidate_programs(loadings, z, np.full_like(z, 1e-3), members, sample).shape[1] == 1


def test_agreement_is_the_correlation_of_true_slopes():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(4000, 2)) @ np.linalg.cholesky([[1.0, 0.8], [0.8, 1.0]]).T
    se = 0.7
    first, second = ((truth[:, [i]] + se * rng.normal(size=(4000, 1)), np.full((4000, 1), se**-2)) for i in (0, 1))
    assert agreement(first, second, 0) == pytest.approx(0.8, abs=0.05)
    noise = rng.normal(size=(4000, 1)), np.ones((4000, 1))
    assert agreement(first, noise, 0) == 0.0
    seen = np.where(np.arange(4000)[:, None] < 5, 1.0, 0.0)
    assert agreement(first, (first[0], seen), 0) == 0.0


# Each was once missed, or found in the wrong populations, when directions of noise were candidates.
CASES = {
    "none": dict(n_shared=0, seed=3),
    "one": dict(n_shared=1, n_populations=3, seed=1),
    "two": dict(n_shared=2, n_populations=3, seed=6),
    "partial": dict(n_shared=1, n_partial=1, n_populations=4, seed=4),
}


@pytest.mark.parametrize("case", CASES)
def test_shared_programs_are_found_where_they_are(case):
    adata = simulate_programs(**CASES[case])
    fit = fit_ldvae(adata, **SETTINGS)
    shared = prepare(fit, read_data(fit, adata), read_labels(adata, "population", "groupby"), None, 0).shared
    truth = adata.uns["truth"]
    assert shared.loadings.shape[1] == len(truth["shared"])
    for planted, active in zip(truth["shared"], truth["active"], strict=True):
        r = [abs(np.corrcoef(planted, loading)[0, 1]) for loading in shared.loadings.T]
        best = int(np.argmax(r))
        assert r[best] > 0.95
        assert shared.active[best].tolist() == active.tolist()
        clear = np.abs(shared.loadings[:, best]) > np.maximum(2 * shared.std[:, best], 0.25)
        assert (planted[clear] != 0).mean() > 0.9
        for i, without in enumerate(shared.without):  # what the others say is less, and another estimate
            if active[i]:
                assert 0.85 < abs(np.corrcoef(planted, without[:, best])[0, 1])
                assert not np.array_equal(without[:, best], shared.loadings[:, best])
