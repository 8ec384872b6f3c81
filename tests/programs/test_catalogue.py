"""One name for programs of different populations that move the same genes, and no name for others."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from ldvae.programs.catalogue import LINK, _linked, catalogue
from ldvae.programs.search import search
from planted import loading, population


def alike(pairs, n):
    out = np.zeros((n, n))
    for (i, j), r in pairs.items():
        out[i, j] = out[j, i] = r
    return out


@pytest.mark.parametrize(
    ("pairs", "populations", "expected"),
    [
        ({(0, 1): 0.8}, [0, 1], [{0, 1}]),
        ({(0, 1): -0.8}, [0, 1], [{0, 1}]),  # a sign is free
        ({(0, 1): LINK - 0.01}, [0, 1], []),
        ({(0, 1): 0.9, (1, 2): 0.8}, [0, 1, 0], [{0, 1}]),  # of a population one, the closer
        ({(0, 1): 0.9, (1, 2): 0.9, (0, 2): 0.6}, [0, 1, 2], [{0, 1, 2}]),  # on average, not in every pair
        ({(0, 1): 0.9, (1, 2): 0.8, (0, 2): 0.2}, [0, 1, 2], [{0, 1}]),  # nor in a single one
        (
            {(0, 1): 0.99, (0, 2): 0.99, (0, 3): 0.99, (1, 2): 0.99, (1, 3): 0.99, (2, 3): 0.99}
            | {(1, 4): 0.97, (2, 4): 0.97, (3, 4): 0.97},  # as much as others of its own population, which come first
            [0, 1, 2, 3, 0],
            [{0, 1, 2, 3}],
        ),
        ({(0, 1): 0.9, (2, 3): 0.9}, [0, 1, 0, 1], [{0, 1}, {2, 3}]),
        ({}, [], []),
    ],
)
def test_linkage_is_average_and_of_each_population_one(pairs, populations, expected):
    found = _linked(alike(pairs, len(populations)), np.array(populations, dtype=int))
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_what_populations_have_in_common_has_one_name():
    common, own = loading(4, positive=True), [loading(10), loading(11)]
    programs = [np.stack([common, own[0]], 1), np.stack([own[1], common], 1), common[:, None]]
    populations = [population(i, f"P{i}", p) for i, p in enumerate(programs)]
    found = catalogue(populations, 3, 200, 0)
    assert [len(columns) for columns in found.columns] == [2, 2, 1]
    (members,) = found.members
    assert set(members) == {0, 1, 2}
    for i, (k, sign) in members.items():
        slope, variance = found.slope(i, k)
        assert np.corrcoef(slope, common)[0, 1] * sign * members_sign(found, common) > 0.9
        assert (variance > 0).all()
        assert found.of(i) == {k: 0}
    # together they know more than each alone; without one, its counts take no part
    together, less = found.pooled(0), found.pooled(0, 1)
    assert np.corrcoef(together[0], common)[0, 1] ** 2 > 0.95
    assert np.nanmean(together[1]) < np.nanmean(less[1]) < np.nanmean(found.slope(0, members[0][0])[1])
    assert not np.array_equal(together[0], less[0])


def members_sign(found, truth):
    return np.sign(np.corrcoef(found.pooled(0)[0], truth)[0, 1])


def test_signs_of_members_agree(monkeypatch):
    """One population finds it upside down, whose sign was free."""
    common = loading(5)
    populations = [population(i, f"P{i}", common[:, None]) for i in range(3)]
    upright = catalogue(populations, 2, 200, 0)

    def turned(local, most, seed):
        columns = search(local, most, seed)
        return replace(columns, slope=-columns.slope) if local is populations[1].local else columns

    monkeypatch.setattr("ldvae.programs.catalogue.search", turned)
    found = catalogue(populations, 2, 200, 0)
    (members,) = found.members
    signs = [sign for _, sign in members.values()]
    assert signs in ([1, -1, 1], [-1, 1, -1])
    slopes = np.stack([sign * found.slope(i, k)[0] for i, (k, sign) in members.items()])
    assert np.corrcoef(slopes).min() > 0.9
    np.testing.assert_allclose(np.abs(found.pooled(0)[0]), np.abs(upright.pooled(0)[0]))


def test_own_programs_and_noise_have_no_common_name():
    populations = [population(i, f"P{i}", loading(10 + i)[:, None]) for i in range(3)]
    found = catalogue(populations, 2, 200, 0)
    assert [len(columns) for columns in found.columns] == [1, 1, 1] and found.members == []
    noise = catalogue([population(i, f"P{i}", np.zeros((200, 1))) for i in range(3)], 2, 200, 0)
    assert [len(columns) for columns in noise.columns] == [0, 0, 0] and noise.members == []
    assert noise.of(0) == {}


def test_genes_that_a_population_does_not_test_are_no_obstacle():
    common = loading(6)
    first, second = (population(i, f"P{i}", common[:, None]) for i in range(2))
    seen = np.random.default_rng(0).permutation(200)[:150]
    local = type(second.local).build(
        second.local.x[:, seen].numpy(), second.local.offset[:, seen].numpy(), np.full(150, 4.0), None
    )
    second = type(second)("P1", second.rows, seen, local)
    found = catalogue([first, second], 2, 200, 0)
    assert [set(m) for m in found.members] == [{0, 1}]
    slope, variance = found.slope(1, found.members[0][1][0])
    assert np.isfinite(slope).sum() == np.isfinite(variance).sum() == 150
    assert np.isfinite(slope[seen]).all()
    assert np.isfinite(found.pooled(0)[0]).all()


def test_populations_that_may_have_more_are_named():
    both = population(0, "A", np.stack([loading(20), loading(40)], 1))
    one = population(1, "B", loading(9)[:, None])
    with pytest.warns(UserWarning, match=r"^'A' may have more programs than the 1 that were looked for") as said:
        catalogue([both, population(2, "C", np.zeros((200, 1)))], 1, 200, 0)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        catalogue([both, one], 3, 200, 0)
