"""What sets populations apart: against log ratios of pooled counts, planted markers, random halves, samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ldvae import population_loadings, population_programs
from ldvae.comparisons.moments import moments, pool
from ldvae.counts.labels import read_labels
from ldvae.fit.cells import read_data
from ldvae.fit.posterior import rebuild
from ldvae.programs.between import between_programs


@pytest.fixture(scope="module")
def parts(simulated, fit):
    return read_data(fit, simulated), read_labels(simulated, "population", "groupby")


def log_share(adata, rows):
    x = adata.X[rows]
    return np.log((np.asarray(x.sum(0)).ravel() + 0.5) / x.sum())


def test_loadings_are_log_ratios_of_mean_expression(simulated, fit, parts):
    population = simulated.obs["population"].to_numpy()
    for program in between_programs(fit, *parts, None, None, 0):
        means = {p: log_share(simulated, population == p) for p in ("P0", "P1", "P2")}
        rest = np.mean([m for p, m in means.items() if p != program.population], axis=0)
        direct = means[program.population] - rest
        counts = np.min([np.asarray(simulated.X[population == p].sum(0)).ravel() for p in means], axis=0)
        common = counts > 100
        assert common.sum() > 50
        np.testing.assert_allclose(program.loading[common], direct[common], atol=0.2)
        # shrinkage, batches and the weights of cells move it by little
        assert np.corrcoef(program.loading[common], direct[common])[0, 1] > 0.99


def test_planted_markers_come_first(simulated, fit):
    table = population_loadings(fit, simulated, groupby="population", kind="between")
    means = simulated.uns["truth"]["means"]
    for i, name in enumerate(["P0", "P1", "P2"]):
        truth = means[i] - np.delete(means, i, 0).mean(0)
        top = table[table["population"] == name].head(15)
        genes = [int(g[1:]) for g in top["gene"]]
        assert (np.sign(truth[genes]) == np.sign(top["loading"])).all()
        assert np.abs(truth[genes]).min() > np.quantile(np.abs(truth), 0.6)


def test_random_halves_do_not_differ(simulated, fit):
    adata = simulated.copy()
    rng = np.random.default_rng(0)
    called = []
    for _ in range(10):
        adata.obs["half"] = pd.Categorical(rng.choice(["a", "b"], len(adata)))
        called += population_programs(fit, adata, groupby="half", kind="between")["called"].tolist()
    assert np.mean(called) <= 0.2


def test_reference_is_what_is_compared_with(simulated, fit, parts):
    programs = between_programs(fit, *parts, None, ["P1"], 0)
    assert [p.population for p in programs] == ["P0", "P2"]  # none with itself
    adata = simulated[simulated.obs["population"].isin(["P0", "P1"])].copy()
    alone = between_programs(fit, read_data(fit, adata), read_labels(adata, "population", "groupby"), None, None, 0)
    r = np.corrcoef(programs[0].loading, alone[0].loading)[0, 1]
    assert r > 0.99


def test_with_two_populations_they_are_opposite(simulated, fit, parts):
    cells, labels = parts
    two = replace(labels, codes=np.where(labels.codes == 2, -1, labels.codes))
    with pytest.warns(UserWarning, match="fewer than 5 cells are left out: 'P2'"):
        first, second = between_programs(fit, cells, two, None, None, 0)
    np.testing.assert_allclose(first.loading, -second.loading, atol=1e-8)
    assert first.pvalue == pytest.approx(second.pvalue)


def test_samples_make_the_error_that_of_samples(simulated, fit, parts):
    samples = read_labels(simulated, "sample", "sample_key")
    by_cells = between_programs(fit, *parts, None, None, 0)
    by_samples = between_programs(fit, *parts, samples, None, 0)
    for cells, sample in zip(by_cells, by_samples, strict=True):
        assert np.corrcoef(cells.loading, sample.loading)[0, 1] > 0.97
        assert sample.n_genes <= 1.05 * cells.n_genes
        assert 0 < sample.pvalue < 0.05


def test_a_difference_of_one_sample_is_no_difference_of_populations(simulated, fit):
    """Twelve genes go up in one sample of one population: cells make it significant, samples do not."""
    adata = simulated.copy()
    rng = np.random.default_rng(1)
    adata.obs["half"] = pd.Categorical(rng.choice(["a", "b"], len(adata)))
    rows = np.flatnonzero((adata.obs["half"] == "a") & (adata.obs["sample"] == "S0"))
    genes = np.argsort(-np.asarray(adata.X.sum(0)).ravel())[20:32]
    dense = adata.X.toarray()
    dense[np.ix_(rows, genes)] *= 5
    adata.X = dense
    arguments = dict(groupby="half", kind="between")
    assert population_programs(fit, adata, **arguments)["called"].all()
    assert not population_programs(fit, adata, sample_key="sample", **arguments)["called"].any()


def test_too_little_to_compare_is_said(simulated, fit, parts):
    cells, labels = parts
    one = replace(labels, codes=np.where(labels.codes == 0, 0, -1))
    with pytest.raises(ValueError, match="must have at least two populations of 5 cells"):
        between_programs(fit, cells, one, None, None, 0)
    single = read_labels(simulated, "sample", "sample_key")
    single = replace(single, codes=np.zeros_like(single.codes))
    with pytest.raises(ValueError, match="at least two samples with 5 cells"):
        between_programs(fit, cells, labels, single, None, 0)


def test_cells_that_are_all_alike_say_little_about_others(simulated, fit):
    alike = simulated.copy()
    alike.X = simulated.X[np.repeat([0, 1], 300)]
    data = replace(read_data(fit, alike), mean=np.zeros((600, 6), np.float32), design=np.zeros((600, 2), np.float32))
    group = pool(moments(rebuild(fit), data, np.repeat([0, 1], 300), 2, True, 0), np.array([0]))
    assert (group.variance >= 0.1 / (group.count + 0.5)).all()


def test_a_reference_must_have_cells(simulated, fit):
    adata = simulated.copy()
    labels = adata.obs["population"].astype(str).to_numpy()
    labels[:10] = "few"
    adata.obs["population"] = labels
    with (
        pytest.warns(UserWarning, match="'few'"),
        pytest.raises(ValueError, match="`reference` must have a population"),
    ):
        population_programs(fit, adata, groupby="population", reference=["few"])


def test_a_reference_is_not_compared_with_itself(simulated, fit):
    arguments = dict(groupby="population", n_programs=1)
    programs = population_programs(fit, simulated, reference=["P1"], **arguments)
    assert set(programs["population"]) == {"P0", "P2"}
    programs = population_programs(fit, simulated, reference=["P1", "P2"], **arguments)
    assert set(programs["population"]) == {"P0", "P1", "P2"}
