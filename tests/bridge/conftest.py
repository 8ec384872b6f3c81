"""R inside Python: rpy2 embeds R, reticulate uses the same Python again, torch is loaded in both.

These tests have a process of their own (`make test-r`), since R and Python do not part cleanly: `pytest tests/bridge`,
with R_LIBS naming the library that has ldvae.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("RETICULATE_PYTHON", sys.executable)  # before R starts

import anndata2ri
import numpy as np
import pandas as pd
import pytest
import rpy2.robjects as ro
from rpy2.rinterface_lib import callbacks
from rpy2.robjects import conversion, default_converter, numpy2ri, pandas2ri

import ldvae

_status = 0


def pytest_sessionfinish(session, exitstatus):
    global _status
    _status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_status)  # unloading R and torch from one process may abort, and hide what the tests said


class R:
    """The R session: `r("code")` runs it, `r.put` and `r.table` cross the bridge."""

    def __init__(self):
        ro.r("suppressPackageStartupMessages({library(ldvae); library(SingleCellExperiment)})")

    def __call__(self, code):
        return ro.r(code)

    def put(self, name, value):
        with conversion.localconverter(default_converter + anndata2ri.converter + numpy2ri.converter):
            ro.globalenv[name] = value

    def put_table(self, name, value):
        with conversion.localconverter(default_converter + pandas2ri.converter):
            ro.globalenv[name] = value

    def strings(self, code):
        return [str(v) for v in ro.r(code)]

    def table(self, code):
        """A data.frame as a DataFrame, by its columns: NA strings would become the text 'NA'."""
        ro.globalenv[".table"] = ro.r(code)
        assert ro.r("is.data.frame(.table)")[0]
        columns = {}
        for i, name in enumerate(ro.r("names(.table)"), start=1):
            kind = ro.r(f"class(.table[[{i}]])")[0]
            values = ro.r(f"as.character(.table[[{i}]])" if kind == "factor" else f".table[[{i}]]")
            columns[name] = np.array(values, dtype={"logical": bool, "character": object, "factor": object}.get(kind))
        return pd.DataFrame(columns)

    def error(self, code):
        """The message of the error that the code stops with, and its class."""
        ro.r(f".error <- tryCatch({{ {code}; NULL }}, error = identity)")
        assert not ro.r("is.null(.error)")[0], f"no error from {code}"
        return str(ro.r("conditionMessage(.error)")[0])


@pytest.fixture(scope="session")
def r():
    # what R says goes to the captured output, not through logging
    callbacks.consolewrite_warnerror = lambda text: sys.stdout.write(text)
    return R()


@pytest.fixture(scope="session")
def adata():
    """The counts of all these tests."""
    return ldvae.simulate_counts(
        n_cells=500, n_genes=150, n_populations=3, program_size=15, n_identity=20, n_samples=6, treatment_effect=0.8,
        seed=1,
    )  # fmt: skip


SETTINGS = dict(batch_key="batch", n_latent=5, n_hidden=32, max_epochs=15, batch_size=32, seed=3, device="cpu")


@pytest.fixture(scope="session")
def fit(adata):
    return ldvae.fit_ldvae(adata, progress=False, **SETTINGS)


@pytest.fixture(scope="session")
def session(r, adata, fit):
    """The R session with `sce`, the same counts, and `fit`, trained in R with the same settings."""
    crossing = adata.copy()
    crossing.uns = {}
    crossing.layers["counts"] = crossing.X
    r.put("sce", crossing)
    arguments = ", ".join(f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in SETTINGS.items())
    r(f"fit <- fit_ldvae(sce, {arguments}, progress = FALSE)")
    return r
