"""Whatever the counts, labels and arguments: finite tables or a documented sentence, and nothing changed."""

from __future__ import annotations

import inspect
import warnings
from collections import Counter

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from packaging.version import Version

import ldvae
from support import UNMEASURED, all_stored, assert_finite, fingerprint, is_sentence

try:
    from hypothesis.internal.conjecture import providers
except ImportError:  # older ones look at no source
    providers = None

N_GENES = 12
GENES = [f"g{j}" for j in range(N_GENES)]
DE_NAN = ("proba_de", "lfsr", "bayes_factor", "lfc_mean", "lfc_median", "lfc_std", "lfc_lower", "lfc_upper", "mean1",
          "mean2")  # fmt: skip
PROGRAMS_NAN = ("share", "ratio_to_reference", "like_cosine", "share_of_samples", "pval", "padj")
ASSOCIATION_NAN = ("effect", "std", "statistic", "pval", "padj", "auc")

quick = settings(
    deadline=None, max_examples=40, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.fixture(autouse=True)
def the_same_examples(monkeypatch):
    """However many modules are loaded: hypothesis tries numbers that it finds in their source."""
    if hasattr(providers, "_get_local_constants"):
        monkeypatch.setattr(providers, "_get_local_constants", lambda: providers.Constants())


def data(n_cells, genes, seed=0):
    rng = np.random.default_rng(seed)
    mean = rng.gamma(1.0, 4.0, len(genes)) * np.exp(0.5 * rng.normal(size=(n_cells, 1)) * rng.normal(size=len(genes)))
    x = rng.poisson(mean)
    x[:, 0] += 1
    obs = pd.DataFrame(
        {"batch": np.array(["B0", "B1"])[np.arange(n_cells) % 2]}, index=[f"c{i}" for i in range(n_cells)]
    )
    return ad.AnnData(sp.csr_matrix(x.astype(np.float32)), obs=obs, var=pd.DataFrame(index=genes))


@pytest.fixture(scope="module")
def fit():
    adata = data(400, GENES)
    return ldvae.fit_ldvae(
        adata, batch_key="batch", n_latent=2, n_hidden=8, max_epochs=200, batch_size=32, progress=False, device="cpu",
        measure_factors=False,  # few genes: parts of them say nothing
    )  # fmt: skip


# counts: mostly what a cell may have, at times what it may not
values = st.one_of(
    st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.sampled_from([0, 0, 40, 1000, 10**6]),
)  # fmt: skip
wrong = st.sampled_from([-1.0, 0.5, np.nan, np.inf, 1e30])
sparse_arrays = [sp.csr_array] if Version(ad.__version__) >= Version("0.11") else []  # older ones know matrices only
containers = st.sampled_from([np.asarray, np.asfortranarray, sp.csr_matrix, sp.csc_matrix, *sparse_arrays, all_stored])
dtypes = st.sampled_from(["float32", "float64", "int32", "int64", "uint32"])
words = st.sampled_from(["a", "b", "a", "b", "a", "b", "c", "c", None, "", "é", "rest"])
numbers = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.integers(-3, 3), st.just(np.nan))


def seldom(draw):
    return draw(st.integers(0, 9)) == 7  # not 0, which hypothesis likes best


@st.composite
def objects(draw, genes=None, max_cells=70):
    """An AnnData of generated counts, with labels, samples and numbers, in some container and order of genes."""
    n_cells = draw(st.one_of(st.integers(1, 5), st.integers(20, max_cells), st.integers(20, max_cells)))
    names = list(draw(st.permutations(genes))) if genes else [f"g{j}" for j in range(draw(st.integers(1, 15)))]
    if genes and draw(st.booleans()):
        names = [*names[seldom(draw) :], "more"]
    x = draw(hnp.arrays(np.float64, (n_cells, len(names)), elements=values, fill=st.just(0)))
    if draw(st.booleans()):
        x = x + np.random.default_rng(draw(st.integers(0, 99))).poisson(2, x.shape)
    if not seldom(draw):
        x[x.sum(1) == 0, 0] = 1
    if seldom(draw):
        x.flat[draw(st.integers(0, x.size - 1))] = draw(wrong)
        matrix = draw(containers)(x)
    else:
        matrix = draw(containers)(x.astype(draw(dtypes)))
    column = lambda kind: draw(st.lists(kind, min_size=2, max_size=5)) * n_cells  # noqa: E731
    obs = {"label": column(words), "sample": column(words), "number": column(numbers), "batch": column(words)}
    if not seldom(draw):
        obs["batch"] = ["B0", "B1"] * n_cells
    frame = pd.DataFrame({k: pd.Series(v[:n_cells]) for k, v in obs.items()})
    if draw(st.booleans()):
        frame["label"] = frame["label"].astype("category")
    frame.index = [f"c{i}" for i in range(n_cells)]
    return ad.AnnData(matrix, obs=frame, var=pd.DataFrame(index=names))


