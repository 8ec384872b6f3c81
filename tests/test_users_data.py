"""Situations that users wrote about elsewhere, one by one: where it was asked, and the right answer here.

Each function makes an object as its user had it, and returns what is to be true of it.
"""

from __future__ import annotations

import warnings

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import ldvae
from ldvae import cli
from ldvae.checks import Note
from support import sentence

N_GENES = 300


@pytest.fixture(scope="module")
def cells():
    adata = ldvae.simulate_counts(n_cells=700, n_genes=N_GENES, n_populations=3, seed=4)
    adata.var["highly_variable"] = np.arange(N_GENES) % 2 == 0
    adata.var["feature_name"] = [f"SYM{j // 2}" if j < 4 else f"SYM{j}" for j in range(N_GENES)]
    adata.uns = {}
    return adata


def trained(adata, **settings):
    return ldvae.fit_ldvae(
        adata, seed=0, max_epochs=12, n_latent=5, measure_factors=False, progress=False, device="cpu", **settings
    )


@pytest.fixture(scope="module")
def fit(cells):
    return trained(cells, genes="highly_variable", batch_key="batch")


def changed(fit, adata, **more):
    return ldvae.differential_expression(fit, adata, groupby="population", genes="fit", **more)


def said(call, *args, **kwargs):
    """The messages of a call that goes through."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **kwargs)
    return " ".join(str(w.message) for w in caught if w.category in (UserWarning, Note))


def with_counts(adata, x):
    return ad.AnnData(sp.csr_matrix(x), obs=adata.obs.copy(), var=adata.var.copy())


def divided(adata):
    """CP10k."""
    library = np.asarray(adata.X.sum(1)).ravel()
    return sp.csr_matrix(sp.diags(1e4 / library) @ adata.X)


def renamed(adata):
    new = adata.copy()
    new.obs_names = "new" + new.obs_names
    return new


# --- counts that are none -------------------------------------------------------------------------------------------


def test_normalised_values_are_refused(cells):
    """scverse/SnapATAC2 149, BayraktarLab/cell2location 249, catavallejos/BASiCS 280: they are no counts."""
    for x, what in ((divided(cells), "counts"), (divided(cells).log1p(), "logarithms of counts")):
        message = sentence(ValueError, trained, with_counts(cells, x))
        assert f"but has {what} that were divided by one number in each cell (normalised)" in message
        assert "name it with `layer`" in message
    message = sentence(ValueError, trained, with_counts(cells, divided(cells).toarray() - 1.0))
    assert "but has the value -1" in message


def test_rounded_normalised_values_are_said_to_be_no_counts(cells):
    """theislab/scib-reproducibility 22, scverse/scvi-tools 301: they look like counts, and every number changes."""
    for x, why in (
        (np.rint(divided(cells).toarray()), "all cells have about"),
        (cells.X.toarray() * 3, "the smallest above zero is 3"),
        (np.rint(divided(cells).log1p().toarray()), "the smallest above zero"),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ldvae.split_counts(with_counts(cells, x))
        assert any("hardly raw counts" in str(w.message) and why in str(w.message) for w in caught), why


def test_corrected_counts_are_rounded_with_a_message(cells):
    """constantAmateur/SoupX 63, scverse/scvi-tutorials 66, satijalab/sctransform 139: SoupX gives fractions."""
    soup = np.asarray(cells.X.mean(0)).ravel() * 0.1
    corrected = with_counts(cells, np.maximum(cells.X.toarray() - soup * (cells.X.toarray() > 0), 0))
    assert "holds fractions, which were rounded to whole counts; that changes" in said(trained, corrected)
    whole = with_counts(cells, np.rint(corrected.X.toarray()))
    pd.testing.assert_frame_equal(ldvae.get_latent(trained(corrected)), ldvae.get_latent(trained(whole)))


def test_genes_by_cells_is_refused(cells):
    """scverse/scvi-tools 383: the transpose was forgotten."""
    barcodes = pd.Index([f"{''.join(np.random.default_rng(i).choice(list('ACGT'), 16))}-1" for i in range(700)])
    turned = ad.AnnData(cells.X.T.tocsr(), var=pd.DataFrame(index=barcodes))
    turned.obs_names = ["ACTB", "MT-CO1", *cells.var_names[2:]]
    assert "seems to be genes × cells" in sentence(ValueError, trained, turned)


def test_missing_values_of_an_outer_join_are_explained(cells):
    """scverse/anndata 365, vib-singlecell-nf/vsn-pipelines 261: join='outer' fills dense counts with NaN."""
    one, two = cells[:350, :200].copy(), cells[350:, 100:].copy()
    one.X, two.X = one.X.toarray(), two.X.toarray()
    joined = ad.concat([one, two], join="outer")
    message = sentence(ValueError, trained, joined)
    assert "has missing values (nan), as anndata.concat(join='outer') leaves" in message and "fill_value=0" in message


# --- where counts are ------------------------------------------------------------------------------------------------


def test_counts_elsewhere_at_question_time(cells, fit):
    """theislab/scib 335, scverse/scvi-tools 850: counts in X for the fit, in a layer or in .raw later; or reversed."""
    wanted = changed(fit, cells)
    moved = cells.copy()
    moved.layers["counts"] = moved.X
    moved.X = divided(moved).log1p()
    assert "normalised" in sentence(ValueError, changed, fit, moved)
    pd.testing.assert_frame_equal(changed(fit, moved, layer="counts"), wanted)
    raw = moved.copy()
    raw.raw = cells
    raw = raw[:, raw.var["highly_variable"]].copy()  # as tutorials do
    pd.testing.assert_frame_equal(changed(fit, raw, layer="raw"), wanted)
    of_layer = trained(moved, layer="counts", genes="highly_variable", batch_key="batch")
    message = sentence(ValueError, changed, of_layer, cells)
    assert "the fit took its counts from the layer 'counts', which `adata` does not have" in message
    pd.testing.assert_frame_equal(changed(of_layer, cells, layer="X"), changed(of_layer, moved))


def test_counts_in_raw_are_named(cells):
    """scverse/scanpy 826: X was cut and scaled, .raw has the counts."""
    scaled = cells[:, :200].copy()
    scaled.raw = cells
    del scaled.X
    assert sentence(ValueError, trained, scaled).endswith("; what adata.raw holds is layer='raw'.")
    assert len(trained(scaled, layer="raw").genes) == N_GENES


def test_antibodies_take_no_part(cells):
    """Teichlab/celltypist 62, satijalab/seurat 2436, nf-core/scrnaseq 468: 10x counts with gex_only=False."""
    antibodies = np.random.default_rng(0).poisson(60, (700, 5))
    both = ad.AnnData(
        sp.csr_matrix(np.hstack([cells.X.toarray(), antibodies])), obs=cells.obs.copy(),
        var=pd.DataFrame(
            {"feature_types": ["Gene Expression"] * N_GENES + ["Antibody Capture"] * 5},
            index=[*cells.var_names, *(f"CD{i}" for i in range(5))],
        ),
    )  # fmt: skip
    assert "features that are no genes by adata.var['feature_types']: 5 'Antibody Capture'" in said(trained, both)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, wanted = trained(both), trained(cells)
    pd.testing.assert_frame_equal(changed(found, both), changed(wanted, cells))
    assert "'Antibody Capture' in adata.var['feature_types'], so no genes" in sentence(
        ValueError, trained, both, genes=["CD1", "G1"]
    )


def test_an_object_cut_to_genes_of_the_fit(cells, fit):
    """scverse/scvi-tools 850 and 1080 (subset=True): library sizes are over all genes, however the object was cut."""
    cut = cells[:, cells.var["highly_variable"]].copy()
    pd.testing.assert_frame_equal(changed(fit, cut), changed(fit, cells))
    some = cut[cut.obs["population"] != "P2"].copy()
    np.testing.assert_array_equal(ldvae.get_latent(fit, some), ldvae.get_latent(fit, cells[some.obs_names].copy()))
    message = sentence(ValueError, changed, fit, renamed(cut))
    assert "`adata` seems to be cut to some genes: those of the fit have 100% of its counts" in message
    assert "`size_factor_key`" in message
    halves = ldvae.split_counts(cells, fit=fit)  # the same names, other counts
    assert not np.array_equal(ldvae.get_latent(fit, halves[0]), ldvae.get_latent(fit))


# --- names -----------------------------------------------------------------------------------------------------------


def test_symbols_in_place_of_ids(cells):
    """scverse/scanpy 455, chanzuckerberg/cellxgene 2606: var_names are Ensembl IDs, tables should speak of symbols."""
    fit = trained(cells, gene_symbols="feature_name", genes=["SYM7", "SYM8", "SYM9", "SYM0_G0", "SYM0_G1"])
    assert fit.genes.tolist() == ["SYM7", "SYM8", "SYM9", "SYM0_G0", "SYM0_G1"]
    de = ldvae.differential_expression(fit, cells, groupby="population")
    assert {"SYM7", "SYM100", "SYM0_G1"} <= set(de["gene"]) and "G7" not in set(de["gene"])
    message = sentence(ValueError, trained, cells, genes=["SYM7", "SYM8"])
    assert "adata.var['feature_name'] has them: give gene_symbols='feature_name'" in message
    ids = cells.copy()
    ids.var = ids.var[["feature_name"]].reset_index(names="ids").set_index("feature_name")
    ids.var_names_make_unique()
    message = sentence(ValueError, ldvae.get_latent, trained(cells), ids)
    assert "adata.var['ids'] has their names: set adata.var_names" in message


def test_underscores_that_seurat_turned_into_dashes(cells):
    """satijalab/seurat 1648 and 3219: genes of a Seurat object have '-' where '_' was."""
    own = cells.copy()
    own.var_names = [f"GENE_{j}" for j in range(N_GENES)]
    fit, other = trained(own), own.copy()
    other.var_names = own.var_names.str.replace("_", "-")
    assert "300 genes are matched by names in which '_' is '-'" in said(ldvae.get_latent, fit, other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pd.testing.assert_frame_equal(changed(fit, other), changed(fit, own))


@pytest.mark.parametrize("kind", ["object", "boolean", "string", "category"])
def test_boolean_columns_of_all_kinds(cells, kind):
    """scverse/anndata 614: masks that went through a concatenation or a file are objects, nullable, or words."""
    own = cells.copy()
    mask = own.var["highly_variable"].to_numpy()
    own.var["mask"] = pd.Series(np.where(mask, True, False), index=own.var_names, dtype=object).astype(kind)
    assert trained(own, genes="mask").genes.tolist() == own.var_names[mask].tolist()
    if kind == "object":
        own.var.loc["G0", "mask"] = None
        assert "1 genes have no value in adata.var['mask'] and are not modelled" in said(trained, own, genes="mask")


def test_levels_and_cells_as_they_are_typed(cells, fit):
    """discourse.scverse.org 57, scverse/scvi-tools 1456: 0, True, "rest", and conditions on columns of obs."""
    own = cells.copy()
    own.obs["number"] = (own.obs["population"] == "P1").astype(int)
    own.obs["truth"] = (own.obs["population"] == "P1").to_numpy()
    own.obs["words"] = np.where(own.obs["truth"], "1", "0")
    wanted = ldvae.differential_expression(fit, own, groupby="words", group1="1", genes="fit")
    wanted = wanted.drop(columns=["group1", "group2"])
    for given in (
        {"groupby": "number", "group1": 1}, {"groupby": "truth", "group1": True},
        {"groupby": "truth", "group1": True, "group2": "rest"}, {"groupby": "truth", "group1": "True", "group2": False},
    ):  # fmt: skip
        found = ldvae.differential_expression(fit, own, genes="fit", **given)
        pd.testing.assert_frame_equal(found.drop(columns=["group1", "group2"]), wanted)
    mask = (own.obs["population"] == "P1").to_numpy()
    by_mask, by_words = (
        ldvae.differential_expression(fit, own, genes="fit", cells1=set1) for set1 in (mask, "population == 'P1'")
    )
    pd.testing.assert_frame_equal(by_words, by_mask)
    message = sentence(ValueError, ldvae.differential_expression, fit, own, cells1="populaton == 'P1'")
    assert "a condition on columns of adata.obs" in message and "'populaton' is not defined" in message


# --- batches, samples, labels ----------------------------------------------------------------------------------------


def test_a_batch_for_each_cell_or_a_number(cells):
    """scverse/scvi-tools 2726 and 516: a column of barcodes or of a score as batch_key."""
    own = cells.copy()
    own.obs["barcode"], own.obs["score"] = own.obs_names, np.random.default_rng(0).normal(size=700)
    assert "has 700 levels for 700 cells, nearly one for each cell" in sentence(
        ValueError, trained, own, batch_key="barcode"
    )
    assert "holds numbers with fractions; name it in `covariate_keys`" in sentence(
        ValueError, trained, own, batch_key="score"
    )
    message = sentence(ValueError, changed, trained(own), own, sample_key="barcode")
    assert message.startswith("`sample_key`: the column 'barcode' has 700 levels")


def test_labels_that_are_none_are_named(cells, fit):
    """scverse/scvi-tools 1449: "Unknown" is what tools call cells without a label."""
    own = cells.copy()
    own.obs["population"] = own.obs["population"].astype(str).replace("P2", "Unknown")
    assert "'Unknown' of 'population' count as populations" in said(changed, fit, own)


def test_cells_without_a_sample_and_samples_of_one_population(cells, fit):
    """HelenaLC/muscat, dreamlet: donors in one column, S1_B and S1_T in another."""
    own = cells.copy()
    own.obs["donor"] = pd.Series(np.arange(700) % 4, index=own.obs_names).map("S{}".format)
    own.obs["nested"] = own.obs["donor"] + "_" + own.obs["population"].astype(str)
    assert "Samples of 'nested' seem to be parts of the same ones ('S0_P0'" in said(
        changed, fit, own, sample_key="nested"
    )
    own.obs.loc[own.obs_names[:30], "donor"] = None
    assert "30 of 700 cells have no value of 'donor' and take no part" in said(changed, fit, own, sample_key="donor")
    own.obs["sex"] = np.where(own.obs["population"] == "P0", "f", "m")
    assert "have several values of 'sex': are numbers of donors used twice?" in said(
        changed, fit, own, sample_key="donor"
    )


# --- cells and genes that the fit has not seen -----------------------------------------------------------------------


def test_batches_that_the_fit_has_not_seen(cells, fit):
    """single-cell-data/TileDB-SOMA-ML 41, scverse/scvi-tools 880: next month's samples."""
    new = renamed(cells)
    wanted = ldvae.get_latent(fit, new)
    new.obs["batch"] = "next month"
    with pytest.warns(UserWarning, match=r"'batch' has levels that the fit has not seen \('next month'\)"):
        found = ldvae.get_latent(fit, new)
    pd.testing.assert_frame_equal(found, wanted)  # the encoder sees no batch
    mixed = renamed(cells)
    mixed.obs["batch"] = mixed.obs["batch"].astype(str).replace("B1", "next month")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = changed(fit, mixed)  # what a batch adds is estimated from its counts, known or not
        for ask in (
            lambda: ldvae.differential_contributions(fit, mixed, groupby="population", group1="P0"),
            lambda: ldvae.associate_factors(fit, mixed, key="population"),
            lambda: ldvae.population_programs(fit, mixed, groupby="population"),
            lambda: ldvae.get_expression(fit, mixed, genes=["G2"]),
        ):
            assert len(ask())
    np.testing.assert_allclose(both["lfc_mean"], changed(fit, renamed(cells))["lfc_mean"], atol=0.15)


