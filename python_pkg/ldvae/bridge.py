"""What the R package calls: the public functions, with counts, fits and tables as plain arrays and R's words.

R sends what it has: a genes × cells matrix with its names, the columns of cell data that a question needs, and
arguments as R writes them. Back go columns, from which R builds its data.frame, or the parts of a fit.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, TextIO

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .machine.apart import apart

with apart():  # torch
    from . import api
    from .checks import Note
    from .fit.record import ARRAYS, GROUPS, NAMES, Fit
    from .model.config import Config

__all__ = ["call", "pack_fit", "simulate", "split", "unpack_fit"]

_LEVELS = ("group1", "group2", "reference")  # arguments that name levels, which may be numbers in R


def call(
    name: str,
    arguments: Mapping[str, Any],
    *,
    fit: Fit | None = None,
    x: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Answer one call of R.

    Parameters
    ----------
    name
        Which public function.
    arguments
        Its keyword arguments but `fit` and `adata`.
    fit, x
        The fit, and the cells as `_anndata` takes them, for functions that want them.
    progress
        Whether R has somebody to show progress to.

    Returns
    -------
    dict
        `value` (a `Fit`, columns or None) or `error`, one sentence in R's words; and `warnings` and `notes`, as
        sentences.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            first = [] if fit is None else [fit]
            cells = [] if x is None else [_anndata(x, None if fit is None else fit.config.layer)]
            with _progress(progress):
                value = getattr(api, name)(*first, *cells, **{k: _argument(k, v) for k, v in dict(arguments).items()})
            if isinstance(value, Fit) and x is not None and x["assay"] is not None:
                value = replace(value, info=value.info | {"assay": x["assay"]})  # R's counterpart of `layer`
            answer: dict[str, Any] = {"value": _columns(value) if isinstance(value, pd.DataFrame) else value}
        except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
            answer = {"error": in_r(" ".join(str(error).split()))}
    for kind, category in (("warnings", UserWarning), ("notes", Note)):
        answer[kind] = list(dict.fromkeys(in_r(str(w.message)) for w in caught if w.category is category))
    return answer


def simulate(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Simulated counts as R keeps them: `counts` (genes × cells), names, cell data, activities and the truth."""
    answer = call("simulate_counts", arguments)
    if "error" not in answer:
        adata = answer["value"]
        answer["value"] = {
            "counts": adata.X.astype(np.float64).T,
            "genes": adata.var_names.tolist(),
            "cells": adata.obs_names.tolist(),
            "cell_data": _columns(adata.obs),
            "activity": adata.obsm["activity"],
            "truth": dict(adata.uns["truth"]),
        }
    return answer


def split(arguments: Mapping[str, Any], fit: Fit | None, x: Mapping[str, Any]) -> dict[str, Any]:
    """Counts in two parts as R keeps them: `first` and `second` (genes × cells), and which cells are `kept`."""
    answer = call("split_counts", {**dict(arguments), "fit": fit}, x=x)
    if "error" not in answer:
        one, two = answer["value"]
        kept = np.isin(_names(x["cells"]).astype(str), one.obs_names)
        answer["value"] = {"first": one.X.astype(np.float64).T, "second": two.X.astype(np.float64).T, "kept": kept}
    return answer


def pack_fit(fit: Fit) -> dict[str, Any]:
    """A fit as nested plain arrays; `meta` (JSON) has what R cannot hold: types, shapes and settings."""
    c, info = fit.config, fit.info
    arrays = {name: [str(value.dtype), list(value.shape)] for name, value in _flat(fit).items()}
    return {
        "genes": fit.genes.tolist(),
        "cells": fit.cells.tolist(),
        **{name: getattr(fit, name) for name in ARRAYS},
        **{group: dict(sorted(getattr(fit, group).items())) for group in GROUPS},  # a file keeps no order
        "settings": {
            **{k: v for k, v in asdict(c).items() if v is not None and isinstance(v, str | bool | int | float)},
            **{k: v for k, v in sorted(info.items()) if v is not None},
            "columns": [covariate.key for covariate in c.covariates]
            + [c.size_factor_key] * (c.size_factor_key is not None),
        },
        "meta": json.dumps({"config": asdict(c), "info": info, "arrays": arrays}, sort_keys=True),
    }


