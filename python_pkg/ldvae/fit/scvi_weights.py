"""What a module of scvi-tools has learnt and registered, in our names: batch norms folded in, covariates centred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..counts.design import Category, Covariate, Number, design_matrix
from ..model.config import Config
from ..model.link import log_expression
from ..model.network import LDVAE
from .cells import Cells

__all__ = ["covariates", "decoder", "encoder", "initial", "log_dispersion", "zero_logit"]

_EPSILON = 1e-3  # of every batch norm, theirs and ours


@dataclass(frozen=True)
class _Design:
    """Where the columns of our design stand in the input of scvi-tools' layers: raw = shift + scale * ours.

    `hot` are columns of a one-hot code (scvi-tools leaves out what has one level), `number` numeric covariates; the
    inputs come in the order numbers, then codes.
    """

    hot: np.ndarray
    number: np.ndarray
    shift: np.ndarray
    scale: np.ndarray


def covariates(fields: Mapping[str, Any], batch_key: str | None, adata: Any) -> tuple[list[Covariate], _Design]:
    """Covariates as a `Config` has them, centred over the cells of `adata`: batch, categories, numbers."""
    state = {name: field.get("state_registry", {}) for name, field in fields.items()}
    known = [(batch_key, state["batch"]["categorical_mapping"])] if batch_key is not None else []
    known += state.get("extra_categorical_covs", {}).get("mappings", {}).items()
    columns: list[Covariate] = [Category(key, [str(v) for v in levels], [0.0] * len(levels)) for key, levels in known]
    columns += [Number(str(key), 0.0, 1.0) for key in state.get("extra_continuous_covs", {}).get("columns", ())]
    raw = design_matrix(adata, columns).astype(np.float64)
    size = np.array([column.width for column in columns], dtype=int)
    number = np.array([isinstance(column, Number) for column in columns], dtype=bool).repeat(size)
    scale = np.where(number, raw.std(0), 1.0)
    scale[scale == 0] = 1.0
    shift = raw.mean(0)
    centred: list[Covariate] = []
    for column, start in zip(columns, np.cumsum([0, *size]), strict=False):
        if isinstance(column, Category):
            centred.append(replace(column, share=shift[start : start + column.width].tolist()))
        else:
            centred.append(Number(column.key, float(shift[start]), float(scale[start])))
    return centred, _Design(~number & (size.repeat(size) > 1), number, shift, scale)


def _layers(
    state: Mapping[str, np.ndarray], name: str, width: int, design: _Design
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Weights (out × in), effects of our design (out × columns) and bias of each layer, batch norm folded in."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while (at := f"{name}.fc_layers.Layer {len(found)}.") + "0.weight" in state:
        weight = state[at + "0.weight"]
        bias = state.get(at + "0.bias", np.zeros(len(weight)))
        if at + "1.running_var" in state:
            factor = state[at + "1.weight"] / np.sqrt(state[at + "1.running_var"] + _EPSILON)
            weight = weight * factor[:, None]
            bias = (bias - state[at + "1.running_mean"]) * factor + state[at + "1.bias"]
        beside, n_hot = weight[:, width:], int(design.hot.sum())
        effect = np.zeros((len(weight), len(design.hot)))
        if beside.shape[1]:  # a layer takes all of the covariates, all but the numbers, or none
            effect[:, design.hot] = beside[:, beside.shape[1] - n_hot :]
            if beside.shape[1] > n_hot:
                effect[:, design.number] = beside[:, : beside.shape[1] - n_hot]
        found.append((weight[:, :width], effect * design.scale, bias + effect @ design.shift))
        width = len(weight)
    return found


def initial(config: Config) -> dict[str, np.ndarray]:
    """All weights of the model, its batch norms without effect."""
    state = LDVAE(config, torch.Generator().manual_seed(0)).state_dict()
    return {k: np.full(v.shape, 1 - _EPSILON) if k.endswith("running_var") else v.numpy() for k, v in state.items()}


def encoder(state: Mapping[str, np.ndarray], config: Config, design: _Design) -> dict[str, np.ndarray]:
    """The encoder of z and, if there is one, that of the library size."""
    (weight, effect, bias), *deeper = _layers(state, "z_encoder.encoder", config.n_genes, design)
    found = {"input_weight": weight.T, "input_design": effect.T, "input_bias": bias}
    found |= _blocks("encoder", deeper)
    for ours, theirs in [("mean", "mean_encoder"), ("log_variance", "var_encoder")]:
        found |= {f"{ours}.{part}": state[f"z_encoder.{theirs}.{part}"] for part in ("weight", "bias")}
    if config.lib_size == "latent":
        ((weight, effect, bias),) = _layers(state, "l_encoder.encoder", config.n_genes, design)
        found |= {"lib_size_weight": weight.T, "lib_size_design": effect.T, "lib_size_bias": bias}
        for part in ("weight", "bias"):
            heads = [state[f"l_encoder.{head}.{part}"] for head in ("mean_encoder", "var_encoder")]
            found[f"lib_size_head.{part}"] = np.concatenate(heads)
    return found


def decoder(state: Mapping[str, np.ndarray], config: Config, design: _Design, head: str) -> dict[str, np.ndarray]:
    """The decoder with its head for expression ("scale") or for the logits of excess zeros ("dropout")."""
    if config.decoder == "linear":
        name = {"scale": "factor_regressor", "dropout": "px_dropout_decoder"}[head]
        ((weight, effect, bias),) = _layers(state, f"decoder.{name}", config.n_latent, design)
        return {"loadings": weight, "design_effect": effect.T, "intercept": bias}
    name = {"scale": "decoder.px_scale_decoder.0", "dropout": "decoder.px_dropout_decoder"}[head]
    layers = _layers(state, "decoder.px_decoder", config.n_latent, design)
    return {**_blocks("hidden", layers), "loadings": state[f"{name}.weight"], "intercept": state[f"{name}.bias"]}


def log_dispersion(px_r: np.ndarray, config: Config) -> np.ndarray:
    """Log inverse dispersion of each gene; of one per batch, the average of the dispersions by the batches' shares."""
    if px_r.ndim == 1:
        return px_r
    share = np.ones(1) if config.batch is None else np.asarray(config.batch.share)
    return np.asarray(-np.log(np.exp(-px_r) @ share))


def _blocks(name: str, layers: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for i, (weight, effect, bias) in enumerate(layers):
        found |= {f"{name}.{i}.0.weight": np.concatenate([weight, effect], 1), f"{name}.{i}.0.bias": bias}
    return found


@torch.no_grad()
def zero_logit(model: LDVAE, excess: LDVAE, cells: Cells) -> np.ndarray:
    """One logit of an excess zero per gene, which leaves the expected total count of the training cells as it was.

    `excess` decodes to the logits of each cell and gene.
    """
    z, library = torch.from_numpy(cells.mean), torch.from_numpy(cells.counts.lib_size)
    design = torch.from_numpy(cells.design)
    all_counts, kept = torch.zeros(model.config.n_genes), torch.zeros(model.config.n_genes)
    for rows in torch.arange(len(z)).split(1024):
        position = model.latent(z[rows])
        mu = log_expression(model.decode(position, design[rows]), closed=True).exp() * library[rows, None]
        all_counts += mu.sum(0)
        kept += (mu * torch.sigmoid(-excess.decode(position, design[rows]))).sum(0)
    return (-torch.logit(kept / all_counts, eps=1e-6)).float().numpy()