def test_genes_that_an_object_lacks(cells, fit):
    """theislab/scarches 61 and 20: a reference of another release; zeros would be read as silence."""
    some = cells[:, 14:].copy()  # 7 genes of the fit, and 7 others
    new = renamed(some)
    with pytest.warns(
        UserWarning, match=r"7 of 150 genes of the fit are not in `adata` \('G0', 'G2', 'G4' and 4 more\)"
    ):
        found = ldvae.get_latent(fit, new).iloc[:, 1:].to_numpy()
    wanted = ldvae.get_latent(fit, renamed(cells)).iloc[:, 1:].to_numpy()
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, wanted.T, strict=True)]) > 0.95
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        de = changed(fit, new)
        assert set(de["gene"]) == set(fit.genes) - {f"G{j}" for j in range(0, 14, 2)}
        assert set(ldvae.population_loadings(fit, new, groupby="population", kind="between")["gene"]) <= set(
            new.var_names
        )
        whole = changed(fit, renamed(cells)).set_index(["group1", "gene"])["lfc_mean"]
        both = de.set_index(["group1", "gene"])["lfc_mean"]
        assert (both - whole.loc[both.index]).abs().max() < 0.1
        same = ldvae.get_latent(fit, some)  # the fit knows these cells
    pd.testing.assert_frame_equal(same, ldvae.get_latent(fit))
    few = sentence(ValueError, ldvae.get_latent, fit, new[:, 280:].copy())
    assert "of what it knows about factors, which is too little." in few


