"""Programs planted in populations: are they found, are the numbers beside them right, is nothing else found?

Sections `recovery` (AUPRC of a program's genes), `calibration` (false sign and false discovery rates, coverage of
intervals), `programs` (calls and p-values of programs) and `rewired` (deviation).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from rows import Row, share
from sklearn.metrics import average_precision_score

import ldvae

SIZE = {"n_cells": 6000, "n_genes": 2000, "n_populations": 8}
# what is planted beside the program of each population, and the pairs of seeds reported for it
SETTINGS = {
    "1 shared": {},
    "0 shared": {"n_shared": 0},
    "2 shared": {"n_shared": 2},
    "3 shared": {"n_shared": 3},
    "1 shared, 1 in half": {"n_partial": 1},
    "3 populations without a program": {"null_populations": ("P1", "P4", "P6")},
    "unequal depth, 3 without": {"null_populations": ("P0", "P3", "P5"), "depth": {"P0": 3, "P3": 0.4, "P7": 2.5}},
    "2 rewired": {"rewired_populations": ("P2", "P5")},
}
SMALL = 250  # cells


def log2_truth(adata: AnnData) -> dict[str, np.ndarray]:
    """Planted loadings in log2 units."""
    truth = adata.uns["truth"]
    return {key: truth[key] / np.log(2) for key in ("programs", "shared", "rewired")}


def planted_in(adata: AnnData, population: str) -> np.ndarray:
    """Loadings of the own and of each shared program in one population, per standard deviation of its cells."""
    truth, p = log2_truth(adata), int(population[1:])
    loadings = np.vstack([truth["programs"][p], truth["shared"]])
    if len(truth["shared"]):
        loadings[1] += truth["rewired"][p]
    return loadings * adata.obsm["activity"][(adata.obs["population"] == population).to_numpy()].std(0)[:, None]


def wide(table: pd.DataFrame, population: str, genes: pd.Index) -> list[pd.DataFrame]:
    """The tables of a population's programs, each over all genes."""
    own = table[table["population"] == population]
    parts = [part.set_index("gene").reindex(genes) for _, part in own.groupby("program", sort=False)]
    return [p.assign(loading=p["loading"].fillna(0.0), lfsr=p["lfsr"].fillna(1.0)) for p in parts]


def strength(programs: list[pd.DataFrame], n_genes: int) -> np.ndarray:
    """How strongly each gene is claimed: by 1 - lfsr, ties by the size of the loading; the most of all programs."""
    scores = [1 - p["lfsr"].to_numpy() + 1e-9 * p["loading"].abs().to_numpy() for p in programs]
    return np.max(scores, axis=0) if scores else np.zeros(n_genes)


def auprc(score: np.ndarray, own: np.ndarray, keep: np.ndarray) -> float:
    """Area under the precision-recall curve for the genes of the own program."""
    return float(average_precision_score(own[keep], score[keep]))


def run(setting: str, amplitude: float, seed: int, decoder: str = "linear") -> list[Row]:
    """One data set, one fit, all kinds of population loadings."""
    adata = ldvae.simulate_counts(**SIZE, amplitude=amplitude, seed=seed, **SETTINGS[setting])
    fit = ldvae.fit_ldvae(adata, batch_key="batch", decoder=decoder, seed=0, progress=False, device="cpu")
    label = f"{setting}, amplitude {amplitude}" + ("" if decoder == "linear" else f", {decoder} decoder")
    ask = {"groupby": "population"}
    tables = {k: ldvae.population_loadings(fit, adata, kind=k, **ask) for k in ("specific", "within")}
    programs = ldvae.population_programs(fit, adata, kind="within", **ask)
    rows = recovery(adata, tables, label, seed)
    rows += calibration(adata, tables, label, seed)
    rows += program_calls(adata, tables["specific"], label, seed)
    rows += names(adata, tables["within"], label, seed)
    rows += null_pvalues(adata, programs, tables["within"], label, seed)
    rows += between_calibration(adata, ldvae.population_loadings(fit, adata, kind="between", **ask), label, seed)
    rows += deviation(adata, fit, label, seed)
    active = int(ldvae.get_factors(fit)["active"].sum())
    return [*rows, Row("factors", "active factors", label, "ldvae", seed, active)]


