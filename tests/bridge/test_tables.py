"""AnnData → SingleCellExperiment → R functions: the same numbers as Python's, in one process."""

import numpy as np
import pandas as pd
import pytest

import ldvae

CALLS = [
    ("get_history", "fit", {}),
    ("get_factors", "fit", {}),
    ("get_loadings", "fit", {}),
    ("get_loadings_uncertainty", "fit", {}),
    ("get_latent", "fit", {}),
    ("get_latent", "fit, sce", {}),
    ("get_expression", "fit, sce", dict(genes=["G3", "G1"], n_samples=3)),
    ("population_loadings", "fit, sce", dict(groupby="population", kind="between")),
    ("population_loadings", "fit, sce", dict(groupby="population", kind="within", sample_key="sample")),
    ("population_programs", "fit, sce", dict(groupby="population", kind="specific", n_programs=2, seed=4)),
    ("population_programs", "fit, sce", dict(groupby="population", kind="between", reference=["P0", "P1"])),
    ("get_program_scores", "fit, sce", dict(groupby="population", kind="within")),
    ("get_program_map", "fit, sce", dict(groupby="population", n_programs=2, seed=4)),
    ("differential_expression", "fit, sce", dict(groupby="population")),
    ("differential_expression", "fit, sce", dict(groupby="population", group1="P0", group2="P2", delta=0.5)),
    ("differential_expression", "fit, sce", dict(groupby="treatment", group1="treated", sample_key="sample",
                                                 within="population")),
    ("differential_expression", "fit, sce", dict(cells1=["C1", "C5", "C9", "C11", "C12"], estimand="cell",
                                                 n_samples=200, seed=5)),
    ("differential_contributions", "fit, sce", dict(groupby="population", group1="P1")),
    ("differential_contributions", "fit, sce", dict(groupby="treatment", group1="treated", sample_key="sample")),
    ("associate_factors", "fit, sce", dict(key="treatment", sample_key="sample", within="population")),
    ("associate_factors", "fit, sce", dict(key="population")),
]  # fmt: skip


def r_value(value):
    if isinstance(value, list):
        return f"c({', '.join(map(r_value, value))})"
    return f"'{value}'" if isinstance(value, str) else str(value)


@pytest.mark.parametrize(("name", "given", "arguments"), CALLS)
def test_tables_are_equal(session, fit, adata, name, given, arguments):
    written = "".join(f", {k} = {r_value(v)}" for k, v in arguments.items())
    found = session.table(f"{name}({given}{written})")
    cells = [adata] if "sce" in given else []
    expected = getattr(ldvae, name)(fit, *cells, **arguments)
    assert len(expected) > 0
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=False, rtol=1e-12, atol=0)
    for column in expected:  # numbers stay numbers, words words, truth truth
        assert found[column].dtype.kind.replace("i", "f") == expected[column].dtype.kind.replace("i", "f"), column


def test_the_fit_is_the_same_to_the_bit(session, fit):
    session("m <- fit$latent_mean")
    assert np.array_equal(np.array(session("m")), fit.latent_mean.astype(float))
    for name, value in fit.weights.items():
        assert np.array_equal(
            np.array(session(f"fit$weights[['{name}']]")), np.ravel(value) if value.ndim == 0 else value
        ), name


def test_a_fit_goes_from_r_to_python_by_its_file(session, fit, adata, tmp_path):
    session(f"save_fit(fit, '{tmp_path}/fit.safetensors')")
    again = ldvae.load_fit(tmp_path / "fit.safetensors")
    assert again.config == fit.config and again.cells.tolist() == fit.cells.tolist()
    for name, value in fit.weights.items():
        assert again.weights[name].dtype == value.dtype and np.array_equal(again.weights[name], value)
    pd.testing.assert_frame_equal(ldvae.get_latent(again, adata), ldvae.get_latent(fit, adata))


def test_a_fit_goes_from_python_to_r_by_its_file(session, fit, tmp_path):
    ldvae.save_fit(fit, tmp_path / "fit.safetensors")
    session(f"again <- load_fit('{tmp_path}/fit.safetensors')")
    assert session("identical(again, fit)")[0]


def test_simulated_counts_are_the_same(session):
    session("made <- simulate_counts(n_cells = 50, n_genes = 30, n_samples = 2, program_size = 3, seed = 9)")
    made = ldvae.simulate_counts(n_cells=50, n_genes=30, n_samples=2, program_size=3, seed=9)
    assert np.array_equal(np.array(session("as.matrix(assay(made))")), made.X.toarray().T)
    assert session.strings("as.character(made$population)") == made.obs["population"].tolist()
    assert session.strings("levels(made$treatment)") == ["control", "treated"]
    assert np.array_equal(np.array(session("metadata(made)$truth$programs")), made.uns["truth"]["programs"])


def test_top_genes_are_the_same(session, fit):
    expected = ldvae.top_genes(ldvae.get_loadings(fit), n=4)
    pd.testing.assert_frame_equal(session.table("top_genes(get_loadings(fit), n = 4)"), expected)


@pytest.mark.parametrize("least", [0.1, 0.9])
def test_top_genes_of_a_comparison_are_the_same(session, adata, fit, least):
    expected = ldvae.top_genes(
        ldvae.differential_expression(fit, adata, groupby="population"), direction="up", min_detected=least
    )
    session("compared <- differential_expression(fit, sce, groupby = 'population')")
    found = session.table(f"top_genes(compared, direction = 'up', min_detected = {least})")
    assert found["gene"].tolist() == expected["gene"].tolist()
    assert (found["detected1"].min() >= 0.9) == (least == 0.9)


def test_gene_sets_are_the_same_file(session, fit, tmp_path):
    ldvae.top_genes(ldvae.get_loadings(fit), n=9, gmt=tmp_path / "python.gmt")
    session(f"top_genes(get_loadings(fit), n = 9, gmt = '{tmp_path}/r.gmt')")
    assert (tmp_path / "r.gmt").read_bytes() == (tmp_path / "python.gmt").read_bytes()


def test_what_r_adds_comes_back(session, adata, fit):
    session("added <- add_ldvae(sce, fit); embedding <- unclass(reducedDim(added, 'LDVAE'))")
    expected = ldvae.add_ldvae(adata, fit)
    assert np.allclose(np.array(session("embedding")), expected.obsm["X_ldvae"], rtol=1e-12)
    loadings = np.array(session("attr(reducedDim(added, 'LDVAE'), 'rotation')"))
    assert np.array_equal(loadings, expected.varm["ldvae_loadings"])
