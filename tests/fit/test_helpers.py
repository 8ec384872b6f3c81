"""Helpers: components as everybody computes them, and positions that know nothing of the genes left out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA

from ldvae.fit.helpers import place, teach, transform


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(1)
    activity = rng.normal(size=(500, 2))
    rate = np.exp(rng.normal(0, 1, 60) + activity @ rng.normal(0, 0.6, (2, 60)))
    counts = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    return counts, np.asarray(counts.sum(1)).ravel().astype(float), activity


def test_they_are_principal_components_of_square_roots(cells):
    counts, library, _ = cells
    weight = teach(transform(counts, library), np.random.default_rng(0))
    y = np.sqrt(counts.toarray() / library[:, None])
    expected = PCA(30).fit(y)
    agree = np.abs(np.sum(weight[:, :2] * expected.components_[:2].T, 0))
    assert (agree > 0.999).all()
    positions = (y - y.mean(0)) @ weight
    np.testing.assert_allclose(positions[:, :2] ** 2, expected.transform(y)[:, :2] ** 2, rtol=1e-2, atol=1e-4)


def placed(counts, library, target, half):
    folds, rng = [np.arange(30), np.arange(30, 60)], np.random.default_rng(0)
    nuisance = np.column_stack([np.ones(len(library)), np.log(library)])
    return place(counts, library, nuisance, target, folds, np.eye(2, dtype=bool), [half], rng, False)


def test_positions_know_nothing_of_the_genes_left_out_nor_of_their_cells_targets(cells):
    counts, library, activity = cells
    half = np.arange(500) % 2 == 0
    found = placed(counts, library, activity, half)
    for k in range(2):  # each half of the genes tells the activity
        assert np.corrcoef(found[0][:, k], activity[:, k])[0, 1] > 0.8
    # of the cells that are scored, not of those that teach: other genes, other targets
    changed = counts.toarray()
    changed[half, 30:] = changed[half, 30:][::-1]
    target = activity.copy()
    target[half] = 0
    # both helpers are taught anew; the one of the other half is as before
    again = placed(sp.csr_matrix(changed), library, target, half)
    np.testing.assert_allclose(again[0][half], found[0][half], atol=1e-5)
    assert np.abs(again[1][half] - found[1][half]).max() > 0.1


def test_depth_is_taken_out(cells):
    counts, library, activity = cells
    found = placed(counts, library, activity + np.log(library)[:, None], np.arange(500) % 2 == 0)
    assert np.abs(np.corrcoef(found[0].T, np.log(library))[-1, :-1]).max() < 0.05
