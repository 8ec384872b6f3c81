"""What several test files ask: is the object as it was, is this error one sentence of ours?"""

from __future__ import annotations

import hashlib
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

import ldvae

PACKAGE = str(Path(ldvae.__file__).parent)


def fingerprint(value, digest=None):
    """Of an AnnData, table, array or nest of them: every bit of every array, every name, every type."""
    top = digest is None
    digest = hashlib.sha256() if top else digest
    if hasattr(value, "obsm"):
        x = None if value.isbacked else value.X
        parts = (x, value.obs, value.var, dict(value.obsm), dict(value.varm), dict(value.layers), dict(value.uns))
        value = (*parts, value.shape)
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
        digest.update(
            repr((type(value).__name__, str(value.dtypes if isinstance(value, pd.DataFrame) else value.dtype))).encode()
        )
        columns = value.items() if isinstance(value, pd.DataFrame) else [("", value)]
        for name, column in columns:
            kind = getattr(column, "cat", None)
            digest.update(repr((name, None if kind is None else list(kind.categories), list(column))).encode())
        if not isinstance(value, pd.Index):
            digest.update(repr(list(value.index)).encode())
    elif sp.issparse(value):
        fingerprint((value.format, value.shape, value.data, value.indices, value.indptr), digest)
    elif isinstance(value, np.ndarray):
        digest.update(repr((value.dtype, value.shape, value.flags.writeable)).encode())
        digest.update(repr(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict | list | tuple):
        digest.update(type(value).__name__.encode())
        for part in value.items() if isinstance(value, dict) else value:
            fingerprint(part, digest)
    else:
        digest.update(repr(value).encode())
    return digest.hexdigest() if top else None


def is_sentence(error):
    """Whether an error is one documented sentence that the engine itself raised."""
    text = str(error)
    ours = traceback.extract_tb(error.__traceback__)[-1].filename.startswith(PACKAGE)
    documented = type(error) in (ValueError, TypeError, OSError)
    # a quoted name may hold a full stop, a sentence of ours has one at its end only
    return (
        ours and documented and "\n" not in text and text.endswith(".") and not text.endswith("..") and len(text) < 800
    )


def assert_finite(table, but=()):
    """A table of plain columns; its numbers are finite except in the columns `but`, which may hold NaN."""
    assert isinstance(table, pd.DataFrame) and isinstance(table.index, pd.RangeIndex)
    for name, column in table.items():
        assert column.dtype.kind in "fibO", (name, column.dtype)
        if column.dtype.kind == "f":
            values = column.to_numpy()
            assert not np.isinf(values).any(), name
            assert name in but or not np.isnan(values).any(), name
