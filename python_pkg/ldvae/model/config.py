"""What is fitted, as plain data, and which settings there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from ..counts.design import Category, Covariate, covariate_of

__all__ = ["CHOICES", "LIKELIHOODS", "MOST", "Config", "is_valid"]

LIKELIHOODS = ("nb", "zinb", "poisson")

# What `Config` may say in words.
CHOICES: dict[str, tuple[str, ...]] = {
    "gene_likelihood": tuple(LIKELIHOODS),
    "latent_distribution": ("normal", "ln"),
    "decoder": ("linear", "nonlinear"),
    "loadings_prior": ("ard", "none"),
    "encoder": ("ldvae", "relative", "scvi", "given"),
    "lib_size": ("observed", "latent"),
    "layer_norm": ("none", "encoder", "decoder", "both"),
}

# The largest whole numbers that anybody would mean, and those that can be addressed.
MOST = {"n_latent": 1000, "n_layers": 20}
_LARGEST = {"n_genes": 2**31, "n_hidden": 2**31} | MOST


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
    gene_symbols: str | None = None  # column of `var` with the names of genes
    batch_key: str | None = None
    size_factor_key: str | None = None
    size_factor_scale: float | None = None
    covariates: list[Covariate] = field(default_factory=list)
    encoder: str = "ldvae"  # see `LDVAE`
    input_scale: float = 1.0  # library size to which a "relative" encoder brings all cells
    use_rep: str | None = None  # where "given" positions are
    lib_size: str = "observed"  # "latent" there, if library sizes came from an encoder
    layer_norm: str = "none"  # and which hidden layers were normalised in each cell

    @property
    def n_design(self) -> int:
        """Columns of the design matrix."""
        return sum(c.width for c in self.covariates)

    @property
    def batch(self) -> Category | None:
        """The registered batches, if there are any."""
        return next((c for c in self.covariates if isinstance(c, Category) and c.key == self.batch_key), None)

    @property
    def batch_columns(self) -> slice:
        """Columns of the design matrix that are the batch's."""
        before = list(takewhile(lambda c: c.key != self.batch_key, self.covariates))
        start = sum(c.width for c in before)
        return slice(start, start + (self.batch.width if self.batch else 0))

    @staticmethod
    def of(plain: Mapping[str, Any]) -> Config:
        """The settings that `dataclasses.asdict` took apart."""
        return Config(**{**plain, "covariates": [covariate_of(c) for c in plain["covariates"]]})


def is_valid(c: Config) -> bool:
    """Whether these are settings that a fit can have (those of a file may be anything)."""
    words = (c.layer, c.gene_symbols, c.batch_key, c.size_factor_key, c.use_rep)
    return (
        all(type(getattr(c, name)) is int and 1 <= getattr(c, name) <= most for name, most in _LARGEST.items())
        and all(getattr(c, name) in choices for name, choices in CHOICES.items())
        and all(word is None or isinstance(word, str) for word in words)
        and isinstance(c.closed, bool)
        and _is_number(c.dropout_rate)
        and _is_number(c.input_scale)
        and (c.size_factor_scale is None or _is_number(c.size_factor_scale))
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