def unpack_fit(parts: Mapping[str, Any]) -> Fit:
    """The fit that `pack_fit` took apart, with the same bits."""
    meta = json.loads(parts["meta"])

    def array(name: str, value: Any) -> np.ndarray:
        dtype, shape = meta["arrays"][name]
        return np.array(value, dtype=dtype, order="C").reshape(shape)

    fields: dict[str, Any] = {name: array(name, parts[name]) for name in ARRAYS}
    fields |= {group: {k: array(f"{group}.{k}", v) for k, v in parts[group].items()} for group in GROUPS}
    fields |= {name: _names(parts[name]) for name in NAMES}
    return Fit(config=Config.of(meta["config"]), info=meta["info"], **fields)


def _flat(fit: Fit) -> dict[str, np.ndarray]:
    grouped = {f"{group}.{k}": v for group in GROUPS for k, v in getattr(fit, group).items()}
    return {name: getattr(fit, name) for name in ARRAYS} | grouped


def _names(values: Any) -> np.ndarray:
    """Names as the engine keeps them; R sends a single one as a string."""
    return np.array([values] if isinstance(values, str) else list(values), dtype=object)


def _anndata(x: Mapping[str, Any], layer: str | None) -> AnnData:
    """Cells × genes from R's genes × cells: the transpose of its CSC is the CSR wanted here, without a copy."""
    matrix = x["counts"].T
    obs = pd.DataFrame({k: _cell_column(v) for k, v in dict(x["cell_data"]).items()}, index=_names(x["cells"]))
    var = pd.DataFrame({k: np.asarray(v) for k, v in dict(x["gene_data"]).items()}, index=_names(x["genes"]))
    matrix = sp.csr_matrix(matrix) if sp.issparse(matrix) else np.asarray(matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # repeated names get a sentence of ours
        out = AnnData(matrix, obs=obs, var=var, layers=None if layer is None else {layer: matrix})
        out.obsm.update({k: np.asarray(v) for k, v in dict(x["positions"]).items()})
        return out


def _cell_column(column: Mapping[str, Any]) -> Any:
    """A column of cell data: a factor as `codes` (-1 missing) and `levels`, or numbers as `values`."""
    if "levels" in column:
        return pd.Categorical.from_codes(np.asarray(column["codes"]), pd.Index(_names(column["levels"])))
    values = np.asarray(column["values"], dtype=np.float64)
    missing = np.isnan(values)
    if np.all(missing | (values == np.round(values))) and np.all(missing | (np.abs(values) < 2**53)):
        return pd.Series(values).astype("Int64").array  # so that a cluster is "1" and not "1.0"
    return values


def _argument(name: str, value: Any) -> Any:
    if name == "covariate_keys" and value is None:
        return ()
    if name not in _LEVELS or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(value).upper()  # as R calls them
    if isinstance(value, list | tuple | np.ndarray):
        return [_argument(name, v) for v in value]
    return f"{value:g}" if isinstance(value, float | int) and not isinstance(value, bool) else value


def _columns(table: pd.DataFrame) -> dict[str, Any]:
    """Columns that R takes as they are; strings as factors, since few of them are different."""
    out: dict[str, Any] = {}
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column.dtype):  # includes bool
            values = column.to_numpy()
            small = values.dtype.kind == "i" and (not len(values) or np.abs(values).max() < 2**31)
            out[str(name)] = values.astype(np.int32) if small else values
        else:
            known = column if isinstance(column.dtype, pd.CategoricalDtype) else pd.Categorical(column, column.unique())
            factor = pd.Categorical(known)
            levels = [str(level) for level in factor.categories]
            out[str(name)] = {"codes": factor.codes.astype(np.int32), "levels": levels}
    return out


