"""Known biology of public data, where it is at hand: set LDVAE_DATA to a folder with pbmc3k.h5ad and kang_ifnb.h5ad."""

from __future__ import annotations

import os
from pathlib import Path

import anndata as ad
import pytest

from ldvae import differential_expression, fit_ldvae, population_loadings

# Markers by which the populations of the PBMC 3k tutorials are named.
MARKERS = {
    "B": ["CD79A", "MS4A1"],
    "NK": ["GNLY", "NKG7"],
    "CD14+ Mono": ["LYZ", "S100A8"],
    "FCGR3A+ Mono": ["FCGR3A", "MS4A7"],
    "Platelet": ["PPBP", "PF4"],
    "DC": ["FCER1A"],
}
# Genes that answer to interferon beta in every kind of blood cell (Kang et al. 2018).
INTERFERON = ["ISG15", "IFIT1", "IFIT3", "ISG20", "IFI6", "MX1", "IFIT2", "LY6E", "IFITM3", "OAS1"]


def data(name):
    folder = os.environ.get("LDVAE_DATA")
    if not folder:
        pytest.skip("set LDVAE_DATA to a folder with pbmc3k.h5ad and kang_ifnb.h5ad")
    path = Path(folder) / name
    if not path.is_file():
        pytest.skip(f"LDVAE_DATA has no {name}")
    return ad.read_h5ad(path)


@pytest.fixture(scope="module")
def pbmc3k():
    adata = data("pbmc3k.h5ad")
    return fit_ldvae(adata, progress=False, device="cpu"), adata[adata.obs["cell_type"] != "Unassigned"].copy()


@pytest.fixture(scope="module")
def between(pbmc3k):
    return population_loadings(*pbmc3k, groupby="cell_type", kind="between")


@pytest.fixture(scope="module")
def within(pbmc3k):
    return population_loadings(*pbmc3k, groupby="cell_type", kind="within")


@pytest.mark.parametrize(("population", "genes"), MARKERS.items())
def test_markers_set_a_population_apart(between, population, genes):
    own = between[(between["population"] == population) & (between["rank"] <= 20) & (between["loading"] > 0)]
    assert set(genes) <= set(own["gene"]), own["gene"].tolist()


def sides(within, population):
    """For each program: the genes on its first and on its second side, with known sign."""
    called = within[(within["population"] == population) & (within["lfsr"] < 0.05)]
    for name, rows in called.groupby("program"):
        up, down = set(rows.loc[rows["loading"] > 0, "gene"]), set(rows.loc[rows["loading"] < 0, "gene"])
        yield name, up, down
        yield name, down, up


def test_cd14_monocytes_range_from_s100a8_to_hla_class_ii(within):
    found = [
        name
        for name, one, other in sides(within, "CD14+ Mono")
        if {"S100A8", "S100A12"} <= one and sum(gene.startswith("HLA-D") for gene in other) >= 2
    ]
    assert found, [(name, sorted(one)[:40]) for name, one, _ in sides(within, "CD14+ Mono")]


def test_cd8_t_cells_range_from_effector_to_memory(within):
    found = [name for name, one, other in sides(within, "CD8 T") if one & {"GZMH", "GZMB"} and other & {"GZMK", "LTB"}]
    assert found, [(name, sorted(one)[:40]) for name, one, _ in sides(within, "CD8 T")]


@pytest.mark.longtest
def test_interferon_genes_lead_in_stimulated_monocytes():
    adata = data("kang_ifnb.h5ad")
    fit = fit_ldvae(adata, progress=False, device="cpu")
    monocytes = adata[adata.obs["cell_type"] == "CD14 Mono"].copy()
    table = differential_expression(fit, monocytes, groupby="condition", group1="STIM", group2="CTRL")
    top = table[table["is_de"]].sort_values("lfc_mean", ascending=False).head(50)["gene"].tolist()
    assert len(set(INTERFERON) & set(top)) >= 8, top
    known = table.set_index("gene").loc[INTERFERON]
    assert known["is_de"].all() and (known["lfsr"] < 0.001).all() and (known["lfc_lower"] > 0.25).all(), known
