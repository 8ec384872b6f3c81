"""What batches add to a difference is taken out, or warned about."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import differential_expression
from ldvae.comparisons.batches import BatchEffects
from ldvae.comparisons.moments import Moments, pool
from planted import fitted, simulate_groups


def test_batch_effects_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(0)
    group, batch = np.repeat([0, 1, 2], 2), np.tile([0, 1], 3)
    rho = np.exp(rng.normal(0, 0.2, (6, 50, 3)))
    mu = 4 * rho * np.exp(rng.normal(0, 0.3, (6, 50, 1)))
    x = rng.poisson(mu * np.exp(rng.normal(0, 0.3, (6, 1, 3)))).astype(float)
    products = {
        "rho_rho": rho * rho,
        "mu_mu": mu * mu,
        "x_x": x * x,
        "rho_mu": rho * mu,
        "rho_x": rho * x,
        "mu_x": mu * x,
    }
    arrays = {
        "rho": rho,
        "mu": mu,
        "x": x,
        "count": x,
        "share": x,
        "detected": x > 0,
        "rho_draws": rho * rho,
        **products,
    }
    sums = {name: values.sum(1).astype(float) for name, values in arrays.items()}
    sums |= {"left_open": np.zeros((6, 3)), "mu_mu_theta": sums["mu_mu"] / 5}
    found = Moments(np.full(6, 50.0), sums, x.max(1))
    effects = BatchEffects(found, group, batch)
    units = [pool(found, np.array([u])) for u in range(6)]
    for gene in range(3):
        w = np.sqrt([1 / unit.variance[gene] for unit in units])
        design = np.c_[np.eye(3)[group], np.eye(2)[batch]]
        y = np.log((sums["count"][:, gene] + 0.5) / (sums["mu"][:, gene] + 0.5))
        prior = np.c_[np.zeros((2, 3)), np.eye(2)]
        expected = np.linalg.lstsq(np.r_[design * w[:, None], prior], np.r_[y * w, 0, 0], rcond=None)[0][3:]
        np.testing.assert_allclose(effects.effect[:, gene], expected, atol=1e-10)
    offset, variance = effects.between(np.array([0, 1]), np.array([2, 3]))
    assert np.all(variance >= 0) and np.all(np.abs(offset) < 0.1)


def test_batches_are_taken_out_where_groups_have_unequal_shares_of_them():
    rng = np.random.default_rng(5)
    side = rng.choice(["x", "y"], 900)
    batch = (rng.random(900) < np.where(side == "x", 0.8, 0.2)).astype(int)
    adata, _ = simulate_groups(5, np.zeros(900, dtype=int), batch=batch)
    adata.obs["side"] = side
    fit = fitted(adata, batch_key="batch")
    table = differential_expression(fit, adata, groupby="side", group1="x")
    assert table["is_de"].sum() == 0 and (table["lfsr"] < 0.05).sum() <= 2
    assert differential_expression(fit, adata, groupby="side", group1="x", batch_correction=False)["is_de"].sum() > 10


def test_a_group_with_one_cell_in_a_batch_is_compared_like_without_it(fit, simulated):
    rows = np.flatnonzero(~((simulated.obs["population"] == "P0") & (simulated.obs["batch"] == "B1")))
    one = np.flatnonzero((simulated.obs["population"] == "P0") & (simulated.obs["batch"] == "B1"))[:1]
    groups = dict(groupby="population", group1="P0", group2="P1")
    without = differential_expression(fit, simulated[rows].copy(), **groups)
    found = differential_expression(fit, simulated[np.r_[rows, one]].copy(), **groups)
    tested = without["lfc_mean"].notna()
    assert found["lfc_mean"][tested].notna().all()
    assert (found["lfc_mean"] - without["lfc_mean"])[tested].abs().max() < 0.3


def test_groups_without_a_common_batch_are_warned_about():
    batch = np.repeat([0, 1], 60)
    adata, _ = simulate_groups(6, np.zeros(120, dtype=int), n_genes=120, batch=batch)
    fit = fitted(adata, batch_key="batch")
    adata.obs["side"] = np.where(batch == 0, "x", "y")
    with pytest.warns(UserWarning, match="share no level of 'batch'.*: x against rest"):
        differential_expression(fit, adata, groupby="side", group1="x")
