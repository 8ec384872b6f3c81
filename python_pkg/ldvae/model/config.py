"""What is fitted, as plain data, and which settings there are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CHOICES", "LIKELIHOODS", "Config", "is_valid"]

LIKELIHOODS = ("nb", "zinb", "poisson")

# What `Config` may say in words.
CHOICES: dict[str, tuple[str, ...]] = {
    "gene_likelihood": tuple(LIKELIHOODS),
    "latent_distribution": ("normal", "ln"),
    "decoder": ("linear", "nonlinear"),
    "loadings_prior": ("ard", "none"),
    "encoder": ("ldvae", "scvi"),
    "lib_size": ("observed", "latent"),
}


@dataclass(frozen=True)
class Config:
    """Everything that defines a fit, as plain data."""

    n_genes: int
    n_latent: int = 30
    n_hidden: int = 128
    n_layers: int = 1
    dropout_rate: float = 0.1
    gene_likelihood: str = "nb"
    latent_distribution: str = "normal"
    decoder: str = "linear"
    loadings_prior: str = "ard"
    closed: bool = True
    layer: str | None = None
    batch_key: str | None = None
    size_factor_key: str | None = None
    size_factor_scale: float | None = None
    covariates: list[dict[str, Any]] = field(default_factory=list)
    encoder: str = "ldvae"  # "scvi" where the weights are those of a model of scvi-tools
    lib_size: str = "observed"  # "latent" there, if library sizes came from an encoder

    @property
    def n_design(self) -> int:
        """Columns of the design matrix."""
        return sum(len(c["levels"]) if "levels" in c else 1 for c in self.covariates)


def is_valid(c: Config) -> bool:
    """Whether these are settings that a fit can have (those of a file may be anything)."""
    whole = {"n_genes": 2**31, "n_latent": 1000, "n_hidden": 2**31, "n_layers": 20}
    words = (c.layer, c.batch_key, c.size_factor_key)
    return (
        all(type(getattr(c, name)) is int and 1 <= getattr(c, name) <= most for name, most in whole.items())
        and all(getattr(c, name) in choices for name, choices in CHOICES.items())
        and all(word is None or isinstance(word, str) for word in words)
        and isinstance(c.closed, bool)
        and _is_number(c.dropout_rate)
        and (c.size_factor_scale is None or _is_number(c.size_factor_scale))
        and isinstance(c.covariates, list)
        and all(_is_covariate(column) for column in c.covariates)
    )


def _is_covariate(column: Any) -> bool:
    if not isinstance(column, dict) or not isinstance(column.get("key"), str):
        return False
    if set(column) == {"key", "mean", "std"}:
        return _is_number(column["mean"]) and _is_number(column["std"]) and column["std"] > 0
    levels, share = column.get("levels"), column.get("share")
    return (
        set(column) == {"key", "levels", "share"}
        and isinstance(levels, list)
        and isinstance(share, list)
        and len(levels) == len(share) > 0
        and all(isinstance(level, str) for level in levels)
        and all(_is_number(value) for value in share)
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