class _Terminal(io.TextIOBase):
    """Standard error, which front ends of R show as their console, as a terminal.

    R itself is never called while Python runs: an interrupt would jump out of R, past Python, and end the session.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text)
        self._stream.flush()
        return len(text)

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def _progress(shown: bool) -> Iterator[None]:
    if shown and sys.stderr is not None:  # None in a program of Windows without a console
        with contextlib.redirect_stderr(_Terminal(sys.stderr)):
            yield
    else:
        yield


# From the words of Python to those of R, in this order.
_WORDS = [
    (r"`adata\.(X|raw\.X|layers\['[^']*'\])`", "`x`"),
    (r"if the counts are in a layer, name it with `layer`", "if the counts are in another assay, name it with `assay`"),
    (r"name the layer with the raw counts", "name the assay with the raw counts"),
    (r"; what adata\.raw holds is layer='raw'| \(layer='raw' if adata\.raw has it\)", ""),
    (r"missing values \(nan\), as anndata\.concat.*", "missing values (NA)."),
    (
        r"`x` seems to be genes × cells: its rows are called (.*), its columns (.*); give `adata\.T`, "
        r"cells × genes\.",
        r"`x` seems to be cells x genes: its columns are called \1, its rows \2; give t(x), genes x cells.",
    ),
    (
        r"`(cells\d)` must be cells \(a mask or names\) or a condition .*, and (.*) is neither \(.*\)\.",
        r"`\1` must be TRUE and FALSE, numbers or names of cells, and \2 is none.",
    ),
    (r"`adata\.T`, cells × genes", "t(x), genes x cells"),
    (r" \('X' for adata\.X\)", ""),
    (r"give gene_symbols='([^']+)'", r"give gene_symbols = '\1'"),
    (r"set adata\.var_names", "set rownames(x)"),
    (r"adata\.var\['([^']+)'\]", r"the column '\1' of the gene data"),
    (r"adata\.(var|obs)_names_make_unique\(\)", "make.unique()"),
    (r"a boolean column", "a logical column"),
    (r"a column of adata\.obs\b", "a column of the cell data"),
    (r"adata\.obs\b", "the cell data"),
    (r"an embedding of adata\.obsm", "a reduction of `x`"),
    (r"adata\.obsm\[([^]]+)\]", r"the reduction \1 of `x`"),
    (r"adata\.obsm\b\[?", "the reductions of `x`"),
    (r"adata\.var", "the gene data"),
    (r"`adata`", "`x`"),
    (r"\ba (?:pandas\.)?DataFrame\b", "a data.frame"),
    (r"\{'P0': 3\}", "c(P0 = 3)"),
    (r"\b(estimand)='", r"\1 = '"),
    (r"\bmust be boolean\b", "must be logical"),
    (r"the value -2\.14748e\+09", "the value NA"),  # as R keeps a missing integer
    (r"\binf\b", "Inf"),
    (r"\bnan\b", "NaN"),
    (r"\bTrue\b", "TRUE"),
    (r"\bFalse\b", "FALSE"),
    (r"\bNone\b", "NULL"),
    (
        r"Plots need matplotlib: pip install 'ldvae\[plot\]'\.",
        'The report needs the Python package matplotlib: run reticulate::py_install("matplotlib") and restart R.',
    ),
    (r"\bis a (str)\b", "is a character string"),
    (r"\bis a bool\b", "is a logical"),
    (r"\bis a NoneType\b", "is NULL"),
    (r"\bis a (list|tuple|ndarray)\b", "is a vector"),
    (r"\bis a dict\b", "is a list"),
    (r"\bis a (int|float)\b", "is a number"),
    (r"(?<![\w.'])(-?\d+)\.0(?![\w'])(?!\.\d)", r"\1"),
    (r"\ba list of names\b", "a character vector"),
    (r"(?<!\w)(?:array\()?\[ ?((?:'[^']*'|[\w.+-]+)(?:, +(?:'[^']*'|[\w.+-]+))*)\]\)?", r"c(\1)"),
    (r"the shape \(\) of type <U\d+", "a character string"),
    (
        r"\('spawn', or a cluster of new processes\), or call torch\.set_num_threads\(1\) in it first\.",
        "(parallel::makeCluster), or start R with the environment variable OMP_NUM_THREADS=1.",
    ),
]


def in_r(sentence: str) -> str:
    """The sentence as an R user would say it."""
    for pattern, words in _WORDS:
        sentence = re.sub(pattern, words, sentence)
    return sentence
