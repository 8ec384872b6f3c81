"""Whether genes vary together, from several halves, and how much, from pairs of genes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ldvae.programs.evidence import Slopes, VarianceTest, pair_variance


def test_variance_tests_of_halves_combine():
    assert VarianceTest(1.0, 0.0).pvalue == 1.0
    both = VarianceTest.combine([VarianceTest(1.5, 30.0), VarianceTest(0.9, 90.0)])
    assert both.df == 120
    assert both.ratio == pytest.approx((1.5 * 30 + 0.9 * 90) / 120)
    none = VarianceTest.combine([VarianceTest(1.0, 0.0), VarianceTest(1.0, 0.0)])
    assert (none.ratio, none.pvalue) == (1.0, 1.0)


def test_halvings_of_the_same_cells_do_not_add_up():
    one = VarianceTest(1.4, 60.0)
    assert VarianceTest.mean([one, one, one]).pvalue == pytest.approx(one.pvalue)
    assert VarianceTest.combine([one, one, one]).pvalue < 0.1 * one.pvalue
    found = VarianceTest.mean([one, VarianceTest(1.0, 30.0)])
    assert (found.ratio, found.df) == (pytest.approx(1.2), 45.0)


def test_excess_is_the_share_beyond_noise():
    assert [VarianceTest(ratio, 10.0).excess for ratio in (2.0, 1.0, 0.5)] == [0.5, 0.0, 0.0]


def test_what_all_genes_share_is_no_slope():
    rng = np.random.default_rng(0)
    slope = np.where(np.arange(300) < 40, 0.8, 0.0)[:, None] + 0.05 * rng.normal(size=(300, 1))
    moved, still = (Slopes(slope + by, np.full((300, 1), 0.05), torch.zeros(300)) for by in (0.3, 0.0))
    np.testing.assert_allclose(moved.centred(0), still.centred(0), atol=1e-6)
    assert abs(np.median(moved.centred(0)[40:])) < 0.02
    assert (moved.shrunk(0).lfsr < 0.05).sum() == pytest.approx(40, abs=2)


def drawn(rng, variance, n=300, genes=30, depth=0.5):
    """What genes say of an activity with this variance: i t + sqrt(i) noise, of unequal information in cells."""
    information = rng.uniform(0.02, 0.1, genes) * np.exp(rng.normal(0, depth, (n, 1)))
    t = np.sqrt(variance) * rng.normal(size=(n, 1))
    y = information * t + np.sqrt(information) * rng.normal(size=information.shape)
    return [torch.from_numpy(a) for a in (y, y**2, information)]


@pytest.mark.parametrize("variance", [0.0, 0.3, 2.0])
def test_pairs_of_genes_tell_the_variance_and_its_error(variance):
    found = np.array([pair_variance(*drawn(np.random.default_rng(seed), variance)) for seed in range(200)])
    spread = found[:, 0].std()
    assert found[:, 0].mean() == pytest.approx(variance, abs=max(3 * spread / 200**0.5, 0.05 * variance))
    assert found[:, 1].mean() == pytest.approx(spread, rel=0.2)
    assert 0.88 < np.mean(np.abs(found[:, 0] - variance) < 1.96 * found[:, 1]) < 0.98
    if variance == 0:
        assert 0.3 < (found[:, 0] < 0).mean() < 0.7  # not cut off


def test_cells_that_say_more_count_more():
    found, plain = [], []
    for seed in range(100):
        y, square, information = drawn(np.random.default_rng(seed), 0.5, depth=1.5)
        found.append(pair_variance(y, square, information)[0])
        pairs = information.sum(1) ** 2 - information.square().sum(1)
        plain.append(float((y.sum(1) ** 2 - y.square().sum(1)).sum() / pairs.sum()))
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)
    assert np.std(found) < 0.7 * np.std(plain)


def test_noise_of_single_genes_does_not_enter():
    """Ten times the noise that was promised: no gene says it together with another."""
    rng = np.random.default_rng(1)
    y, _, information = drawn(rng, 0.0, n=2000)
    y = y * torch.where(torch.arange(30) < 5, 10**0.5, 1.0)
    variance, error = pair_variance(y, y.square(), information)
    assert abs(variance) < 3 * error


def test_a_single_gene_says_nothing():
    assert pair_variance(*(part[:, :1] for part in drawn(np.random.default_rng(0), 1.0))) == (0.0, float("inf"))
