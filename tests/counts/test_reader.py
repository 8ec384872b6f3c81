"""Counts come out the same from every container, wrong ones are named, and the user's object stays as it was."""

from __future__ import annotations

import copy

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from ldvae.counts.labels import read_cells, read_labels, read_values
from ldvae.counts.quality import Quality
from ldvae.counts.reader import _block_to_csr, read_counts
from support import sentence

N_CELLS, N_GENES = 30, 12
DENSE = np.random.default_rng(0).poisson(1.5, (N_CELLS, N_GENES))
DENSE[:, 3] += 1  # no empty cell


def adata_of(x, **kwargs):
    obs = pd.DataFrame(index=[f"c{i}" for i in range(x.shape[0])])
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(x.shape[1])]), **kwargs)


def check(found, dense=DENSE):
    assert isinstance(found.matrix, sp.csr_matrix) and found.matrix.dtype == np.float32
    assert found.matrix.has_canonical_format
    assert np.array_equal(found.matrix.toarray(), dense)


def parts_of(x):
    """Copies of the arrays that a matrix is made of."""
    arrays = (x.data, x.indices, x.indptr) if sp.issparse(x) else (x,)
    return [a.copy() for a in arrays]


CONTAINERS = {"dense": np.ascontiguousarray, "fortran": np.asfortranarray, "csr": sp.csr_matrix, "csc": sp.csc_matrix}


if not ad.__version__.startswith("0.10."):  # which does not take them
    CONTAINERS |= {"csr_array": sp.csr_array, "csc_array": sp.csc_array}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_and_dtype_gives_the_same_counts(container, dtype):
    adata = adata_of(CONTAINERS[container](DENSE.astype(dtype)))
    x, before = adata.X, parts_of(adata.X)
    found = read_counts(adata)
    check(found)
    assert np.array_equal(found.lib_size, DENSE.sum(1)) and found.lib_size.dtype == np.float64
    assert found.closed
    assert found.cells.tolist() == [f"c{i}" for i in range(N_CELLS)] and found.genes.tolist()[-1] == "g11"
    assert adata.X is x and x.dtype == dtype
    for array, old in zip(parts_of(adata.X), before, strict=True):
        assert array.tobytes() == old.tobytes()


@pytest.mark.parametrize("dtype", [">i4", ">f4", "float16"])
def test_dense_arrays_may_have_dtypes_that_sparse_ones_cannot(dtype):
    check(read_counts(adata_of(DENSE.astype(dtype)), genes=["g3", "g0"]), DENSE[:, [3, 0]])


@pytest.mark.parametrize("container", CONTAINERS)
def test_presence_alone_counts_as_one(container):
    check(read_counts(adata_of(CONTAINERS[container](DENSE > 0))), DENSE > 0)


def test_library_sizes_do_not_overflow_small_integers():
    x = np.full((3, 400), 200, np.uint8)
    found = read_counts(adata_of(sp.csr_matrix(x)))
    assert found.lib_size.tolist() == [80_000.0] * 3
    assert read_counts(adata_of(x)).lib_size.tolist() == [80_000.0] * 3


def test_large_counts_are_kept():
    x = sp.csr_matrix(np.array([[70_000, 0], [1, 2**24]], np.int64))
    check(read_counts(adata_of(x)), x.toarray())


def unsorted():
    """Cells with duplicate and unsorted entries and stored zeros: 3 + 1 in row 0, column 2."""
    data, indices, indptr = [3, 1, 1, 5, 0], [2, 0, 2, 1, 0], [0, 3, 5]
    x = sp.csr_matrix((np.array(data, np.float32), np.array(indices), np.array(indptr)), shape=(2, 3))
    return x, np.array([[1, 0, 4], [0, 5, 0]])


def test_unsorted_and_duplicate_entries_are_added_up_in_a_copy():
    x, dense = unsorted()
    adata = adata_of(x)
    before = parts_of(adata.X)
    found = read_counts(adata)
    check(found, dense)
    assert found.lib_size.tolist() == [5, 5]
    for array, old in zip(parts_of(adata.X), before, strict=True):
        assert array.tobytes() == old.tobytes()


