"""What varies inside a population, by names that hold in all of them."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae import fit_ldvae, population_loadings, population_programs
from ldvae.programs.catalogue import Catalogue, catalogue
from ldvae.programs.program import REST, call_programs, plausible
from ldvae.programs.search import search
from ldvae.programs.within import within_programs
from planted import SETTINGS, loading, population, r_with, simulate_programs


def found_in(populations, most=3):
    programs = within_programs(catalogue(populations, most, 200, 0), 0)
    return {(p.population, p.name): p for p in programs}, programs


def called(programs):
    return {(p.population, p.name) for p, yes in zip(programs, call_programs(programs)[1], strict=True) if yes}


def reason(programs, population, name):
    reasons = call_programs(programs)[2]
    return next(r for p, r in zip(programs, reasons, strict=True) if (p.population, p.name) == (population, name))


def r(program, truth):
    return abs(np.corrcoef(program.loading, truth)[0, 1])


def test_within_lists_what_is_shared_and_what_is_own(planted, planted_fit):
    arguments = dict(groupby="population", kind="within")
    programs = population_programs(planted_fit, planted, **arguments)
    names = programs[programs["called"]].groupby("population")["program"].apply(set).to_dict()
    own = {p: names[p] - {"program_1"} for p in names}
    assert all("program_1" in n for n in names.values())
    assert [len(own[p]) for p in ("P0", "P1", "P2", "P3")] == [1, 1, 1, 0]
    assert len(set.union(*own.values())) == 3  # each has a name of its own
    tested = programs.groupby("population")["program"].apply(set).to_dict()
    assert tested["P3"] == {"program_1", REST}  # what was looked for and not found has its p-value
    rest = programs[programs["program"] == REST]
    assert not rest["called"].any() and (rest["pval"] > 0.01).all() and (rest["share"] == 0).all()
    assert np.allclose(programs.groupby("population")["share"].sum(), 1)
    for _, rows in programs.groupby("population"):
        assert (np.diff(rows["share"]) <= 0).all()
        if rows["called"].sum() == 2:
            assert rows["share"].iloc[0] < 0.65  # both were planted with the same amplitude
    assert (programs["reason"] == "").tolist() == programs["called"].tolist()
    loadings = population_loadings(planted_fit, planted, **arguments)
    for p in ("P0", "P1", "P2", "P3"):
        assert r_with(loadings, planted.uns["truth"]["shared"][0], p, "program_1") > 0.95


def test_differences_between_samples_are_no_program():
    adata = simulate_programs(null_populations=[0, 1, 2, 3], n_shared=0, n_samples=4, sample_std=0.6, seed=3)
    fit = fit_ldvae(adata, **SETTINGS)
    arguments = dict(groupby="population", kind="within")
    assert population_programs(fit, adata, **arguments)["called"].sum() >= 4
    assert not population_programs(fit, adata, sample_key="sample", **arguments)["called"].any()


def test_a_name_says_how_many_have_it_and_then_how_strong_it_is():
    common = loading(4, positive=True)
    strong, weak = 1.3 * loading(10), 0.8 * loading(11)
    by_name, programs = found_in(
        [population(1, "A", np.stack([0.6 * common, weak], 1)), population(2, "B", np.stack([0.6 * common, strong], 1))]
    )
    assert called(programs) == {("A", "program_1"), ("B", "program_1"), ("B", "program_2"), ("A", "program_3")}
    truths = {"program_1": common, "program_2": strong, "program_3": weak}
    for (_, name), program in by_name.items():
        if name != REST:
            assert r(program, truths[name]) > 0.9
    signs = [np.sign(by_name[p, "program_1"].loading @ common) for p in ("A", "B")]
    assert signs[0] == signs[1]
    # by strength inside a population, whatever the names
    assert [p.name for p in programs] == ["program_3", "program_1", REST, "program_2", "program_1", REST]


def test_what_is_borrowed_is_better():
    """Few shallow cells learn from many what the genes do."""
    truth = loading(5)
    few = population(1, "few", truth[:, None], n=80, library=500.0)
    many = [population(i, f"P{i}", truth[:, None], n=400) for i in (2, 3)]
    alone, _ = found_in([few])
    together, programs = found_in([few, *many])
    assert called(programs) == {(p, "program_1") for p in ("few", "P2", "P3")}
    assert r(together["few", "program_1"], truth) > r(alone["few", "program_1"], truth) + 0.01
    activity = [np.random.default_rng(1).normal(size=(80, 1)).std()]
    errors = [np.abs(np.abs(f["few", "program_1"].loading) - np.abs(truth) * activity) for f in (together, alone)]
    assert errors[0].mean() < 0.7 * errors[1].mean()
    assert together["few", "program_1"].n_genes >= alone["few", "program_1"].n_genes


@pytest.fixture(scope="module")
def two():
    """Two populations with one program, whose catalogue a third can be added to."""
    truth = loading(1)
    populations = [population(i, name, truth[:, None]) for i, name in enumerate("AB", 1)]
    found = catalogue(populations, 2, 200, 0)
    assert [set(m) for m in found.members] == [{0, 1}]
    return truth, found


def third(found, p):
    columns = search(p.local, 2, 0)
    more = Catalogue([*found.columns, columns], found.members, [*found.populations, p], 200)
    return within_programs(more, 0), len(columns)


def test_a_weak_program_is_found_with_the_loadings_of_others(two):
    truth, found = two
    programs, by_itself = third(found, population(4, "C", 0.2 * truth[:, None], n=120))
    assert by_itself == 0
    assert called(programs) == {(p, "program_1") for p in "ABC"}
    weak = next(p for p in programs if p.population == "C" and plausible(p))
    assert r(weak, truth) > 0.95 and weak.learnt is None
    assert 0.1**2 < (weak.loading**2).sum() / (truth**2).sum() < 0.35**2


def test_a_program_is_not_found_where_it_is_not(two):
    _, found = two
    programs, _ = third(found, population(4, "C", np.zeros((200, 1)), n=120))
    assert called(programs) == {(p, "program_1") for p in "AB"}
    assert reason(programs, "C", "program_1") == "does not vary beyond counting noise"
    absent = next(p for p in programs if (p.population, p.name) == ("C", "program_1"))
    assert absent.pvalue > 0.05 and not absent.loading.any() and absent.n_genes == 0


def test_populations_without_a_program_are_not_made_to_have_one(two):
    """Others' loadings met thirty times: the p-values are uniform."""
    _, found = two
    pvalues = []
    for seed in range(30):
        programs, _ = third(found, population(100 + seed, "C", np.zeros((200, 1)), n=60))
        absent = next(p for p in programs if (p.population, p.name) == ("C", "program_1"))
        assert not plausible(absent)
        pvalues.append(absent.pvalue)
    assert np.mean(np.array(pvalues) < 0.05) <= 0.17
    assert 0.3 < np.mean(pvalues) < 0.7


