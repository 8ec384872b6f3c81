"""The only place where arrays become DataFrames: which columns, of which type, in which order."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["COLUMNS", "GENES", "LEVEL", "LN2", "factor_names", "score_name", "table", "wide"]

LEVEL = 0.05  # lfsr and adjusted p-values below are sure: in tables, calls and pictures
GENES = 5  # with a sure sign make a factor or a program

LN2 = math.log(2)  # natural units per unit of the tables, which are in log2

_DIFFERENCES: dict[str, type] = {
    "within": str, "gene": str, "group1": str, "group2": str, "proba_de": float, "is_de": bool, "lfsr": float,
    "bayes_factor": float, "lfc_mean": float, "lfc_median": float, "lfc_std": float, "lfc_lower": float,
    "lfc_upper": float, "mean1": float, "mean2": float, "raw_mean1": float, "raw_mean2": float,
    "detected1": float, "detected2": float,
    "pval": float, "padj": float, "n_samples1": int, "n_samples2": int, "paired": int,
}  # fmt: skip

COLUMNS: dict[str, dict[str, type]] = {
    "history": {"epoch": int, "elbo_train": float, "elbo_validation": float, "reconstruction": float, "kl": float},
    "factors": {
        "factor": str, "reliability": float, "pval": float, "variance_explained": float, "kl": float, "n_genes": int,
        "active": bool,
    },
    "loadings_uncertainty": {"gene": str, "factor": str, "loading": float, "std": float, "lfsr": float},
    "population_loadings": {
        "population": str, "kind": str, "program": str, "gene": str, "loading": float, "std": float, "lfsr": float,
        "rank": int,
    },
    "population_programs": {
        "population": str, "kind": str, "program": str, "called": bool, "reason": str, "variance": float,
        "share": float,
        "ratio_to_reference": float, "reference_population": str, "like_population": str, "like_cosine": float,
        "share_of_samples": float, "pval": float, "padj": float, "n_cells": int, "n_genes": int, "top_up": str,
        "top_down": str,
    },
    "program_map": {
        "program": str, "population": str, "variance": float, "std": float, "share": float, "pval": float,
        "padj": float, "active": bool, "n_genes": int, "top_up": str, "top_down": str,
    },
    "differential_expression": _DIFFERENCES,
    "differential_response": {**_DIFFERENCES, "response": float, "reference_response": float},
    "contributions": {
        "gene": str, "group1": str, "group2": str, "factor": str, "contribution": float, "jensen_gap": float,
    },
    "association": {
        "factor": str, "key": str, "level": str, "within": str, "unit": str, "effect": float, "std": float,
        "statistic": float, "pval": float, "padj": float, "auc": float, "n_cells": int, "n_samples": int,
    },
    "expression": {"cell": str, "gene": str, "expression": float},
}  # fmt: skip

_DTYPES: dict[type, Any] = {int: np.int64, float: np.float64, bool: np.bool_, str: object}


def score_name(population: str, program: str) -> str:
    """Column of a program's activity: ASCII letters, digits, points and underscores, and a letter first.

    Formulas, R and Seurat take such names as they are. "CD4+" and "CD4-" stay two ("CD4pos", "CD4neg"), "0" becomes
    "group_0".
    """
    name = re.sub(r"(?<=[0-9A-Za-z_])\+", "pos", population)
    name = re.sub(r"(?<=[0-9A-Za-z_])-(?![0-9A-Za-z_])", "neg", name)
    name = re.sub(r"[^0-9A-Za-z._]", "_", name)
    return f"{name if re.match('[A-Za-z]', name) else 'group_' + name}_{program}"


def factor_names(n_factors: int) -> list[str]:
    """Z_1 ... Z_K."""
    return [f"Z_{k + 1}" for k in range(n_factors)]


def table(name: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    """The table `name` from one array per column (scalars are repeated)."""
    wanted = COLUMNS[name]
    if set(columns) != set(wanted):
        raise KeyError(f"table {name}: missing {set(wanted) - set(columns)}, unknown {set(columns) - set(wanted)}")
    length = max((len(v) for v in columns.values() if not np.isscalar(v)), default=1)
    return pd.DataFrame(
        {
            column: np.full(length, values, dtype=_DTYPES[kind])
            if np.isscalar(values)
            else np.asarray(values).astype(_DTYPES[kind])
            for column, kind in wanted.items()
            for values in [columns[column]]
        }
    )


def wide(first: str, names: Sequence[str] | np.ndarray, columns: Sequence[str], values: np.ndarray) -> pd.DataFrame:
    """A names x columns matrix as a table whose first column holds the names."""
    frame = pd.DataFrame(np.asarray(values, dtype=np.float64), columns=list(columns))
    frame.insert(0, first, np.asarray(names, dtype=object))
    return frame