def recovery(
    adata: AnnData, tables: dict[str, pd.DataFrame], label: str, seed: int, method: str = "ldvae"
) -> list[Row]:
    """AUPRC per population, averaged over those that have a program."""
    truth, genes = log2_truth(adata), adata.var_names
    names = adata.obs["population"].cat.categories
    any_shared = (truth["shared"] != 0).any(0)
    found: dict[str, list[float]] = {"within": [], "specific": [], "specific, small populations": []}
    for name in names:
        own = truth["programs"][int(name[1:])] != 0
        if not own.any():
            continue
        within = strength(wide(tables["within"], name, genes), len(genes))
        found["within"].append(auprc(within, own, own | ~any_shared))
        specific = auprc(
            strength(wide(tables["specific"], name, genes)[:1], len(genes)), own, np.ones(len(genes), bool)
        )
        found["specific"].append(specific)
        if (adata.obs["population"] == name).sum() < SMALL:
            found["specific, small populations"].append(specific)
    return [Row("recovery", k, label, method, seed, float(np.mean(v)), len(v)) for k, v in found.items() if v]


def calibration(adata: AnnData, tables: dict[str, pd.DataFrame], label: str, seed: int) -> list[Row]:
    """Rates among genes with lfsr < .05, and coverage of mean ± 1.96 std, against the planted program it is nearest to.

    A specific program can only stand for the population's own: genes of any other planted program are false there.
    """
    rows, genes = [], adata.var_names
    for kind, table in tables.items():
        parts = []
        for (population, _), part in table.groupby(["population", "program"], sort=False):
            options = planted_in(adata, population)[:, genes.get_indexer(part["gene"])]
            options = options[:1] if kind == "specific" else options
            loading = part["loading"].to_numpy()
            similarity = options @ loading / np.maximum(np.linalg.norm(options, axis=1), 1e-9)
            match = np.abs(similarity).argmax()
            planted = options[match] * (np.sign(similarity[match]) or 1.0)
            inside = np.abs(loading - planted) <= 1.96 * part["std"]
            small = (adata.obs["population"] == population).sum() < SMALL
            parts.append(part.assign(planted=planted, inside=inside, small=small))
        found = pd.concat(parts) if parts else table.assign(planted=0.0, inside=False, small=False)
        found["wrong"] = np.sign(found["planted"]) == -np.sign(found["loading"])
        found["false"] = (found["planted"] == 0) | found["wrong"]
        called = found[found["lfsr"] < 0.05]
        planted, few = found[found["planted"] != 0], called[called["small"]]
        rows += [
            share("calibration", f"{kind}: {name}", label, "ldvae", seed, part.sum(), len(part))
            for name, part in {
                "false discoveries": called["false"],
                "false discoveries, small populations": few["false"],
                "wrong signs": called["wrong"],
                "coverage, called genes": called["inside"],
                "coverage, called genes, small populations": few["inside"],
                "coverage, planted genes": planted["inside"],
                "coverage, all genes": found["inside"],
            }.items()
        ]
    return rows


