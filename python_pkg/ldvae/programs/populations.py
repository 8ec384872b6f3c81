"""Programs of single populations: what varies from cell to cell within each, and what of it is its own."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm
from torch import Tensor
from tqdm import tqdm

from ..checks import shown
from ..counts.reader import Labels
from ..fit.posterior import Cells, design_offset, latent_moments, linear_map, rebuild
from ..fit.record import Fit
from ..stats.shrinkage import ash, bh
from .activities import as_tensor
from .local import Local, VarianceTest
from .shared import Population, Shared, candidate_programs, find_shared, heavier_tail

__all__ = [
    "MIN_CELLS",
    "Program",
    "Setting",
    "call_programs",
    "own_programs",
    "plausible",
    "prepare",
    "program_activity",
    "within_programs",
]

MIN_CELLS = 30  # of a population: below, halves of it teach nothing
_GENE_CELLS = 10  # cells in which a gene must be seen to be tested in a population
_MOST_CELLS = 3000  # of a population that its local model looks at; a seeded sample of more
_OTHER_CELLS = 300  # of another population, for the variance of a program there
_EXCESS = 0.1  # share of the variance along a program that must not be counting noise
_GENES = 5  # genes with lfsr < 0.05 that make a program
_LEVEL = 0.05
_ALIKE = 0.25  # cosine with a shared program's loadings: half of the genes may differ, not most
_RATIO = 0.5  # a program with more than this share of its variance in another population is not a population's own


@dataclass(frozen=True)
class Program:
    """One program of one population; arrays over all genes, natural-log units per SD of its activity.

    Attributes
    ----------
    tested
        Genes seen often enough.
    pvalue
        Of the test that makes it a program of its kind.
    ratio
        Its variance over that in the reference.
    enough
        Whether the effect (not its significance) suffices for a call.
    share
        Part of the variance of all programs of the population.
    varies
        P-value of genes varying together at all.
    resembles
        Number of the shared program that it looks like, or is in disguise: one whose genes answer differently here, or
        what a linear program leaves of a large response. None if it looks like no other.
    """

    population: str
    kind: str
    name: str
    loading: np.ndarray
    std: np.ndarray
    lfsr: np.ndarray
    tested: np.ndarray
    pvalue: float
    ratio: float
    n_cells: int
    enough: bool = True
    share: float = float("nan")
    varies: float = float("nan")
    resembles: int | None = None

    @property
    def n_genes(self) -> int:
        """Genes with lfsr below 0.05."""
        return int((self.lfsr[self.tested] < _LEVEL).sum())


@dataclass(frozen=True)
class Setting:
    """Populations with their local models, and the programs that they share."""

    populations: list[Population]
    shared: Shared
    seed: int


def prepare(fit: Fit, cells: Cells, labels: Labels, samples: Labels | None, seed: int) -> Setting:
    """Local models of all populations with enough cells, and their shared programs.

    Parameters
    ----------
    labels
        Population of each cell; cells without a label take no part.
    samples
        Sample (donor) of each cell: every gene then has an intercept per sample in every local model.
    """
    model = rebuild(fit)
    z, z_variance = latent_moments(model, cells.mean, cells.variance)
    members = [labels.where(i) for i in range(len(labels.levels))]
    if samples is not None:
        members = [rows[samples.codes[rows] >= 0] for rows in members]
    small = [name for name, rows in zip(labels.levels, members, strict=True) if len(rows) < MIN_CELLS]
    if len(small) == len(members):
        raise ValueError(f"`groupby` must have populations of at least {MIN_CELLS} cells, and {labels.key!r} has none.")
    if small:
        warnings.warn(f"Populations with fewer than {MIN_CELLS} cells are left out: {shown(small)}.", stacklevel=4)
    theta = model.log_theta.detach().exp().numpy()
    if fit.config.gene_likelihood == "poisson":
        theta = np.full_like(theta, 1e4)
    populations = []
    named = zip(labels.levels, members, strict=True)
    for name, rows in tqdm(named, "local models", len(members), leave=False, disable=None if sys.stderr else True):
        if name in small:
            continue
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_MOST_CELLS])
        matrix = cells.counts.matrix[rows]
        seen = np.bincount(matrix.indices[matrix.data > 0], minlength=matrix.shape[1])
        genes = np.random.default_rng(seed).permutation(np.flatnonzero(seen >= _GENE_CELLS))
        offset = design_offset(model, z[rows].mean(0), cells.design[rows])[:, genes]
        offset = np.log(cells.counts.lib_size[rows])[:, None] + offset
        groups = None if samples is None else samples.codes[rows]
        local = Local.build(matrix[:, genes].toarray(), offset, theta[genes], groups)
        populations.append(Population(name, rows, genes, local))
    candidates = candidate_programs(
        linear_map(model, z, z_variance),
        z,
        z_variance,
        [p.rows for p in populations],
        None if samples is None else samples.codes,
    )
    return Setting(populations, find_shared(populations, candidates, seed), seed)


@dataclass(frozen=True)
class _CrossFit:
    """A program learnt on each half of the cells and measured on the other, over the genes of one population."""

    mean: np.ndarray
    std: np.ndarray
    lfsr: np.ndarray
    test: VarianceTest
    halves: list[Tensor]


def _halves(local: Local, seed: int) -> list[Local]:
    order = np.random.default_rng(seed).permutation(len(local.x))
    return [local.cells(np.sort(part)) for part in np.array_split(order, 2)]


def _cross_fit(local: Local, seed: int) -> _CrossFit:
    halves = _halves(local, seed)
    learnt = [half.learn(None, seed) for half in halves]
    slopes = [halves[1 - i].associate(learnt[i]) for i in (0, 1)]
    test = VarianceTest.combine([halves[1 - i].variance_test(learnt[i]) for i in (0, 1)])
    sign = -1.0 if float(learnt[0] @ learnt[1]) < 0 else 1.0
    precision = [1 / s.se[:, 0] ** 2 for s in slopes]
    total = precision[0] + precision[1]
    estimate = (slopes[0].centred(0) * precision[0] + sign * slopes[1].centred(0) * precision[1]) / total
    shrunk = ash(estimate, total**-0.5)
    tail = float(heavier_tail(shrunk.mean, shrunk.std))
    return _CrossFit(tail * shrunk.mean, shrunk.std, shrunk.lfsr, test, [tail * learnt[0], tail * sign * learnt[1]])


def _program(p: Population, kind: str, name: str, fit: _CrossFit, n_genes: int, pvalue: float) -> Program:
    """Spread over all genes; slopes on activities of unit variance are loadings per standard deviation already."""
    return Program(
        population=p.name,
        kind=kind,
        name=name,
        loading=p.spread(fit.mean, n_genes, 0.0),
        std=p.spread(fit.std, n_genes, np.nan),
        lfsr=p.spread(fit.lfsr, n_genes, 1.0),
        tested=p.spread(np.ones(len(p.genes)), n_genes, 0.0) > 0,
        pvalue=pvalue,
        ratio=float("nan"),
        n_cells=len(p.rows),
        enough=fit.test.excess >= _EXCESS,
        varies=pvalue,
    )


def plausible(program: Program) -> bool:
    """Whether a program varies beyond doubt, in enough genes and by enough."""
    return program.enough and program.n_genes >= _GENES and program.varies < _LEVEL


def own_programs(setting: Setting, n_programs: int, reference: list[str] | None = None) -> list[Program]:
    """Programs of each population beyond the shared ones, one after the other until one is not convincing.

    The last, unconvincing one is kept, so that every population has a p-value. `pvalue` is the larger of two: genes
    vary together on cells that did not teach the program, and no other (reference) population has half of its variance.
    """
    n_genes = len(setting.shared.loadings)
    programs = []
    for i, p in enumerate(tqdm(setting.populations, "own programs", leave=False, disable=None if sys.stderr else True)):
        nuisance = setting.shared.loadings[p.genes]
        for k in range(n_programs):
            local = p.local.given(nuisance)
            fitted = _cross_fit(local, setting.seed)
            program = _program(replace(p, local=local), "specific", f"own_{k + 1}", fitted, n_genes, fitted.test.pvalue)
            program = replace(program, resembles=_alike(program.loading, setting.shared.loadings))
            if program.varies < _LEVEL:
                ratio, foreign = _foreign_variance(setting, i, local, fitted, reference)
                program = replace(program, ratio=ratio, pvalue=max(program.varies, foreign))
            programs.append(program)
            if not plausible(program):
                break
            nuisance = np.c_[nuisance, program.loading[p.genes]]
    return programs


def _alike(loading: np.ndarray, shared: np.ndarray) -> int | None:
    norms = np.linalg.norm(loading) * np.linalg.norm(shared, axis=0)
    cosine = np.abs(loading @ shared) / np.maximum(norms, 1e-12)
    return int(cosine.argmax()) if len(cosine) and cosine.max() >= _ALIKE else None


def _foreign_variance(
    setting: Setting, index: int, local: Local, fitted: _CrossFit, reference: list[str] | None
) -> tuple[float, float]:
    """Variance of a program here over its largest in the reference populations, and the p-value of it exceeding 2.

    Here it is measured on the half of the cells that did not teach the loading; elsewhere no cell did.
    """
    own = setting.populations[index]
    halves = _halves(local, setting.seed)  # those of the cross-fit
    here = [_variance_along(halves[1 - i], fitted.halves[i]) for i in (0, 1)]
    value, error = np.mean([v for v, _ in here]), np.sqrt(np.mean([s**2 for _, s in here]) / 2)
    largest, pvalue = 0.0, 0.0
    for j, other in enumerate(setting.populations):
        if j == index or (reference is not None and other.name not in reference):
            continue
        sample = other.sample(_OTHER_CELLS, setting.seed).given(setting.shared.loadings[other.genes])
        there = []
        for loading in fitted.halves:
            everywhere = own.spread(loading.numpy(), len(setting.shared.loadings), 0.0)
            there.append(_variance_along(sample, as_tensor(everywhere[other.genes])))
        foreign, foreign_error = np.mean([v for v, _ in there]), np.mean([s for _, s in there])
        z = (_RATIO * value - foreign) / np.hypot(_RATIO * error, foreign_error)
        largest, pvalue = max(largest, float(foreign)), max(pvalue, float(norm.sf(z)))
    return float(value / largest) if largest else float("inf"), pvalue


def _variance_along(local: Local, loading: Tensor) -> tuple[float, float]:
    if not bool((loading != 0).any()):
        return 0.0, 1e-3
    scores = local.score(local.with_own(loading), local.intercept)
    return float(scores.variance[0]), float(scores.variance_se[0])


def within_programs(setting: Setting, own: list[Program]) -> list[Program]:
    """Every program that varies within a population, shared ones included, as its genes show it there.

    A shared program is scored by the loadings that the *other* populations give it, so slopes and test have not seen
    the cells before; a population's own programs are those of `own_programs`, the last, unconvincing one included. One
    that resembles a shared program which the population does not have otherwise is that program, and goes by its name.
    `share` is a program's part of the variance of all plausible ones.
    """
    shared = setting.shared
    programs = []
    for i, p in enumerate(setting.populations):
        tested = [q for q in own if q.population == p.name]
        kept = [q for q in tested if plausible(q)]
        active = np.flatnonzero(shared.active[:, i])
        columns = np.stack(
            [shared.without[i][p.genes, j] for j in active] + [q.loading[p.genes] for q in kept] + [0 * p.genes], 1
        )
        local = p.local.given(columns[:, :-1])
        slopes = local.regress(local.null.left_out, local.null.size)
        mine: dict[str, Program] = {}
        for k, j in enumerate(active):
            test = p.local.given(np.delete(columns[:, :-1], k, 1)).variance_test(as_tensor(columns[:, k]))
            shrunk = slopes.shrunk(k)
            fitted = _CrossFit(shrunk.mean, shrunk.std, shrunk.lfsr, test, [])
            name = f"shared_{j + 1}"
            mine[name] = _program(p, "within", name, fitted, len(shared.loadings), test.pvalue)
        for q in tested:
            alias = q.name if q.resembles is None or not plausible(q) else f"shared_{q.resembles + 1}"
            name = q.name if alias in mine and plausible(mine[alias]) else alias
            mine[name] = replace(q, kind="within", name=name, pvalue=q.varies, ratio=float("nan"))
        strength = [float((q.loading**2).sum()) if plausible(q) else 0.0 for q in mine.values()]
        shares = [s / max(sum(strength), 1e-300) for s in strength]
        found = [replace(q, share=s) for q, s in zip(mine.values(), shares, strict=True)]
        programs += sorted(found, key=lambda q: -q.share)
    return programs


def call_programs(programs: list[Program]) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted p-values (Benjamini–Hochberg) and which programs are called.

    Those that are significant, have enough of an effect, and, if they are to be specific, resemble no shared program.
    """
    adjusted = bh(np.array([p.pvalue for p in programs]))
    enough = [p.enough and (p.n_genes >= (1 if p.kind in ("between", "deviation") else _GENES)) for p in programs]
    own = [p.kind != "specific" or p.resembles is None for p in programs]
    return adjusted, (adjusted < _LEVEL) & np.array(enough, dtype=bool) & np.array(own, dtype=bool)


