"""Counts whose truth is known: programs planted in populations, batches, samples and a treatment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .. import checks
from ..checks import brief
from ..machine.memory import need_memory

__all__ = ["simulate_counts"]

_ROWS_AT_A_TIME = 2048  # part of the random stream: another number, other counts
_BASE = (-0.5, 1.6)  # mean and standard deviation of log expression
_BATCH_STD = 0.15  # of the log effect of a batch on a gene
_LIBRARY_STD = 0.35  # of log library sizes
_DISPERSION_STD = 0.5  # of log inverse dispersions
_MOST = 100.0  # natural log units; beyond it one gene is all there is


def simulate_counts(
    *,
    n_cells: int = 2000,
    n_genes: int = 1000,
    n_populations: int = 4,
    program_size: int = 40,
    amplitude: float = 0.8,
    n_shared: int = 1,
    n_partial: int = 0,
    null_populations: Any = (),
    rewired_populations: Any = (),
    n_identity: int = 60,
    smallest_share: float = 0.03,
    n_batches: int = 2,
    n_samples: int = 0,
    sample_std: float = 0.3,
    n_sample_genes: int = 100,
    treatment_effect: float = 0.0,
    library_size: float = 800.0,
    depth: Mapping[Any, float] | None = None,
    inverse_dispersion: float = 3.3,
    seed: int = 0,
) -> AnnData:
    """Simulate negative binomial counts with planted gene programs.

    Each population has markers that tell it from the others, and a program of its own: genes that go up and down
    together from cell to cell, in this population only. Programs shared by all or half of the populations, batches,
    samples and a treatment come on top. All effects add up on the log scale; expression is the softmax of the sum.

    Parameters
    ----------
    n_cells, n_genes, n_populations
        Size of the data. Populations are named P0, P1, ..., genes G0, G1, ..., cells C0, C1, ...
    program_size
        Genes per program (and per treatment), drawn from the better expressed half of the genes.
    amplitude
        Mean absolute loading of a program's genes, in natural log units per standard deviation of its activity. Own and
        partial programs have genes of both signs, the first shared program only positive ones.
    n_shared, n_partial
        Programs active in all populations, and in half of them.
    null_populations
        Populations without a program of their own, by number or name.
    rewired_populations
        Populations in which the first shared program drives other genes in place of half of its own.
    n_identity
        Marker genes per population (a quarter of them down), limited to `n_genes`.
    smallest_share
        No population is expected to have less than about this share of the cells.
    n_batches
        Batches, crossed with everything else; each shifts all genes by normal amounts (standard deviation 0.15).
    n_samples
        Samples (donors), crossed with populations; 0 for none. Every second one (S1, S3, ...) is treated.
    sample_std, n_sample_genes
        Standard deviation of a sample's shifts, and the number of genes shifted (limited to `n_genes`).
    treatment_effect
        Mean absolute shift of `program_size` genes in treated samples, in natural log units; 0 leaves the labels void.
    library_size
        Median expected total count of a cell (log-normal, log standard deviation 0.35).
    depth
        Multiplier of the library size of some populations, by number or name.
    inverse_dispersion
        Median of the genes' inverse dispersion θ (variance μ + μ²/θ; log standard deviation 0.5).
    seed
        Same arguments and seed: same counts.

    Returns
    -------
    AnnData
        `X`: counts, CSR float32. `obs`: `population`, `batch` and, with samples, `sample` and `treatment`
        ("control", "treated"). `obsm["activity"]`: activity of the own program, then of each shared and partial one (0
        where it is inactive). `uns["truth"]`, all effects in natural log units:

        * `programs` (populations × genes), `shared` (shared, then partial programs × genes): loadings;
          `active` (programs × populations): where those of `shared` are;
        * `rewired` (populations × genes): what to add to the loadings of the first shared program there;
        * `identity`, `means` (populations × genes): marker effects; log expression without programs, batches, samples,
          with exponentials that sum to one;
        * `batch_shift`, `sample_shift` (batches or samples × genes), `treatment` (genes);
        * `inverse_dispersion` (genes), `share` (populations): expected share of the cells.

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.
    """
    n_populations = checks.integer("n_populations", n_populations, 1)
    n_genes = checks.integer("n_genes", n_genes, 2)
    n_samples = checks.integer("n_samples", n_samples, 0)
    n_shared = checks.integer("n_shared", n_shared, 0)
    n_cells, n_batches = checks.integer("n_cells", n_cells, 1), checks.integer("n_batches", n_batches, 1)
    n_partial = checks.integer("n_partial", n_partial, 0)
    library_size = checks.number("library_size", library_size, 0, 1e7, low_open=True)
    truth_rows = 6.0 * n_populations + 2 * (n_shared + n_partial) + n_batches + n_samples
    size = 8 * (n_genes * truth_rows + n_cells * (min(library_size, n_genes) + n_shared + n_partial + 4.0))
    need_memory(f"{n_cells:,} cells and {n_populations:,} populations of {n_genes:,} genes", size, "ask for fewer")
    rewired = _populations("rewired_populations", rewired_populations, n_populations)
    effect = checks.number("treatment_effect", treatment_effect, 0, _MOST)
    if rewired.any() and n_shared == 0:
        raise ValueError("`rewired_populations` need a program to rewire, but `n_shared` is 0; set `n_shared` to 1.")
    if effect > 0 and n_samples < 2:
        raise ValueError(f"`treatment_effect` needs `n_samples` of at least 2, not {n_samples}, to treat half of them.")
    rng = np.random.default_rng(checks.integer("seed", seed, 0))
    size = checks.integer("program_size", program_size, 1, n_genes // 2)
    truth = _plan(
        rng, n_genes, n_populations, size,
        amplitude=checks.number("amplitude", amplitude, 0, _MOST),
        n_shared=n_shared,
        n_partial=n_partial,
        null=_populations("null_populations", null_populations, n_populations),
        rewired=rewired,
        n_identity=min(checks.integer("n_identity", n_identity, 0), n_genes),
    )  # fmt: skip
    dispersion = checks.number("inverse_dispersion", inverse_dispersion, 1e-3, 1e9)
    truth["inverse_dispersion"] = dispersion * np.exp(rng.normal(0.0, _DISPERSION_STD, n_genes))
    smallest = checks.number("smallest_share", smallest_share, 0, 1.0 / n_populations)
    share = np.maximum(rng.dirichlet(np.full(n_populations, 2.0)), smallest)
    truth["share"] = share / share.sum()
    truth["batch_shift"] = rng.normal(0.0, _BATCH_STD, (n_batches, n_genes))
    n_shifted = min(checks.integer("n_sample_genes", n_sample_genes, 0), n_genes)
    shifts = rng.normal(0.0, checks.number("sample_std", sample_std, 0, _MOST), (n_samples, n_shifted))
    truth["sample_shift"] = np.zeros((n_samples, n_genes))
    truth["sample_shift"][:, rng.choice(n_genes, n_shifted, replace=False)] = shifts
    truth["treatment"] = effect * _signed_program(rng, truth["means"].mean(0), size)
    cells = _cells(rng, n_cells, n_samples, truth)
    return _annotate(_counts(rng, cells, truth, library_size * _depth(depth, n_populations)), cells, truth)


def _plan(
    rng: np.random.Generator,
    n_genes: int,
    n_populations: int,
    size: int,
    *,
    amplitude: float,
    n_shared: int,
    n_partial: int,
    null: np.ndarray,
    rewired: np.ndarray,
    n_identity: int,
) -> dict[str, np.ndarray]:
    """What makes populations and programs; see the truth in `simulate_counts`."""
    base = rng.normal(*_BASE, n_genes)
    identity, programs = np.zeros((n_populations, n_genes)), np.zeros((n_populations, n_genes))
    for p in range(n_populations):
        markers = rng.choice(n_genes, n_identity, replace=False)
        identity[p, markers] = rng.gamma(4.0, 0.4, n_identity) * rng.choice([1.0, 1.0, 1.0, -1.0], n_identity)
        own = amplitude * _signed_program(rng, base + identity[p], size)
        programs[p] = 0.0 if null[p] else own  # drawn all the same: a null population leaves the others as they are
    means = base + identity
    shared = np.array([amplitude * _signed_program(rng, base, size) for _ in range(n_shared + n_partial)])
    shared = shared.reshape(-1, n_genes)
    if n_shared:
        shared[0] = np.abs(shared[0])
    active = np.ones((n_shared + n_partial, n_populations), dtype=bool)
    for row in active[n_shared:]:
        row[rng.permutation(n_populations)[max(n_populations // 2, 1) :]] = False
    deltas = np.zeros((n_populations, n_genes))
    for p in np.flatnonzero(rewired).tolist():
        genes = np.flatnonzero(shared[0])
        dropped = rng.choice(genes, max(size // 2, 1), replace=False)
        free = np.setdiff1d(_expressed(base), genes)
        free = free if len(free) >= len(dropped) else np.setdiff1d(np.arange(n_genes), genes)
        deltas[p, rng.choice(free, len(dropped), replace=False)] = shared[0, dropped]
        deltas[p, dropped] = -shared[0, dropped]
    return {
        "means": means - np.log(np.exp(means).sum(1, keepdims=True)), "identity": identity, "programs": programs,
        "shared": shared, "active": active, "rewired": deltas,
    }  # fmt: skip


def _expressed(means: np.ndarray) -> np.ndarray:
    """The better expressed half of the genes."""
    return np.sort(np.argsort(means, kind="stable")[len(means) - len(means) // 2 :])


def _signed_program(rng: np.random.Generator, means: np.ndarray, size: int) -> np.ndarray:
    """Loadings of mean absolute value 1 on `size` well expressed genes, half of them negative on average."""
    loadings = np.zeros(len(means))
    genes = rng.choice(_expressed(means), size, replace=False)
    loadings[genes] = rng.choice([1.0, -1.0], size) * rng.uniform(0.5, 1.5, size)
    return loadings


@dataclass(frozen=True)
class _Cells:
    """Codes of each cell, and its activities."""

    population: np.ndarray
    batch: np.ndarray
    sample: np.ndarray | None
    activity: np.ndarray  # (n_cells, 1 + shared programs)


def _cells(rng: np.random.Generator, n_cells: int, n_samples: int, truth: Mapping[str, np.ndarray]) -> _Cells:
    population = rng.choice(len(truth["share"]), n_cells, p=truth["share"])
    batch = rng.integers(0, len(truth["batch_shift"]), n_cells)
    sample = rng.integers(0, n_samples, n_cells) if n_samples else None
    active = np.vstack([np.any(truth["programs"] != 0, axis=1), truth["active"]])  # (1 + shared, populations)
    activity = rng.normal(size=(n_cells, len(active))) * active.T[population]
    return _Cells(population, batch, sample, activity)


def _counts(
    rng: np.random.Generator, cells: _Cells, truth: Mapping[str, np.ndarray], library: np.ndarray
) -> sp.csr_matrix:
    """Counts in blocks of cells, so that nothing cells × genes is ever dense."""
    blocks = []
    theta = truth["inverse_dispersion"]
    for start in range(0, len(cells.population), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        population, activity = cells.population[rows], cells.activity[rows]
        log_expression = truth["means"][population] + truth["batch_shift"][cells.batch[rows]]
        log_expression += activity[:, :1] * truth["programs"][population] + activity[:, 1:] @ truth["shared"]
        if activity.shape[1] > 1:
            log_expression += activity[:, 1:2] * truth["rewired"][population]
        if cells.sample is not None:
            sample = cells.sample[rows]
            log_expression += truth["sample_shift"][sample] + (sample % 2)[:, None] * truth["treatment"]
        expression = np.exp(log_expression - log_expression.max(1, keepdims=True))
        expression /= expression.sum(1, keepdims=True)
        total = library[population] * np.exp(rng.normal(0.0, _LIBRARY_STD, len(population)))
        rate = rng.gamma(theta, expression * total[:, None] / theta)
        blocks.append(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    return sp.csr_matrix(sp.vstack(blocks, format="csr"))


def _annotate(counts: sp.csr_matrix, cells: _Cells, truth: dict[str, np.ndarray]) -> AnnData:
    def labels(prefix: str, codes: np.ndarray, n_levels: int) -> Any:
        return pd.Categorical.from_codes(
            codes, pd.Index([f"{prefix}{k}" for k in range(n_levels)])
        ).remove_unused_categories()

    obs = pd.DataFrame(index=[f"C{i}" for i in range(counts.shape[0])])
    obs["population"] = labels("P", cells.population, len(truth["programs"]))
    obs["batch"] = labels("B", cells.batch, len(truth["batch_shift"]))
    if cells.sample is not None:
        obs["sample"] = labels("S", cells.sample, len(truth["sample_shift"]))
        obs["treatment"] = pd.Categorical.from_codes(cells.sample % 2, pd.Index(["control", "treated"]))
    var = pd.DataFrame(index=[f"G{j}" for j in range(counts.shape[1])])
    return AnnData(counts, obs=obs, var=var, obsm={"activity": cells.activity}, uns={"truth": truth})


def _population(name: str, value: Any, n_populations: int) -> int:
    """The number of a population given by number or by name."""
    names = [f"P{k}" for k in range(n_populations)]
    if isinstance(value, str):
        return names.index(checks.choice(name, value, names))
    return checks.integer(name, value, 0, n_populations - 1)


def _populations(name: str, values: Any, n_populations: int) -> np.ndarray:
    """Mask over the populations that are named."""
    mask = np.zeros(n_populations, dtype=bool)
    values = values.tolist() if isinstance(values, np.ndarray) else values
    several = isinstance(values, Iterable) and not isinstance(values, str)
    for value in () if values is None else values if several else (values,):
        mask[_population(name, value, n_populations)] = True
    return mask


def _depth(depth: Mapping[Any, float] | None, n_populations: int) -> np.ndarray:
    multiplier = np.ones(n_populations)
    if depth is not None and not isinstance(depth, Mapping):
        raise TypeError(f"`depth` must map populations to multipliers, such as {{'P0': 3}}, not {brief(depth)}.")
    for population, value in (depth or {}).items():
        multiplier[_population("depth", population, n_populations)] = checks.number(
            "depth", value, 0, 1e3, low_open=True
        )
    return multiplier