def resemblance(adata: AnnData, table: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Of each called program: |cosine| with the own program of its population, then with the shared ones."""
    out = {}
    for (population, program), part in table.groupby(["population", "program"], sort=False):
        options = planted_in(adata, population)[:, adata.var_names.get_indexer(part["gene"])]
        loading = part["loading"].to_numpy()
        norms = np.linalg.norm(options, axis=1) * np.linalg.norm(loading)
        out[population, program] = np.abs(options @ loading) / np.maximum(norms, 1e-9)
    return out


def program_calls(adata: AnnData, specific: pd.DataFrame, label: str, seed: int) -> list[Row]:
    """Populations with a program of their own for which it is called, and called programs that are no such thing."""
    planted = {f"P{i}" for i, p in enumerate(adata.uns["truth"]["programs"]) if (p != 0).any()}
    alike = resemblance(adata, specific)
    right = {key for key, cosines in alike.items() if cosines[0] >= 0.5}
    found = planted & {population for population, _ in right}
    wrong = len(alike) - len(right)
    return [
        share("programs", "called of the planted", label, "ldvae", seed, len(found), len(planted)),
        share("programs", "false among called", label, "ldvae", seed, wrong, len(alike)),
    ]


def names(adata: AnnData, within: pd.DataFrame, label: str, seed: int) -> list[Row]:
    """Whether the program that all populations share has one name, of those in which it is found."""
    alike = resemblance(adata, within)
    called = [key for key, cosines in alike.items() if len(cosines) > 1 and cosines[1] >= 0.7]
    if not called:
        return []
    most = max(sum(name == other for _, name in called) for _, other in called)
    return [share("programs", "shared program by its name", label, "ldvae", seed, most, len(called))]


def null_pvalues(adata: AnnData, within: pd.DataFrame, found: pd.DataFrame, label: str, seed: int) -> list[Row]:
    """P-values of genes varying together beyond what is planted: what is called and like nothing, or not called.

    Those of `within`: a specific program must also vary more than elsewhere, and has the larger of two p-values.
    """
    if (adata.uns["truth"]["rewired"] != 0).any():
        return []
    real = {key for key, cosines in resemblance(adata, found).items() if cosines.max() >= 0.5}
    null = within[[key not in real for key in zip(within["population"], within["program"], strict=True)]]
    where = "beyond what is planted"
    return [Row("null p-values", where, label, "ldvae", seed, p) for p in null["pval"].dropna()]


def mean_expression(adata: AnnData, n: int = 4000) -> np.ndarray:
    """Log2 mean expression (share of the library) of each population at the average batch, from the planted truth."""
    truth, rng = adata.uns["truth"], np.random.default_rng(0)
    out = []
    for p, mean in enumerate(truth["means"]):
        t = rng.normal(size=(n, 1 + len(truth["shared"])))
        t[:, 1:] *= truth["active"][:, p]
        log_expression = mean + t[:, :1] * truth["programs"][p] + t[:, 1:] @ truth["shared"]
        if len(truth["shared"]):
            log_expression += t[:, 1:2] * truth["rewired"][p]
        expression = np.exp(log_expression - log_expression.max(1, keepdims=True))
        total = 0
        for shift in truth["batch_shift"]:
            shifted = expression * np.exp(shift)
            total = total + np.log2((shifted / shifted.sum(1, keepdims=True)).mean(0)) / len(truth["batch_shift"])
        out.append(total)
    return np.array(out)


def between_calibration(adata: AnnData, table: pd.DataFrame, label: str, seed: int) -> list[Row]:
    """Signs of genes with lfsr < .05, and coverage, against the planted means."""
    mean = mean_expression(adata)
    names = [f"P{i}" for i in range(len(mean))]
    present = [i for i, name in enumerate(names) if name in set(table["population"])]
    calls = wrong = inside = total = 0
    for population, part in table.groupby("population"):
        i = names.index(population)
        truth = mean[i] - mean[[j for j in present if j != i]].mean(0)
        truth = truth[adata.var_names.get_indexer(part["gene"])]
        called = (part["lfsr"] < 0.05).to_numpy()
        calls += called.sum()
        wrong += (called & (np.sign(truth) != np.sign(part["loading"]))).sum()
        inside += (np.abs(part["loading"] - truth) <= 1.96 * part["std"]).sum()
        total += len(part)
    return [
        share("calibration", "between: wrong signs", label, "ldvae", seed, wrong, calls),
        share("calibration", "between: coverage, all genes", label, "ldvae", seed, inside, total),
    ]


def deviation(adata: AnnData, fit: ldvae.Fit, label: str, seed: int) -> list[Row]:
    """Genes of a shared program that answer otherwise: found where planted, and nowhere else."""
    truth = log2_truth(adata)
    if not len(truth["shared"]):
        return []
    table = ldvae.population_loadings(fit, adata, groupby="population", kind="deviation")
    calls = false = planted = found = 0
    for name in adata.obs["population"].cat.categories:
        delta = truth["rewired"][int(name[1:])]
        part = table[(table["population"] == name) & (table["lfsr"] < 0.05)]
        claimed = part.groupby("gene")["loading"].sum()
        real = delta[adata.var_names.get_indexer(claimed.index)]
        # the sign of a factor is arbitrary, and the same for all genes
        turn = np.sign((real * claimed).sum()) or 1.0
        right = (real != 0) & (np.sign(real) == turn * np.sign(claimed))
        calls, false = calls + len(claimed), false + int((~right).sum())
        planted, found = planted + int((delta != 0).sum()), found + int(right.sum())
    rows = [share("rewired", "false discoveries", label, "ldvae", seed, false, calls)]
    if planted:
        rows.append(share("rewired", "found of the rewired genes", label, "ldvae", seed, found, planted))
    else:
        rows.append(Row("rewired", "genes called where nothing is rewired", label, "ldvae", seed, calls))
    return rows
