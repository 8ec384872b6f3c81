"""A model trained by scvi-tools becomes a `Fit`: its weights in our names, batch norms folded in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .counts import read_cells, read_counts
from .data import SparseCounts, design_matrix
from .distributions import LIKELIHOODS, log_expression
from .factors import describe_factors
from .fit import Fit
from .model import LDVAE, Config
from .posterior import Cells, read_data, rebuild
from .version import VERSION

__all__ = ["from_scvi"]

_EPSILON = 1e-3  # of every batch norm, theirs and ours
_LAYERS = {"Linear", "BatchNorm1d", "ReLU", "Dropout", "Softmax"}


def from_scvi(model: Any, adata: Any = None) -> Fit:
    """A fit from a trained model of scvi-tools: every function of ldvae works on it, nothing is trained again.

    Decoded expression, latent posterior and library sizes are those of the model. Loadings are points in scvi-tools, so
    their uncertainty comes from the information in the counts alone, with a flat prior. Excess zeros of
    `gene_likelihood="zinb"`, which scvi-tools lets depend on the cell, become one probability per gene that keeps its
    expected total count.

    Parameters
    ----------
    model
        A trained `scvi.model.LinearSCVI` or `scvi.model.SCVI`, or the folder in which one was saved. Loading a folder
        is scvi-tools' own `load`, which runs code from the file: only open what you trust.
    adata
        The cells it was trained on, with their counts; by default those that the model holds or that were saved with
        it. Not changed.

    Returns
    -------
    Fit
        Plain data, independent of scvi-tools: save it with `save_fit`.

    Raises
    ------
    ImportError
        If scvi-tools is not installed.
    TypeError, ValueError
        One sentence on what the model has that ldvae does not.
    """
    try:
        import scvi
    except ImportError:
        raise ImportError("from_scvi needs scvi-tools, which is not installed: pip install scvi-tools.") from None
    if adata is not None:
        read_cells(adata)  # before anything is loaded: is it an AnnData?
    kinds = (scvi.model.LinearSCVI, scvi.model.SCVI)
    if isinstance(model, str | os.PathLike):
        model = _load(Path(model), adata, {kind.__name__: kind for kind in kinds})
    if not isinstance(model, kinds):
        raise TypeError(
            "`model` must be a trained scvi.model.LinearSCVI or scvi.model.SCVI, or the folder of a saved one, "
            f"not a {type(model).__name__}."
        )
    if not model.is_trained_:
        raise ValueError("`model` must be trained: call its train() first.")
    if adata is None:
        adata = model.adata
        kept = getattr(model, "minified_data_type", None)  # LinearSCVI has had it since scvi-tools 1.4
        if adata is None or str(kept) == "latent_posterior_parameters":
            raise ValueError("`model` holds no counts: give the cells it was trained on as `adata`.")
    module = model.module
    _check_module(module)
    return _fit(
        {name: value.detach().cpu().double().numpy() for name, value in module.state_dict().items()},
        model.registry_,
        adata,
        gene_likelihood=module.gene_likelihood,
        latent_distribution=module.latent_distribution,
        history=_history(model.history or {}),
    )


def _load(folder: Path, adata: Any, kinds: Mapping[str, Any]) -> Any:
    """The model saved in a folder, on the CPU."""
    if not (folder / "model.pt").is_file():
        raise ValueError(f"`model` must be the folder of a saved model, and {str(folder)!r} holds no model.pt.")
    if adata is None and not (folder / "adata.h5ad").is_file():
        raise ValueError(f"{str(folder)!r} was saved without its cells: give those it was trained on as `adata`.")
    registry = next(iter(kinds.values())).load_registry(str(folder))
    name = registry["model_name"]
    if name not in kinds:
        raise TypeError(f"`model` must be a saved LinearSCVI or SCVI, and {str(folder)!r} holds a {name}.")
    if adata is not None:
        # scvi-tools writes into the object that it loads with; two cells are enough to build the model
        adata = adata[:2].to_memory() if adata.isbacked else adata[:2].copy()
        genes = _genes(registry).tolist()
        read_counts(adata, genes=genes, layer=registry["setup_args"].get("layer"))  # are they there?
        adata = adata[:, genes].copy()
    return kinds[name].load(str(folder), adata=adata, accelerator="cpu")


def _genes(registry: Mapping[str, Any]) -> np.ndarray:
    names = registry["field_registries"]["X"]["state_registry"]["column_names"]
    return np.array([str(name) for name in names], dtype=object)


def _check_module(module: Any) -> None:
    leaves = {type(m).__name__ for m in module.modules() if not list(m.children())}
    encoders = (module.z_encoder, module.l_encoder)
    plain = all(e.var_activation is torch.exp and e.var_eps == 1e-4 for e in encoders)
    likelihood = module.gene_likelihood
    for wrong, found, remedy in [
        (module.use_size_factor_key, "a size_factor_key", "its own library sizes"),
        (module.dispersion != "gene", f"dispersion={module.dispersion!r}", "dispersion='gene'"),
        (likelihood not in LIKELIHOODS, f"gene_likelihood={likelihood!r}", "gene_likelihood='nb'"),
        (module.batch_representation != "one-hot", "an embedding of batches", "batch_representation='one-hot'"),
        (not module.log_variational, "log_variational=False", "log_variational=True"),
        (not plain, "a variance of its own in the encoder", "the default var_activation and var_eps"),
        (leaves - _LAYERS, f"layers of kind {', '.join(sorted(leaves - _LAYERS))}", "the default layers"),
    ]:
        if wrong:
            raise ValueError(f"`model` was trained with {found}, which ldvae does not have; train it with {remedy}.")


def _history(frames: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Our columns from scvi-tools' losses: one frame each, indexed by epoch, whose sign is the other one."""
    epochs = frames["elbo_train"].index if "elbo_train" in frames else np.arange(0)
    found: dict[str, np.ndarray] = {"epoch": np.arange(1, len(epochs) + 1)}
    for ours, theirs, sign in [
        ("elbo_train", "elbo_train", -1),
        ("elbo_validation", "elbo_validation", -1),
        ("reconstruction", "reconstruction_loss_train", -1),
        ("kl", "kl_local_train", 1),
    ]:
        values = frames[theirs].iloc[:, 0].reindex(epochs) if theirs in frames else np.full(len(epochs), np.nan)
        found[ours] = sign * np.asarray(values, np.float64)
    return found