def test_reasons_of_what_is_looked_for(two):
    truth, found = two
    other = truth.copy()
    on = np.flatnonzero(truth)
    other[on[8:]] = 0.0
    other[np.flatnonzero(truth == 0)[:12]] = 1.0
    programs, _ = third(found, population(4, "C", 0.35 * other[:, None], n=80))
    assert reason(programs, "C", "program_1") == "other genes answer here"
    programs, _ = third(found, population(3, "C", 0.05 * truth[:, None], n=2500))
    assert reason(programs, "C", "program_1") == "less than 10 % beyond counting noise"


def test_what_has_no_name_is_found_once_more_beside_what_has(two, monkeypatch):
    """C has the others' program weakly, which it does not find by itself, and a strong one of its own."""
    truth, found = two
    own = loading(30)
    p = population(4, "C", np.stack([0.25 * truth, own], 1), n=150)
    columns = search(p.local, 3, 0)
    assert len(columns) == 1
    held = []

    def followed(local, most, seed):
        held.append(local.nuisance.numpy())
        return search(local, most, seed)

    monkeypatch.setattr("ldvae.programs.within.search", followed)
    more = Catalogue([*found.columns, columns], found.members, [*found.populations, p], 200)
    programs = within_programs(more, 0)
    (nuisance,) = held
    assert nuisance.shape == (200, 1) and np.corrcoef(nuisance[:, 0], truth)[0, 1] ** 2 > 0.9
    here = {o.name: o for o in programs if o.population == "C"}
    assert r(here["program_1"], truth) > 0.9 and r(here["program_2"], own) > 0.95
    assert {"program_1", "program_2"} <= {name for population, name in called(programs) if population == "C"}


def test_few_genes_are_no_program():
    three = np.zeros(200)
    three[[3, 50, 120]] = 1.5
    _, programs = found_in([population(5, "A", three[:, None])])
    assert [p.name for p in programs] == [REST]
    assert programs[0].pvalue < 1e-3 and reason(programs, "A", REST) == "fewer than 5 sure genes"


def test_noise_has_no_program_and_no_small_pvalue():
    pvalues = []
    for seed in range(6):
        _, programs = found_in([population(10 * seed + i, f"P{i}", np.zeros((200, 1)), n=100) for i in range(3)], 2)
        assert {p.name for p in programs} == {REST} and len(programs) == 3
        assert called(programs) == set()
        pvalues += [p.pvalue for p in programs]
    assert np.mean(np.array(pvalues) < 0.05) <= 0.2
    assert np.mean(np.array(pvalues) < 0.2) <= 0.45
