"""A fit is data: settings, names, weights and results as plain arrays, saved to one file that holds no code."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from . import checks
from .files import replacing
from .model import Config

__all__ = ["Fit", "check_fit", "load_fit", "save_fit"]

_SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained model and what is known about its training cells.

    Attributes
    ----------
    config
        What was fitted.
    genes, cells
        Names, in the order of every array below.
    lib_size
        Library sizes of the training cells.
    weights
        Parameters of the model by name.
    latent_mean, latent_variance
        Gaussian posterior of each training cell (cells × latent dimensions).
    history
        One array per column of `get_history`.
    factors
        The canonical basis: `loadings`, `loadings_std`, `loadings_lfsr` (genes × factors, log2 units per standard
        deviation), `rotation`, `center` (score = (z - center) @ rotation), `variance_explained`, `kl`, `active`.
    info
        Version, device, seed and how training ended.
    """

    config: Config
    genes: np.ndarray
    cells: np.ndarray
    lib_size: np.ndarray
    weights: dict[str, np.ndarray]
    latent_mean: np.ndarray
    latent_variance: np.ndarray
    history: dict[str, np.ndarray]
    factors: dict[str, np.ndarray]
    info: dict[str, Any]

    def __repr__(self) -> str:
        c, active = self.config, int(self.factors["active"].sum())
        return (
            f"Fit of {len(self.cells):,} cells × {len(self.genes):,} genes: {active} of {c.n_latent} factors active, "
            f"{c.gene_likelihood} likelihood, {c.decoder} decoder, {len(self.history['epoch'])} epochs "
            f"on {self.info['device']} ({self.info['stopped']})"
        )


_GROUPS = ("weights", "history", "factors")
_ARRAYS = ("lib_size", "latent_mean", "latent_variance")
_NAMES = ("genes", "cells")


def check_fit(fit: Any) -> Fit:
    """The argument `fit`, if it is one."""
    if not isinstance(fit, Fit):
        raise TypeError(f"`fit` must be a Fit (from fit_ldvae or load_fit), not a {type(fit).__name__}.")
    return fit


def save_fit(fit: Fit, path: str | os.PathLike[str]) -> None:
    """Write a fit to one safetensors file.

    The file holds arrays and JSON, no code, and opens in Python and R on any machine. It is written beside `path` and
    then renamed, so a crash leaves the old file or the new one.

    Parameters
    ----------
    fit
        The fit.
    path
        The file; an existing one is replaced.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    fit = check_fit(fit)
    tensors = {name: getattr(fit, name) for name in _ARRAYS}
    tensors |= {f"{group}.{k}": v for group in _GROUPS for k, v in getattr(fit, group).items()}
    tensors |= {name: np.frombuffer(json.dumps(getattr(fit, name).tolist()).encode(), np.uint8) for name in _NAMES}
    meta = {
        "schema": str(_SCHEMA),
        "kind": "ldvae fit",
        "config": json.dumps(asdict(fit.config)),
        "info": json.dumps(fit.info),
    }
    with replacing(path, "fit") as temporary:
        try:
            save_file({k: np.asarray(v, order="C") for k, v in tensors.items()}, temporary, metadata=meta)
        except SafetensorError as error:
            raise OSError(error) from None


def load_fit(path: str | os.PathLike[str]) -> Fit:
    """Read a fit written by `save_fit`; no code in the file is run.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        If there is no such file, if it is not a fit, or if a newer version of ldvae wrote it.
    """
    path = checks.path("path", path)
    if not Path(path).is_file():
        raise ValueError(f"`path` must be a file written by save_fit, and there is none at {path!r}.")
    try:
        with safe_open(path, framework="np") as f:
            meta = f.metadata() or {}
            if meta.get("kind") != "ldvae fit":
                raise ValueError(f"{path!r} is not a fit: it was not written by save_fit.")
            if int(meta["schema"]) > _SCHEMA:
                raise ValueError(f"{path!r} was written by a newer ldvae; update this one to open it.")
            tensors = {k: f.get_tensor(k) for k in f.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path!r} is not a fit or is damaged ({error}).") from None
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in _GROUPS}
    for name, value in tensors.items():
        group, _, key = name.partition(".")
        if group in groups:
            groups[group][key] = value
    names = {name: np.array(json.loads(tensors[name].tobytes().decode()), dtype=object) for name in _NAMES}
    parts: dict[str, Any] = {**names, **{name: tensors[name] for name in _ARRAYS}, **groups}
    return Fit(config=Config(**json.loads(meta["config"])), info=json.loads(meta["info"]), **parts)