def test_duplicates_are_added_up_before_genes_are_chosen():
    x, dense = unsorted()
    check(read_counts(adata_of(x), genes=["g2", "g1"]), dense[:, [2, 1]])


def test_a_float32_csr_is_not_copied():
    adata = adata_of(sp.csr_matrix(DENSE.astype(np.float32)))
    found = read_counts(adata)
    for name in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(found.matrix, name), getattr(adata.X, name)), name


def test_many_dense_rows_are_read_in_pieces(monkeypatch):
    monkeypatch.setattr("ldvae.counts.reader._ROWS_AT_A_TIME", 7)
    found = read_counts(adata_of(DENSE), genes=["g5", "g0"])
    check(found, DENSE[:, [5, 0]])
    assert np.array_equal(found.lib_size, DENSE.sum(1))


@pytest.mark.parametrize("container", ["dense", "csr", "csc"])
def test_zarr_equals_memory(tmp_path, container, monkeypatch):
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr("ldvae.counts.reader._ROWS_AT_A_TIME", 7)
    adata = adata_of(CONTAINERS[container](DENSE.astype(np.float32)))
    adata.write_zarr(tmp_path / "x.zarr")
    stored = zarr.open(str(tmp_path / "x.zarr"), mode="r")["X"]
    in_store = ad.AnnData(stored if container == "dense" else ad.io.sparse_dataset(stored), adata.obs, adata.var)
    for given in (ad.read_zarr(tmp_path / "x.zarr"), in_store, in_store[:]):
        for genes in (None, ["g7", "g1"]):
            found, wanted = (read_counts(a, genes=genes) for a in (given, adata))
            check(found, wanted.matrix.toarray())
            assert np.array_equal(found.lib_size, wanted.lib_size)


def test_what_dask_holds_is_computed():
    block = type("Array", (), {"compute": lambda self: sp.csc_matrix(DENSE)})()
    assert np.array_equal(_block_to_csr(block, Quality("adata.X")).toarray(), DENSE)


@pytest.mark.parametrize("container", ["dense", "csr", "csc"])
@pytest.mark.parametrize("layer", [None, "counts"])
def test_a_backed_file_equals_memory(tmp_path, container, layer, monkeypatch):
    monkeypatch.setattr("ldvae.counts.reader._ROWS_AT_A_TIME", 7)
    x = CONTAINERS[container](DENSE.astype(np.float32))
    adata = adata_of(x)
    if layer:
        adata.layers[layer] = adata.X.copy()
        adata.X = adata.X * 0.5
    adata.write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    try:
        assert backed.isbacked
        for genes in (None, ["g7", "g1"]):
            found, wanted = (read_counts(a, layer=layer, genes=genes) for a in (backed, adata))
            check(found, wanted.matrix.toarray())
            assert np.array_equal(found.lib_size, wanted.lib_size) and found.closed == wanted.closed
            assert found.cells.tolist() == wanted.cells.tolist() and found.genes.tolist() == wanted.genes.tolist()
        assert backed.isbacked
    finally:
        backed.file.close()


def test_a_view_of_a_backed_file(tmp_path):
    adata_of(sp.csr_matrix(DENSE)).write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    try:
        check(read_counts(backed[5:15]), DENSE[5:15])
    finally:
        backed.file.close()


@pytest.mark.parametrize("container", ["dense", "csr", "csc"])
def test_a_view_is_read_as_a_view(container):
    adata = adata_of(CONTAINERS[container](DENSE))
    view = adata[[3, 1, 20], ["g4", "g0", "g3"]]
    found = read_counts(view)
    check(found, DENSE[np.ix_([3, 1, 20], [4, 0, 3])])
    assert found.cells.tolist() == ["c3", "c1", "c20"] and found.genes.tolist() == ["g4", "g0", "g3"]
    assert view.is_view


def test_a_layer_in_place_of_x():
    adata = adata_of(np.log1p(DENSE.astype(float)), layers={"raw": sp.csc_matrix(DENSE)})
    check(read_counts(adata, layer="raw"))


def test_genes_keep_the_order_that_was_asked_for():
    found = read_counts(adata_of(sp.csr_matrix(DENSE)), genes=["g9", "g2", "g5"])
    check(found, DENSE[:, [9, 2, 5]])
    assert found.genes.tolist() == ["g9", "g2", "g5"]
    assert np.array_equal(found.lib_size, DENSE.sum(1)) and not found.closed


