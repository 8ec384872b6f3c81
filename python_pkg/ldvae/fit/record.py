"""A fit is data: settings, names, weights and results as plain arrays, saved to one file that holds no code."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import checks
from ..machine.files import DamagedFile, read_arrays, write_arrays
from ..machine.processes import is_first
from ..model.config import Config, is_valid
from ..model.network import weight_shapes

__all__ = ["ARRAYS", "GROUPS", "NAMES", "Fit", "check_fit", "load_fit", "save_fit"]

_SCHEMA = 2  # 1: factors were not measured, and the encoder saw counts as they are


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
        deviation), `rotation`, `center` (score = (z - center) @ rotation), `variance_explained`, `kl`, `active`; where
        they were measured also `reliability` and `pval`.
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

    @property
    def measured(self) -> bool:
        """Whether the factors were measured on cells and genes that did not teach them."""
        return "reliability" in self.factors

    def __repr__(self) -> str:
        c, active = self.config, int(self.factors["active"].sum())
        return (
            f"Fit of {len(self.cells):,} cells × {len(self.genes):,} genes: {active} of {c.n_latent} factors active, "
            f"{c.gene_likelihood} likelihood, {c.decoder} decoder, {len(self.history['epoch'])} epochs "
            f"on {self.info['device']} ({self.info['stopped']})"
        )


# What a fit is made of: dictionaries of arrays, arrays, names.
GROUPS = ("weights", "history", "factors")
ARRAYS = ("lib_size", "latent_mean", "latent_variance")
NAMES = ("genes", "cells")


def check_fit(fit: Any) -> Fit:
    """The argument `fit`, if it is one."""
    if not isinstance(fit, Fit):
        order = ": the fit comes first, then the cells" if hasattr(fit, "obs_names") else ""
        raise TypeError(f"`fit` must be a Fit (from fit_ldvae or load_fit), not a {type(fit).__name__}{order}.")
    return fit


def save_fit(fit: Fit, path: str | os.PathLike[str]) -> None:
    """Write a fit to one safetensors file.

    The file holds arrays and JSON, no code, and opens in Python and R on any machine. It is written beside `path` and
    then renamed, so a crash leaves the old file or the new one. Of several processes that `torchrun` started, the first
    writes.

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
    if not is_first():
        return
    tensors = {name: getattr(fit, name) for name in ARRAYS}
    tensors |= {f"{group}.{k}": v for group in GROUPS for k, v in getattr(fit, group).items()}
    tensors |= {name: np.frombuffer(json.dumps(getattr(fit, name).tolist()).encode(), np.uint8) for name in NAMES}
    meta = {
        "schema": str(_SCHEMA),
        "kind": "ldvae fit",
        "config": json.dumps(asdict(fit.config)),
        "info": json.dumps(fit.info),
    }
    write_arrays(path, tensors, meta, "fit")


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
    if not os.path.isfile(path):
        raise ValueError(f"`path` must be a file written by save_fit, and there is none at {checks.brief(path)}.")
    try:
        arrays, meta = read_arrays(path, lambda meta: _accept(path, meta))
        fit = _consistent(_assemble(arrays, meta))
    except DamagedFile as error:
        raise ValueError(f"{checks.brief(path)} is not a fit or is damaged ({error}).") from None
    except OSError as error:
        raise OSError(f"`path`: {checks.brief(path)} could not be read ({error.strerror}).") from None
    if meta["schema"] == "1":
        checks.warn(
            f"{checks.brief(path)} is of an older ldvae: its factors were read off the decoder, not measured on other "
            "cells and genes, and some may be chance; fit again to have them measured."
        )
    return fit


def _accept(path: str, meta: dict[str, str]) -> None:
    if meta.get("kind") != "ldvae fit":
        raise ValueError(f"{checks.brief(path)} is not a fit: it was not written by save_fit.")
    schema = meta.get("schema", "")
    if not schema.isdecimal() or not schema.isascii():
        raise DamagedFile("its schema is no number")
    if len(schema) > 9 or int(schema) > _SCHEMA:
        raise ValueError(f"{checks.brief(path)} was written by a newer ldvae; update this one to open it.")


def _assemble(arrays: dict[str, np.ndarray], meta: dict[str, str]) -> Fit:
    """A fit from the parts of a file, which need not fit together yet."""
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in GROUPS}
    for name, value in arrays.items():
        group, _, key = name.partition(".")
        if group in groups:
            groups[group][key] = value
        elif name not in ARRAYS + NAMES:
            raise DamagedFile(f"it has an unknown part {checks.brief(name)}")
    try:
        names = {name: np.array(_strings(json.loads(arrays[name].tobytes())), dtype=object) for name in NAMES}
        config, info = Config.of(json.loads(meta["config"])), dict(json.loads(meta["info"]))
        return Fit(config=config, info=info, **names, **{name: arrays[name] for name in ARRAYS}, **groups)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DamagedFile(f"{type(error).__name__}: {checks.brief(str(error))}") from None


def _strings(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values) or len(set(values)) < len(values):
        raise ValueError("names must be different strings")
    return values


def _consistent(fit: Fit) -> Fit:
    """The fit, if its settings are those of a model and every array has the shape and type that they ask for."""
    c, n, g, k = fit.config, len(fit.cells), len(fit.genes), fit.config.n_latent
    if not is_valid(c) or c.n_genes != g:
        raise DamagedFile("its settings are not those of a model")
    numbers = ("seed", "best_epoch", "batch_size", "max_epochs")
    if not all(type(fit.info.get(v, 0)) is int for v in numbers) or not all(
        isinstance(fit.info.get(v), str) for v in ("version", "device", "stopped")
    ):
        raise DamagedFile("it does not say how it was trained")
    rows, number = (len(fit.history.get("epoch", ())),), ("float32", "float64")
    wanted: dict[str, Any] = {"lib_size": ((n,), number), "history.epoch": (rows, ("int64",))}
    wanted |= {v: ((n, k), ("float32",)) for v in ("latent_mean", "latent_variance")}
    wanted |= {f"history.{v}": (rows, number) for v in ("elbo_train", "elbo_validation", "reconstruction", "kl")}
    wanted |= {f"factors.{v}": ((g, k), number) for v in ("loadings", "loadings_std", "loadings_lfsr")}
    wanted |= {f"factors.{v}": ((k,), number) for v in ("center", "variance_explained", "kl")}
    wanted |= {"factors.rotation": ((k, k), number), "factors.active": ((k,), ("bool",))}
    wanted |= {f"weights.{v}": (shape, (kind,)) for v, (shape, kind) in weight_shapes(c).items()}
    if fit.measured:
        wanted |= {f"factors.{v}": ((k,), number) for v in ("reliability", "pval")}
    found = {name: getattr(fit, name) for name in ARRAYS}
    found |= {f"{group}.{v}": array for group in GROUPS for v, array in getattr(fit, group).items()}
    wrong = sorted(found.keys() ^ wanted.keys())
    wrong = wrong or [
        v for v, (shape, kinds) in wanted.items() if found[v].shape != shape or found[v].dtype not in kinds
    ]
    # no ELBO without held-out cells (of other tools, perhaps none), and no uncertainty of factors that are off
    may_lack = ("history.", "factors.loadings_", "factors.reliability", "factors.pval", "factors.kl")
    wrong = wrong or [v for v in wanted if not v.startswith(may_lack) and not np.isfinite(found[v]).all()]
    if wrong:
        raise DamagedFile(f"its part {checks.brief(wrong[0])} is not that of such a model")
    return fit