ANSWERED = Counter()
LEAST = {
    "test_scores_of_any_cells": 20, "test_fits_of_any_counts": 20, "test_simulations_of_any_size": 20,
    "test_programs_of_any_populations": 10, "test_associations_of_any_key": 8, "test_expression_of_any_cells": 8,
    "test_differences_of_any_sets_of_cells": 5, "test_contributions_of_any_groups": 2,
    "test_differences_of_any_groups": 4,
}  # fmt: skip


def answer(call, adata, but=(), also=()):
    """What the call gives, if that is a finite table or a sentence, and if the object is as before."""
    before = fingerprint(adata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "left out were ..."
        try:
            found = call()
        except (ValueError, TypeError, *also) as error:
            assert is_sentence(error) or isinstance(error, also), f"{type(error).__name__}: {error}"
            found = None
    if isinstance(found, pd.DataFrame):
        assert_finite(found, but)
    ANSWERED[inspect.stack()[1].function] += found is not None
    assert fingerprint(adata) == before
    return found


def mostly(usual, rare):
    """Nine times of ten what a user means, since two mistakes hide each other."""
    return st.integers(0, 9).flatmap(lambda n: rare if n == 7 else usual)


keys = mostly(st.sampled_from(["label", "label", "batch", "sample"]), st.sampled_from(["number", "nothing", 3, None]))
maybe_key = mostly(st.sampled_from([None, None, None, "sample"]), keys)
seeds = mostly(st.integers(0, 9), st.sampled_from([-1, 2**32, 0.5, "a"]))
rare_levels = st.sampled_from(["c", "", "rest", "pairwise", ["a"], ["a", "b"], [], 1])
levels = mostly(st.none(), st.one_of(st.sampled_from(["a", "b"]), rare_levels))


@quick
@given(objects(GENES))
def test_scores_of_any_cells(fit, adata):
    found = answer(lambda: ldvae.get_latent(fit, adata), adata)
    assert found is None or len(found) == adata.n_obs


@quick
@given(objects(GENES), mostly(st.just(["g1", "g0"]), st.lists(st.sampled_from([*GENES, "x"]), max_size=4)),
       mostly(st.just(2), st.integers(-1, 4)), mostly(st.just(1e4), numbers), seeds)  # fmt: skip
def test_expression_of_any_cells(fit, adata, genes, n_samples, library_size, seed):
    kwargs = dict(genes=genes, n_samples=n_samples, library_size=library_size, seed=seed)
    found = answer(lambda: ldvae.get_expression(fit, adata, **kwargs), adata)
    assert found is None or (found["expression"] >= 0).all()


@quick
@given(objects(GENES, 150), keys, mostly(st.sampled_from(["between", "within", "specific", "deviation"]), st.just("x")),
       levels, maybe_key, mostly(st.integers(1, 3), st.just(0)), seeds)  # fmt: skip
def test_programs_of_any_populations(fit, adata, groupby, kind, reference, sample_key, n_programs, seed):
    kwargs = dict(
        groupby=groupby, kind=kind, reference=reference, sample_key=sample_key, n_programs=n_programs, seed=seed
    )
    answer(lambda: ldvae.population_loadings(fit, adata, **kwargs), adata, ("std",))
    answer(lambda: ldvae.population_programs(fit, adata, **kwargs), adata, PROGRAMS_NAN)
    scores = answer(lambda: ldvae.get_program_scores(fit, adata, **kwargs), adata, _Anything())
    assert scores is None or len(scores) == adata.n_obs


class _Anything:
    """Cells of other populations have no score."""

    def __contains__(self, name):
        return True


@quick
@given(objects(GENES, 100), mostly(st.just("label"), keys), levels, levels,
       mostly(st.sampled_from(["mean", "cell"]), st.just("x")), mostly(st.none(), maybe_key), maybe_key,
       st.booleans(), mostly(st.just(0.25), numbers), mostly(st.just(0.05), numbers), seeds)  # fmt: skip
def test_differences_of_any_groups(
    fit, adata, groupby, group1, group2, estimand, sample_key, within, correction, delta, fdr_target, seed
):
    kwargs = dict(groupby=groupby, group1=group1, group2=group2, estimand=estimand,
                  sample_key=sample_key, within=within,
                  delta=delta, batch_correction=correction, fdr_target=fdr_target, n_samples=20, seed=seed)  # fmt: skip
    found = answer(lambda: ldvae.differential_expression(fit, adata, **kwargs), adata, DE_NAN)
    if found is not None:
        untested = found["lfc_mean"].isna()
        assert found.loc[~untested, list(DE_NAN)].notna().all(axis=None) and not found.loc[untested, "is_de"].any()
        assert found["lfsr"].dropna().between(0, 1).all() and found["proba_de"].dropna().between(0, 1).all()
        assert (found["lfc_lower"] <= found["lfc_upper"])[~untested].all()


@quick
@given(objects(GENES), st.data())
def test_differences_of_any_sets_of_cells(fit, adata, draw):
    names = adata.obs_names.tolist()
    mask = st.lists(st.booleans(), min_size=adata.n_obs, max_size=adata.n_obs)
    some = st.lists(st.sampled_from(names), min_size=min(3, len(names)), max_size=10, unique=True)
    odd = st.sampled_from([["x"], [], [1, 2], names, [True], None])
    cells1, cells2 = draw.draw(mostly(st.one_of(mask, some), odd)), draw.draw(mostly(st.none(), st.one_of(some, odd)))
    answer(lambda: ldvae.differential_expression(fit, adata, cells1=cells1, cells2=cells2), adata, DE_NAN)


@quick
@given(objects(GENES), keys, levels, levels, maybe_key)
def test_contributions_of_any_groups(fit, adata, groupby, group1, group2, sample_key):
    answer(
        lambda: ldvae.differential_contributions(
            fit, adata, groupby=groupby, group1=group1, group2=group2, sample_key=sample_key
        ),
        adata,
    )


@quick
@given(objects(GENES), keys, maybe_key, maybe_key)
def test_associations_of_any_key(fit, adata, key, sample_key, within):
    found = answer(
        lambda: ldvae.associate_factors(fit, adata, key=key, sample_key=sample_key, within=within),
        adata,
        ASSOCIATION_NAN,
    )
    assert found is None or found["pval"].dropna().between(0, 1).all()


@quick
@given(
    objects(), st.sampled_from(["nb", "zinb", "poisson"]), st.sampled_from(["normal", "ln"]),
    st.sampled_from(["linear", "nonlinear"]), st.sampled_from(["ard", "none"]),
    st.sampled_from([None, "batch", "label"]),
    st.sampled_from([(), ["number"], ["sample"]]), st.sampled_from([None, None, None, "number"]),
    st.integers(1, 4), st.sampled_from([2, 16, 10**6]), st.sampled_from([0, 0.1, 0.9]), st.integers(0, 3),
)  # fmt: skip
def test_fits_of_any_counts(
    adata, likelihood, latent, decoder, prior, batch_key, covariates, size_factor_key, n_latent, batch_size, held, seed
):
    kwargs = dict(gene_likelihood=likelihood, latent_distribution=latent, decoder=decoder, loadings_prior=prior,
                  batch_key=batch_key, covariate_keys=covariates, size_factor_key=size_factor_key, n_latent=n_latent,
                  batch_size=batch_size, validation_size=held, seed=seed)  # fmt: skip
    fit = answer(
        lambda: ldvae.fit_ldvae(adata, n_hidden=4, max_epochs=2, progress=False, device="cpu", **kwargs), adata,
        also=(RuntimeError,),
    )  # fmt: skip
    if fit is not None:
        assert_finite(ldvae.get_history(fit), ("elbo_validation",))
        for read in (ldvae.get_latent, ldvae.get_loadings):
            assert_finite(read(fit, inactive=True))
        assert_finite(ldvae.get_loadings_uncertainty(fit))
        assert_finite(ldvae.get_factors(fit), UNMEASURED)
        assert_finite(answer(lambda: ldvae.get_latent(fit, adata), adata))


@quick
@given(
    mostly(st.integers(1, 60), st.just(0)), st.integers(2, 30), st.integers(1, 4),
    mostly(st.just(1), st.integers(0, 9)),
    mostly(st.floats(0, 100), numbers), st.integers(0, 2),
    mostly(st.integers(1, 3), st.just(0)), st.integers(0, 4), mostly(st.floats(1, 1e7), numbers), seeds,
)  # fmt: skip
def test_simulations_of_any_size(n_cells, n_genes, n_populations, size, amplitude, n_shared, n_batches, n_samples,
                                 library,
                                 seed):  # fmt: skip
    kwargs = dict(n_cells=n_cells, n_genes=n_genes, n_populations=n_populations, program_size=size, amplitude=amplitude,
                  n_shared=n_shared, n_batches=n_batches, n_samples=n_samples, library_size=library,
                  seed=seed)  # fmt: skip
    found = answer(lambda: ldvae.simulate_counts(**kwargs), None)
    if found is not None:
        assert found.shape == (n_cells, n_genes) and np.isfinite(found.X.data).all() and (found.X.data >= 0).all()


def test_enough_of_it_was_answered():
    """Runs last: what only ever refuses would pass all of the above."""
    if len(ANSWERED) < len(LEAST):
        pytest.skip("only some of the tests above have run")
    assert not {name: n for name, n in ANSWERED.items() if n < LEAST[name]}, ANSWERED