def test_all_genes_by_name_in_another_order_are_the_whole_library():
    names = [f"g{j}" for j in range(N_GENES)][::-1]
    found = read_counts(adata_of(DENSE), genes=names)
    check(found, DENSE[:, ::-1])
    assert found.closed


def test_genes_by_a_boolean_column():
    adata = adata_of(DENSE)
    adata.var["highly_variable"] = np.arange(N_GENES) % 3 == 0
    found = read_counts(adata, genes="highly_variable")
    check(found, DENSE[:, ::3])
    assert found.genes.tolist() == ["g0", "g3", "g6", "g9"] and not found.closed


def test_one_gene_as_a_string():
    assert read_counts(adata_of(DENSE), genes="g4").genes.tolist() == ["g4"]


def test_size_factors_are_brought_to_the_mean_library():
    adata = adata_of(DENSE)
    adata.obs["size"] = np.linspace(0.5, 2, N_CELLS)
    found = read_counts(adata, size_factor_key="size")
    assert found.lib_size.mean() == pytest.approx(DENSE.sum(1).mean(), rel=1e-12)
    assert np.allclose(found.lib_size / found.lib_size[0], adata.obs["size"] / 0.5, rtol=1e-12)
    assert not found.closed


def test_the_object_is_not_changed_by_any_reading():
    adata = adata_of(sp.csr_matrix(DENSE), layers={"raw": sp.csc_matrix(DENSE)})
    adata.obs["label"] = pd.Categorical(["a", "b"] * (N_CELLS // 2), categories=["b", "unused", "a"])
    adata.obs["size"] = 1.0
    adata.var["on"] = True
    before = copy.deepcopy(adata)
    read_counts(adata, layer="raw", genes="on", size_factor_key="size")
    read_labels(adata, "label", "groupby")
    read_values(adata, "size", "key")
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    assert (adata.X != before.X).nnz == 0 and (adata.layers["raw"] != before.layers["raw"]).nnz == 0
    assert list(adata.layers) == ["raw"] and not adata.uns and not adata.obsm


BAD = {"negative": (-1.0, "-1"), "infinite": (np.inf, "inf")}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("value", "shown"), BAD.values(), ids=BAD)
def test_values_that_are_no_counts_are_shown(container, value, shown):
    x = DENSE.astype(float)
    x[4, 5] = value
    assert sentence(ValueError, read_counts, adata_of(CONTAINERS[container](x))) == (
        f"`adata.X` must hold raw counts (whole numbers, zero or more), but has the value {shown}; "
        "if the counts are in a layer, name it with `layer`."
    )


def test_negative_integers_are_no_counts():
    x = DENSE.astype(np.int16)
    x[0, 0] = -7
    assert "but has the value -7;" in sentence(ValueError, read_counts, adata_of(x))
    assert "but has the value -7;" in sentence(ValueError, read_counts, adata_of(sp.csr_matrix(x)))


def test_a_bad_value_in_genes_that_are_not_modelled_is_found_too():
    x = DENSE.astype(float)
    x[4, 5] = -0.5
    assert "-0.5" in sentence(ValueError, read_counts, adata_of(x), genes=["g0"])


def test_log_normalised_values_in_a_layer():
    adata = adata_of(DENSE, layers={"logcounts": np.log1p(DENSE)})
    message = sentence(ValueError, read_counts, adata, layer="logcounts")
    assert message.startswith("`adata.layers['logcounts']` must hold raw counts")
    assert f"has the value {np.log1p(DENSE)[DENSE > 0][0]:g}, and rounding would change" in message


def test_complex_numbers_are_refused():
    message = sentence(TypeError, read_counts, adata_of(DENSE.astype(complex)))
    assert message == "`adata.X` must hold numbers, not complex128."


def test_empty_cells_are_counted():
    x = DENSE.copy()
    x[[2, 9]] = 0
    assert sentence(ValueError, read_counts, adata_of(sp.csr_matrix(x))) == (
        "2 of 30 cells have no counts; remove them before the fit."
    )


def test_repeated_names():
    adata = adata_of(DENSE)
    adata.var_names = ["g0", "g0", *adata.var_names[2:]]
    assert sentence(ValueError, read_counts, adata) == (
        "`adata` has repeated gene names ('g0'); make them unique, e.g. by adata.var_names_make_unique()."
    )
    adata = adata_of(DENSE)
    adata.obs_names = ["c0", "c0", *adata.obs_names[2:]]
    assert sentence(ValueError, read_counts, adata) == (
        "`adata` has repeated cell names ('c0'); make them unique, e.g. by adata.obs_names_make_unique()."
    )
    assert "repeated cell names" in sentence(ValueError, read_cells, adata)


def test_names_are_what_they_read_as():
    adata = adata_of(DENSE)
    adata.var_names = pd.MultiIndex.from_arrays([adata.var_names, adata.var_names])
    adata.obs_names = [f"c{i}" + "\0" * i for i in range(adata.n_obs)]  # which an array of numpy would cut off
    found = read_counts(adata)
    assert found.genes[0] == "('g0', 'g0')" and found.cells.tolist() == adata.obs_names.tolist()


@pytest.mark.parametrize(
    ("genes", "error", "message"),
    [
        (["g0", "x1", "x2"], ValueError, "2 of 3 genes are not in `adata`: 'x1', 'x2'."),
        ([], ValueError, "`genes` must name at least one gene."),
        ("g99", ValueError, "`genes` must be a boolean column of adata.var or names of genes, and 'g99' is neither."),
        ("biotype", ValueError, "`genes` names the column 'biotype' of adata.var, which must be boolean, not object."),
        ("none", ValueError, "`genes` names the column 'none' of adata.var, which selects no gene."),
        (["g0", "g0"], ValueError, "`genes` names 'g0' more than once."),
        ([0, 1], TypeError, "`genes` must be a list of names, but 0 is a int."),
    ],
)
def test_genes_that_cannot_be_chosen(genes, error, message):
    adata = adata_of(DENSE)
    adata.var["biotype"] = pd.Series("coding", index=adata.var_names, dtype=object)
    adata.var["none"] = False
    assert sentence(error, read_counts, adata, genes=genes) == message


def test_what_is_no_anndata():
    assert sentence(TypeError, read_counts, DENSE) == "`adata` must be an AnnData, not a numpy.ndarray."
    assert sentence(TypeError, read_cells, None) == "`adata` must be an AnnData, not a builtins.NoneType."
    modalities = type("MuData", (), {})()
    message = sentence(TypeError, read_counts, modalities)
    assert message == "`adata` must be an AnnData, not a MuData: give the modality with the counts, `mdata['rna']`."
    lazy = type("Lazy", (ad.AnnData,), {"obs": None})
    message = sentence(TypeError, read_counts, lazy.__new__(lazy))
    assert message == "`adata` must be in memory or backed, not read lazily: load it with `adata.to_memory()`."
    message = sentence(ValueError, read_counts, adata_of(np.zeros((0, 4))))
    assert message == "`adata` must have cells and genes, but has 0 and 4."


def test_layers_that_are_not_there():
    adata = adata_of(DENSE, layers={"raw": DENSE})
    assert sentence(ValueError, read_counts, adata, layer="counts") == (
        "`layer` must be a layer of `adata`, which has 'raw', not 'counts'."
    )
    assert sentence(ValueError, read_counts, adata, layer=["raw"]).endswith("which has 'raw', not ['raw'].")
    without = ad.AnnData(obs=adata.obs, var=adata.var, layers={"raw": DENSE})
    assert sentence(ValueError, read_counts, without) == (
        "`adata.X` is empty; name the layer that holds the counts with `layer`."
    )
    check(read_counts(without, layer="raw"))


@pytest.mark.parametrize("values", [[1.0, 0.0], [1.0, -2.0], [1.0, np.nan], [1.0, np.inf], ["a", "b"]])
def test_size_factors_must_be_positive_numbers(values):
    adata = adata_of(DENSE[:2])
    adata.obs["size"] = values
    assert sentence(ValueError, read_counts, adata, size_factor_key="size") == (
        "`size_factor_key` must name a column of positive numbers, which 'size' is not."
    )
