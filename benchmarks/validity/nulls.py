"""Where there is nothing to find: halves of a population, treatments without effect.

Sections `nulls` (anything called where nothing is), `null p-values` (of programs), `donors` (a treatment that does
nothing, with cells and with donors as the unit).
"""

from __future__ import annotations

import numpy as np
from rows import Row, share

import ldvae


def halves(seed: int) -> list[Row]:
    """A population split at random: as if two populations, which differ in nothing."""
    adata = ldvae.simulate_counts(n_cells=3000, n_genes=1000, n_populations=4, smallest_share=0.15, seed=seed)
    fit = ldvae.fit_ldvae(adata, batch_key="batch", seed=0, progress=False, device="cpu")
    rows = []
    for split in range(2):
        rng = np.random.default_rng(1000 * seed + split)
        labels = adata.obs["population"].astype(str).to_numpy()
        target = f"P{split}"
        own = labels == target
        labels[own] = np.where(rng.random(own.sum()) < 0.5, "half a", "half b")
        adata.obs["label"] = labels
        ask = {"groupby": "label"}
        for kind in ("between", "specific", "deviation"):
            table = ldvae.population_loadings(fit, adata, kind=kind, reference=["half a", "half b"], **ask)
            halves_only = table[table["population"].isin(["half a", "half b"])]
            rows.append(_any(f"{kind}, halves against each other", seed, (halves_only["lfsr"] < 0.05).any()))
        specific = ldvae.population_programs(fit, adata, kind="specific", **ask)
        halves_only = specific[specific["population"].isin(["half a", "half b"])]
        rows.append(_any("specific, halves among all populations", seed, halves_only["called"].any()))
        de = ldvae.differential_expression(fit, adata, group1="half a", group2="half b", **ask)
        rows.append(_any("differential expression of the halves", seed, de["is_de"].any()))
        rows.append(_any("differential expression of the halves, lfsr < .05", seed, (de["lfsr"] < 0.05).any()))
    return rows


def programs(seed: int) -> list[Row]:
    """No program anywhere, in populations of unequal depth: p-values of genes varying together within each."""
    adata = ldvae.simulate_counts(
        n_cells=3000, n_genes=1000, n_populations=8, n_shared=0, null_populations=[f"P{i}" for i in range(8)],
        depth={"P1": 3, "P4": 0.4}, seed=seed,
    )  # fmt: skip
    fit = ldvae.fit_ldvae(adata, batch_key="batch", seed=0, progress=False, device="cpu")
    found = ldvae.population_programs(fit, adata, groupby="population", kind="within")
    setting = "no program anywhere"
    rows = [Row("null p-values", "no program", setting, "ldvae", seed, p) for p in found["pval"]]
    return [
        *rows,
        Row("nulls", "any program called where there is none", setting, "ldvae", seed, float(found["called"].any())),
    ]


def _any(measure: str, seed: int, found: bool) -> Row:
    return Row("nulls", measure, "random halves of a population", "ldvae", seed, float(found))


def donors(seed: int, effect: float = 0.0) -> list[Row]:
    """Eight donors that differ, four of them treated; with `effect` 0 the treatment does nothing."""
    adata = ldvae.simulate_counts(
        n_cells=2400, n_genes=800, n_populations=3, smallest_share=0.2, n_samples=8, treatment_effect=effect, seed=seed
    )
    fit = ldvae.fit_ldvae(adata, batch_key="batch", seed=0, progress=False, device="cpu")
    setting = "treatment does nothing" if effect == 0 else f"treatment of effect {effect}"
    changed = adata.uns["truth"]["treatment"] != 0
    rows = []
    for unit, key in (("cells", None), ("donors", "sample")):
        for within in (None, "population"):
            where = "" if within is None else ", within populations"
            de = ldvae.differential_expression(
                fit, adata, groupby="treatment", group1="treated", group2="control", sample_key=key, within=within
            )
            called = de[de["is_de"]]
            false = (~changed[adata.var_names.get_indexer(called["gene"])]).sum()
            rows += [
                Row("donors", f"genes called{where}", setting, unit, seed, len(called)),
                Row("donors", f"any false gene{where}", setting, unit, seed, float(false > 0)),
                share("donors", f"false discoveries{where}", setting, unit, seed, false, len(called)),
            ]
            found = ldvae.associate_factors(fit, adata, key="treatment", sample_key=key, within=within)
            found = found[found["factor"] != "all"]
            significant = (found["padj"] < 0.05).sum()
            rows.append(Row("donors", f"any factor associated{where}", setting, unit, seed, float(significant > 0)))
    return rows