# --- the command line ------------------------------------------------------------------------------------------------


def of_10x(path, adata, version=3):
    """A file as Cell Ranger writes it."""
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        text = h5py.string_dtype()
        x = adata.X.astype(np.int32)
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(x, name)
        group["shape"] = np.array(x.shape[::-1])
        group.create_dataset("barcodes", data=adata.obs_names.to_list(), dtype=text)
        where, names = (
            (group.create_group("features"), ("id", "name")) if version == 3 else (group, ("genes", "gene_names"))
        )
        where.create_dataset(names[0], data=[f"ENS{j}" for j in range(adata.n_vars)], dtype=text)
        where.create_dataset(names[1], data=adata.var_names.to_list(), dtype=text)
        if version == 3:
            where.create_dataset("feature_type", data=["Gene Expression"] * adata.n_vars, dtype=text)


@pytest.mark.parametrize("version", [2, 3])
def test_the_h5_of_cell_ranger_at_the_command_line(cells, tmp_path, monkeypatch, version):
    """scverse/scanpy 4000: the file that everybody has first."""
    monkeypatch.chdir(tmp_path)
    of_10x("counts.h5", cells, version)
    line = "fit counts.h5 -o fit.ldvae --max-epochs 2 --n-latent 3 --no-progress --no-measure-factors"
    assert cli.main(line.split()) == 0
    assert ldvae.load_fit("fit.ldvae").genes.tolist() == cells.var_names.tolist()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("a.loom", "read_loom('a.loom')"), ("folder", "read_10x_mtx('folder')"), ("a.rds", "use the R package"),
     ("a.h5mu", "write the modality with the counts"), ("a.h5", "is not one")],
)  # fmt: skip
def test_other_files_get_the_line_that_converts_them(tmp_path, monkeypatch, capsys, name, wanted):
    """scverse/scvi-tutorials 480: conversion is where users drop out."""
    monkeypatch.chdir(tmp_path)
    if name == "folder":
        (tmp_path / name).mkdir()
        (tmp_path / name / "matrix.mtx.gz").touch()
    else:
        (tmp_path / name).touch()
    assert cli.main(["fit", name, "-o", "fit.ldvae"]) == 2
    assert wanted in capsys.readouterr().err


def test_layers_symbols_and_suggestions_at_the_command_line(cells, tmp_path, monkeypatch, capsys):
    """The same words as in Python; a mistyped option is told the right one."""
    monkeypatch.chdir(tmp_path)
    own = cells.copy()
    own.layers["counts"] = own.X
    own.X = divided(own).log1p()
    own.write_h5ad("cells.h5ad")
    fast = "--max-epochs 2 --n-latent 3 --no-progress --no-measure-factors"
    assert cli.main(f"fit cells.h5ad --layer counts --gene-symbols feature_name -o fit.ldvae {fast}".split()) == 0
    assert cli.main("de fit.ldvae cells.h5ad --groupby population -o de.csv".split()) == 0
    assert "SYM9" in set(pd.read_csv("de.csv")["gene"])
    assert cli.main("de fit.ldvae cells.h5ad --groupby population --layer X -o de.csv".split()) == 2
    assert "normalised" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main("fit cells.h5ad -o x --batch_key batch".split())
    assert "do you mean --batch-key?" in capsys.readouterr().err
