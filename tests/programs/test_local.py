"""The local count model: derivatives by autograd, slopes against statsmodels, calibration and power of the test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy.stats import kstest

from ldvae.programs.activities import as_tensor, features, information_and_gradient, weighted_mean
from ldvae.programs.local import N_FOLDS, Local


def draw(seed, loadings=None, n=300, n_genes=200, library=600.0, base=None, donors=None):
    """Counts of one population with programs (genes × q), its local model and the activities."""
    rng = np.random.default_rng(seed)
    base = rng.normal(-0.5, 1.4, n_genes) if base is None else base
    q = 0 if loadings is None else loadings.shape[1]
    activity = rng.normal(size=(n, q))
    log_mean = base + (activity @ loadings.T if q else np.zeros((n, 1)))
    if donors is not None:
        log_mean = log_mean + rng.normal(0, 0.6, (donors.max() + 1, len(base)))[donors]
    expression = np.exp(log_mean)
    expression /= expression.sum(1, keepdims=True)
    theta = 3.0 * np.exp(rng.normal(0, 0.4, len(base)))
    total = library * np.exp(rng.normal(0, 0.35, n))[:, None]
    x = rng.poisson(rng.gamma(theta, expression * total / theta)).astype(np.float32)
    size = np.maximum(x.sum(1, keepdims=True), 1)
    return Local.build(x, np.broadcast_to(np.log(size), x.shape), theta, donors), activity


def program(seed, n_genes=200, size=20, amplitude=0.8):
    rng = np.random.default_rng(seed)
    loading = np.zeros(n_genes)
    genes = rng.choice(n_genes, size, replace=False)
    loading[genes] = amplitude * rng.uniform(0.5, 1.5, size) * rng.choice([-1, 1], size)
    return loading


# well expressed throughout, so that every planted gene can be seen
BASE = np.random.default_rng(0).normal(0, 0.7, 200)


def log_likelihood(local, size, t, loadings, intercept):
    """Negative binomial log-likelihood of each cell, terms without mu left out."""
    eta = local.adjusted + size + intercept + t @ loadings.T
    return (local.x * eta - (local.x + local.theta) * torch.log(local.theta + eta.exp())).sum(1)


def test_gradient_is_that_of_the_likelihood():
    loadings = as_tensor(np.stack([program(1), program(2)], 1))
    local, _ = draw(3, loadings.numpy(), n=20, base=BASE)
    generator = torch.Generator().manual_seed(0)
    size, t = 0.1 * torch.randn(20, 1, generator=generator), torch.randn(20, 2, generator=generator)
    e, w, intercept = local._moments(local.intercept, size, t, loadings)
    size.requires_grad_(), t.requires_grad_()
    by_size, by_t = torch.autograd.grad(log_likelihood(local, size, t, loadings, intercept).sum(), (size, t))
    by_w, by_e = w @ features(loadings), e @ features(loadings)[:, :3]
    _, mean = weighted_mean(by_w, 2)
    _, gradient = information_and_gradient(by_w, by_e, mean)
    # centred loadings: moving t while the size moves by -mean @ t
    torch.testing.assert_close(gradient, by_t - by_size * mean, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(e.sum(1, keepdim=True), by_size, rtol=1e-3, atol=1e-2)


def test_information_is_the_schur_complement_of_the_fisher_information():
    loadings = as_tensor(np.stack([program(1), program(2)], 1))
    local, _ = draw(3, loadings.numpy(), n=20, base=BASE)
    e, w, _ = local._moments(local.intercept, torch.zeros(20, 1), torch.zeros(20, 2), loadings)
    by_w = w @ features(loadings)
    found, _ = information_and_gradient(by_w, e @ features(loadings)[:, :3], weighted_mean(by_w, 2)[1])
    for i in range(20):
        full = torch.cat([torch.ones(200, 1), loadings], 1).double()
        fisher = full.T @ (w[i, :, None].double() * full)
        schur = fisher[1:, 1:] - fisher[1:, :1] @ fisher[:1, 1:] / fisher[0, 0]
        torch.testing.assert_close(found[i].double(), schur, rtol=1e-3, atol=1e-2)


def test_weights_are_the_expected_curvature():
    """E[e] = 0 and Var(e) = w for negative binomial counts of mean mu."""
    rng = np.random.default_rng(1)
    mu, theta = 4.0, 2.0
    x = rng.poisson(rng.gamma(theta, mu / theta, (40_000, 1))).astype(np.float32)
    local = Local.build(x, np.full(x.shape, np.log(mu)), np.full(1, theta), None)
    e, w, _ = local._moments(torch.zeros(1), torch.zeros(len(x), 1), torch.zeros(len(x), 0), torch.zeros(1, 0))
    assert abs(float(e.mean())) < 1e-3  # refitted intercept
    assert float(e.var()) == pytest.approx(float(w.mean()), rel=0.03)
    assert float(w.mean()) == pytest.approx(mu * theta / (mu + theta), rel=0.02)


def test_refitted_intercepts_reproduce_totals():
    loadings = as_tensor(program(1)[:, None])
    local, _ = draw(3, loadings.numpy(), base=BASE)
    t = torch.randn(300, 1, generator=torch.Generator().manual_seed(0))
    _, _, intercept = local._moments(local.intercept, torch.zeros(300, 1), t, loadings)
    mu = (local.adjusted + intercept + t @ loadings.T).exp()
    torch.testing.assert_close(mu.sum(0), local.x.sum(0), rtol=1e-2, atol=0.6)


def test_scores_left_out_and_full_combine_by_information():
    """Without gene-dependent information in a fold, leaving it out changes nothing."""
    loading = program(1)
    local, _ = draw(3, loading[:, None], base=BASE)
    silent = local.folds[2]
    loading[silent] = 0.0
    scores = local.score(as_tensor(loading[:, None]), local.intercept)
    # the fold still helps to fix the size, in which loadings are centred: close, not equal
    together = np.corrcoef(scores.left_out[:, 2, 0], scores.full[:, 0])[0, 1]
    others = [np.corrcoef(scores.left_out[:, f, 0], scores.full[:, 0])[0, 1] for f in (0, 1, 3, 4)]
    assert together > 0.999 > max(others)


def test_a_gene_hardly_moves_the_score_that_meets_it():
    """Doubling one loaded gene in one cell changes full scores, and not those that left its fold out."""
    loading = program(1)
    gene = int(np.flatnonzero(loading)[np.abs(loading[loading != 0]).argmax()])
    fold = next(i for i in range(N_FOLDS) if gene in range(200)[local_fold(i)])
    local, _ = draw(3, loading[:, None], base=BASE)
    x = local.x.clone()
    x[7, gene] += 30
    changed = replace(local, x=x)  # intercepts as they were
    before = local.score(as_tensor(loading[:, None]), local.intercept)
    after = changed.score(as_tensor(loading[:, None]), local.intercept)
    moved = (after.full[7, 0] - before.full[7, 0]).abs()
    assert moved > 0.5
    assert (after.left_out[7, fold, 0] - before.left_out[7, fold, 0]).abs() < 0.35 * moved


def local_fold(i):
    edges = np.linspace(0, 200, N_FOLDS + 1).astype(int)
    return slice(edges[i], edges[i + 1])


@pytest.mark.parametrize("library", [600.0, 2000.0])
def test_score_recovers_activity_and_its_variance(library):
    loading = program(1)
    local, activity = draw(4, loading[:, None], n=400, library=library, base=BASE)
    scores = local.score(as_tensor(loading[:, None]), local.intercept)
    assert np.corrcoef(scores.full[:, 0], activity[:, 0])[0, 1] > 0.9
    assert scores.variance[0] == pytest.approx(activity.var(), abs=0.15)
    assert 0.02 < scores.variance_se[0] < 0.15
    residual = np.corrcoef(scores.full[:, 0], activity[:, 0])[0, 1] ** 2
    assert scores.reliability[0] == pytest.approx(residual, abs=0.06)


def test_an_absent_program_fades_out():
    local, _ = draw(4, None, n=400, base=BASE)
    scores = local.score(as_tensor(program(1)[:, None]), local.intercept)
    assert scores.variance[0] < 0.05
    assert scores.reliability[0] < 0.4


def test_own_first_makes_the_own_activity_uncorrelated():
    own, shared = program(1), program(2)
    local, _ = draw(5, np.stack([own, shared], 1), n=500, base=BASE)
    mixture = as_tensor(np.stack([own + 0.7 * shared, shared], 1))
    free = local.score(mixture, local.intercept, own_first=False)
    apart = local.score(mixture, local.intercept, own_first=True)
    correlation = [abs(np.corrcoef(s.full[:, 0], s.full[:, 1])[0, 1]) for s in (free, apart)]
    assert correlation[0] > 0.3 > 0.15 > correlation[1]


def test_slopes_agree_with_statsmodels():
    loading = program(1)
    local, activity = draw(6, loading[:, None], n=400, base=BASE)
    shuffled = np.random.default_rng(0).normal(size=(400, 1))
    design = np.column_stack([activity, shuffled]) - np.column_stack([activity, shuffled]).mean(0)
    found = local.regress(as_tensor(design)[:, None].expand(-1, N_FOLDS, -1), torch.zeros(400, 1))
    for gene in [*np.flatnonzero(loading)[:6], *np.flatnonzero(loading == 0)[:6]]:
        family = sm.families.NegativeBinomial(alpha=1 / float(local.theta[gene]))
        exog = sm.add_constant(design)
        offset = local.adjusted[:, gene].double().numpy()
        fit = sm.GLM(local.x[:, gene].numpy(), exog, family=family, offset=offset).fit(scale=1.0)
        overdispersion = max(fit.pearson_chi2 / fit.df_resid, 1.0)
        # a ridge of 0.1 on the slopes moves them by far less than their error
        np.testing.assert_allclose(found.slope[gene], fit.params[1:], atol=0.05 * fit.bse[1:].max())
        np.testing.assert_allclose(found.se[gene], fit.bse[1:] * overdispersion**0.5, rtol=0.02)
        assert float(found.intercept[gene]) == pytest.approx(fit.params[0], abs=0.02)


def test_intervals_cover_planted_slopes():
    inside = []
    for seed in range(6):
        loading = program(seed)
        local, activity = draw(seed, loading[:, None], n=300, base=BASE)
        scores = local.score(as_tensor(loading[:, None]), local.intercept)
        slopes = local.regress(scores.left_out, scores.size)
        z = (slopes.centred(0) - loading * activity.std()) / slopes.se[:, 0]
        inside.append(np.abs(z) < 1.96)
    assert 0.93 < np.mean(inside) < 0.97


def test_size_is_robust_to_a_dominating_gene():
    """Its noise makes totals noisy, hence libraries; the size of a cell follows the other genes, and is no program."""
    base = BASE.copy()
    base[0] = np.log(0.4 / 0.6 * np.exp(base[1:]).sum())
    local, _ = draw(8, None, n=400, base=base)
    assert float(local.x[:, 0].sum() / local.x.sum()) > 0.3
    library = local.offset[:, 0].numpy()
    others = np.log(local.x[:, 1:].sum(1).numpy())
    found = library + local.null.size[:, 0].numpy()
    assert np.corrcoef(found, others)[0, 1] > 0.97 > 0.9 > np.corrcoef(library, others)[0, 1]
    halves = local.cells(np.arange(0, 400, 2)), local.cells(np.arange(1, 400, 2))
    assert halves[1].variance_test(as_tensor(learnt_direction(halves[0]))).pvalue > 0.01


def learnt_direction(local):
    """Slopes on the leading direction of one half, not shrunk: a loading even where nothing is to be found."""
    first = local.first_direction(0)[:, None, None].expand(-1, N_FOLDS, 1)
    return local.regress(torch.cat([first, local.null.left_out], 2), local.null.size).centred(0)


@pytest.mark.parametrize("n", [40, 200])
def test_variance_test_is_uniform_without_a_program(n):
    pvalues = []
    for seed in range(80):
        shared = np.abs(program(1000 + seed))[:, None]
        local, _ = draw(seed, shared, n=2 * n, base=BASE)
        local = local.given(shared)
        a, b = local.cells(np.arange(n)), local.cells(np.arange(n, 2 * n))
        pvalues.append(b.variance_test(as_tensor(learnt_direction(a))).pvalue)
    assert kstest(pvalues, "uniform").pvalue > 0.01
    assert np.mean(np.array(pvalues) < 0.05) <= 0.125


def test_variance_test_sees_a_planted_program():
    loading = program(1)
    local, _ = draw(9, loading[:, None], n=200, base=BASE)
    a, b = local.cells(np.arange(100)), local.cells(np.arange(100, 200))
    test = b.variance_test(a.learn(0))
    assert test.pvalue < 1e-6
    assert test.excess > 0.3


def test_nothing_to_learn_is_no_program():
    local, _ = draw(10, None, n=200, base=BASE)
    test = local.variance_test(torch.zeros(200))
    assert (test.pvalue, test.excess) == (1.0, 0.0)


def test_donors_take_their_differences_out():
    donors = np.arange(400) % 4
    with_donors, _ = draw(11, None, n=400, base=BASE, donors=donors)
    without = replace(with_donors, blocks=None)._centred()
    pvalues = []
    for local in (with_donors, without):
        a, b = local.cells(np.arange(200)), local.cells(np.arange(200, 400))
        pvalues.append(b.variance_test(as_tensor(learnt_direction(a))).pvalue)
    assert pvalues[1] < 1e-10 < 0.01 < pvalues[0]


def test_variances_are_nothing_without_a_program_and_the_planted_one_with_it():
    """Over draws: the mean is right, and the error promised is their spread."""
    loading = program(1, amplitude=0.6)
    for amplitude in (0.0, 0.5, 1.0):
        found, planted = [], []
        for seed in range(25):
            local, activity = draw(100 + seed, amplitude * loading[:, None], n=300, base=BASE)
            found += local.variances([as_tensor(loading)])
            planted.append(amplitude**2 * activity.var())
        variance, error = np.array(found).T
        assert variance.mean() == pytest.approx(np.mean(planted), abs=max(3 * variance.std() / 5, 0.12 * amplitude**2))
        assert error.mean() == pytest.approx(variance.std(), rel=0.45)
        if amplitude == 0:
            assert np.mean(np.abs(variance) < 1.96 * error) > 0.8 and (variance < 0).any()
        else:
            assert (variance > 3 * error).all()


def test_variances_scale_with_the_loading_and_see_only_what_is_asked():
    loading, other = program(1), program(2)
    local, _ = draw(7, np.stack([loading, other], 1), n=500, base=BASE)
    (one, _), (double, _), (absent, small) = local.variances([as_tensor(v) for v in (loading, 2 * loading, program(3))])
    assert double == pytest.approx(one / 4, rel=1e-3)
    assert one == pytest.approx(1.0, abs=0.3) and abs(absent) < 4 * small + 0.05
    ((beside, _),) = local.given(other[:, None]).variances([as_tensor(loading)])
    ((mixed, _), (apart, _)) = (
        local.given(v).variances([as_tensor(loading + other)])[0] for v in (other[:, None], 0 * other[:, None])
    )
    assert beside == pytest.approx(one, rel=0.1) and mixed == pytest.approx(one, rel=0.15) and apart < 0.75 * mixed
    assert local.variances([torch.zeros(200)]) == [(0.0, float("inf"))]