def _fit(
    state: Mapping[str, np.ndarray],
    registry: Mapping[str, Any],
    adata: Any,
    *,
    gene_likelihood: str,
    latent_distribution: str,
    history: dict[str, np.ndarray],
) -> Fit:
    """The fit, from the parameters of a module of scvi-tools and what it registered of its data."""
    setup, fields = registry["setup_args"], registry["field_registries"]
    batch_key = setup.get("batch_key")
    genes = _genes(registry)
    covariates, design = _covariates(fields, batch_key, adata)
    n_latent, n_hidden = state["z_encoder.mean_encoder.weight"].shape
    linear = "decoder.factor_regressor.fc_layers.Layer 0.0.weight" in state
    config = Config(
        n_genes=len(genes),
        n_latent=n_latent,
        n_hidden=n_hidden,
        n_layers=sum(name.startswith("z_encoder.encoder.") and name.endswith(".0.weight") for name in state),
        dropout_rate=0.0,
        gene_likelihood=gene_likelihood,
        latent_distribution=latent_distribution,
        decoder="linear" if linear else "nonlinear",
        loadings_prior="none",
        layer=setup.get("layer"),
        batch_key=batch_key,
        covariates=covariates,
        encoder="scvi",
        lib_size="latent" if "library_log_means" in state else "observed",
    )
    weights = _initial(config) | _encoder(state, config, design) | _decoder(state, config, design, "scale")
    weights["log_dispersion"] = state["px_r"]
    fit = Fit(
        config=config,
        genes=genes,
        cells=np.array([], dtype=object),
        lib_size=np.array([]),
        weights={name: np.asarray(v, np.float32 if v.dtype.kind == "f" else None, "C") for name, v in weights.items()},
        latent_mean=np.zeros((0, n_latent), np.float32),
        latent_variance=np.zeros((0, n_latent), np.float32),
        history=history,
        factors={},
        info={"version": VERSION, "device": "cpu", "stopped": f"trained by scvi-tools {registry['scvi_version']}"},
    )
    cells = read_data(fit, adata)
    if gene_likelihood == "zinb":
        excess = fit.weights | {k: v.astype(np.float32) for k, v in _decoder(state, config, design, "dropout").items()}
        fit.weights["zero_logit"] = _zero_logit(rebuild(fit), rebuild(replace(fit, weights=excess)), cells)
    counts = SparseCounts(cells.counts.matrix, cells.counts.lib_size, cells.design, torch.device("cpu"))
    return replace(
        fit,
        cells=cells.counts.cells,
        lib_size=cells.counts.lib_size,
        latent_mean=cells.mean,
        latent_variance=cells.variance,
        factors=describe_factors(rebuild(fit), counts, cells.mean, cells.variance),
    )


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