def program_activity(setting: Setting, program: Program, cells: Cells, labels: Labels, fit: Fit) -> np.ndarray:
    """Activity of one program in every labelled cell, in SDs of its own population (n_cells; NaN without a model)."""
    out = np.full(len(labels.codes), np.nan)
    model = rebuild(fit)
    z, _ = latent_moments(model, cells.mean, cells.variance)
    others = [j for j in range(setting.shared.loadings.shape[1]) if program.name != f"shared_{j + 1}"]
    for p in setting.populations:
        rows = labels.where(labels.levels.index(p.name))
        loading = as_tensor(program.loading[p.genes])
        local = p.local.given(setting.shared.loadings[p.genes][:, others])
        for start in range(0, len(rows), _MOST_CELLS):
            block = rows[start : start + _MOST_CELLS]
            offset = np.log(cells.counts.lib_size[block])[:, None]
            offset = offset + design_offset(model, z[p.rows].mean(0), cells.design[block])[:, p.genes]
            adjusted = as_tensor(offset)
            x = as_tensor(cells.counts.matrix[block][:, p.genes].toarray())
            part = replace(local, x=x, offset=adjusted, adjusted=adjusted, groups=None)
            scores = part.score(part.with_own(loading), p.local.intercept)
            out[block] = (scores.full[:, 0] * scores.scale[0]).double().numpy()
    return out