def _covariates(fields: Mapping[str, Any], batch_key: str | None, adata: Any) -> tuple[list[dict[str, Any]], _Design]:
    """Covariates as a `Config` has them, centred over the cells of `adata`: batch, categories, numbers."""
    state = {name: field.get("state_registry", {}) for name, field in fields.items()}
    levels = [(batch_key, state["batch"]["categorical_mapping"])] if batch_key is not None else []
    levels += state.get("extra_categorical_covs", {}).get("mappings", {}).items()
    columns: list[dict[str, Any]] = [
        {"key": key, "levels": [str(level) for level in known], "share": [0.0] * len(known)} for key, known in levels
    ]
    numbers = state.get("extra_continuous_covs", {}).get("columns", ())
    columns += [{"key": str(key), "mean": 0.0, "std": 1.0} for key in numbers]
    raw = design_matrix(adata, columns).astype(np.float64)
    size = np.array([len(column.get("levels", "1")) for column in columns], dtype=int)
    number = np.array(["levels" not in column for column in columns], dtype=bool).repeat(size)
    scale = np.where(number, raw.std(0), 1.0)
    scale[scale == 0] = 1.0
    shift = raw.mean(0)
    for column, start in zip(columns, np.cumsum([0, *size]), strict=False):
        if "levels" in column:
            column["share"] = shift[start : start + len(column["levels"])].tolist()
        else:
            column |= {"mean": float(shift[start]), "std": float(scale[start])}
    return columns, _Design(~number & (size.repeat(size) > 1), number, shift, scale)


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


def _initial(config: Config) -> dict[str, np.ndarray]:
    """All weights of the model, its batch norms without effect."""
    state = LDVAE(config, torch.Generator().manual_seed(0)).state_dict()
    return {k: np.full(v.shape, 1 - _EPSILON) if k.endswith("running_var") else v.numpy() for k, v in state.items()}


def _encoder(state: Mapping[str, np.ndarray], config: Config, design: _Design) -> dict[str, np.ndarray]:
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


def _decoder(state: Mapping[str, np.ndarray], config: Config, design: _Design, head: str) -> dict[str, np.ndarray]:
    """The decoder with its head for expression ("scale") or for the logits of excess zeros ("dropout")."""
    if config.decoder == "linear":
        name = {"scale": "factor_regressor", "dropout": "px_dropout_decoder"}[head]
        ((weight, effect, bias),) = _layers(state, f"decoder.{name}", config.n_latent, design)
        return {"loadings": weight, "design_effect": effect.T, "intercept": bias}
    name = {"scale": "decoder.px_scale_decoder.0", "dropout": "decoder.px_dropout_decoder"}[head]
    layers = _layers(state, "decoder.px_decoder", config.n_latent, design)
    return {**_blocks("hidden", layers), "loadings": state[f"{name}.weight"], "intercept": state[f"{name}.bias"]}


def _blocks(name: str, layers: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for i, (weight, effect, bias) in enumerate(layers):
        found |= {f"{name}.{i}.0.weight": np.concatenate([weight, effect], 1), f"{name}.{i}.0.bias": bias}
    return found


@torch.no_grad()
def _zero_logit(model: LDVAE, excess: LDVAE, cells: Cells) -> np.ndarray:
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
