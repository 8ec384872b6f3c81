"""A model trained by scvi-tools becomes a `Fit`; its weights are read by `scvi_weights`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import checks
from ..counts.labels import read_cells
from ..counts.reader import read_counts
from ..model.config import LIKELIHOODS, Config
from ..version import VERSION
from . import scvi_weights
from .cells import read_data
from .factors import factors_of
from .posterior import rebuild
from .record import Fit

__all__ = ["from_scvi"]

_LAYERS = {"Linear", "BatchNorm1d", "LayerNorm", "ReLU", "Dropout", "Softmax", "Identity"}


def from_scvi(model: Any, adata: Any = None, *, measure_factors: bool = True, seed: int = 0) -> Fit:
    """A fit from a trained model of scvi-tools: every function of ldvae works on it, nothing is trained again.

    Decoded expression, latent posterior and library sizes are those of the model, linear or not. What is ours are the
    factors of its latent: which directions disjoint halves of the genes confirm in cells that taught nothing, which
    genes make each and how surely (see `get_factors`). Excess zeros of
    `gene_likelihood="zinb"`, which scvi-tools lets depend on the cell, become one probability per gene that keeps its
    expected total count. A dispersion for each gene and batch becomes the gene's average one.

    Parameters
    ----------
    model
        A trained `scvi.model.LinearSCVI`, `scvi.model.SCVI` or `scvi.model.SCANVI`, also after surgery with
        `load_query_data`, or the folder in which one was saved. Loading a folder is scvi-tools' own `load`, which runs
        code from the file: only open what you trust.
    adata
        The cells it was trained on, with their counts; by default those that the model holds or that were saved with
        it. Not changed.
    measure_factors
        As in `fit_ldvae`; otherwise factors are read off the decoder, with the positions of the cells taken as known.
    seed
        Of what is drawn to measure the factors.

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
    kinds = (scvi.model.LinearSCVI, scvi.model.SCVI, scvi.model.SCANVI)
    if isinstance(model, str | os.PathLike):
        model = _load(Path(model), adata, {kind.__name__: kind for kind in kinds})
    if not isinstance(model, kinds):
        raise TypeError(
            "`model` must be a trained scvi.model.LinearSCVI, scvi.model.SCVI or scvi.model.SCANVI, or the folder of a "
            f"saved one, not a {type(model).__name__}."
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
        layer_norm=_layer_norm(module),
        history=_history(model.history or {}),
        measure=checks.boolean("measure_factors", measure_factors),
        seed=checks.integer("seed", seed, 0, 2**32 - 1),
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
        raise TypeError(f"`model` must be a saved LinearSCVI, SCVI or SCANVI, and {str(folder)!r} holds a {name}.")
    if adata is not None:
        # scvi-tools writes into the object that it loads with; two cells build the model, or one for each label
        labels = registry["field_registries"].get("labels", {}).get("state_registry", {})
        levels = labels.get("categorical_mapping", [0])
        some = adata[: max(2, len(levels))]
        adata = some.to_memory() if adata.isbacked else some.copy()
        if labels.get("original_key") and name == "SCANVI":
            adata.obs[labels["original_key"]] = np.resize(levels, adata.n_obs)
        genes = _genes(registry).tolist()
        read_counts(adata, genes=genes, layer=registry["setup_args"].get("layer"))  # are they there?
        adata = adata[:, genes].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of these two cells
        return kinds[name].load(str(folder), adata=adata, accelerator="cpu")


def _genes(registry: Mapping[str, Any]) -> np.ndarray:
    names = registry["field_registries"]["X"]["state_registry"]["column_names"]
    return np.array([str(name) for name in names], dtype=object)


def _check_module(module: Any) -> None:
    encoders = (module.z_encoder, module.l_encoder)
    used = [m for part in (*encoders, module.decoder) for m in part.modules()]  # not what tells labels (SCANVI)
    leaves = {type(m).__name__ for m in used if not list(m.children())}
    plain = all(e.var_activation is torch.exp and e.var_eps == 1e-4 for e in encoders)
    likelihood = module.gene_likelihood
    for wrong, found, remedy in [
        (module.use_size_factor_key, "a size_factor_key", "its own library sizes"),
        (module.dispersion not in ("gene", "gene-batch"), f"dispersion={module.dispersion!r}", "dispersion='gene'"),
        (likelihood not in LIKELIHOODS, f"gene_likelihood={likelihood!r}", "gene_likelihood='nb'"),
        (module.batch_representation != "one-hot", "an embedding of batches", "batch_representation='one-hot'"),
        (not module.log_variational, "log_variational=False", "log_variational=True"),
        (not plain, "a variance of its own in the encoder", "the default var_activation and var_eps"),
        (leaves - _LAYERS, f"layers of kind {', '.join(sorted(leaves - _LAYERS))}", "the default layers"),
    ]:
        if wrong:
            raise ValueError(f"`model` was trained with {found}, which ldvae does not have; train it with {remedy}.")


def _layer_norm(module: Any) -> str:
    """In which parts hidden layers are normalised in each cell."""
    parts = {"encoder": module.z_encoder, "decoder": module.decoder}
    found = [name for name, part in parts.items() if any(type(m).__name__ == "LayerNorm" for m in part.modules())]
    return "both" if len(found) == 2 else found[0] if found else "none"


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
    measure: bool,
    seed: int,
    layer_norm: str = "none",
) -> Fit:
    """The fit, from the parameters of a module of scvi-tools and what it registered of its data."""
    setup, fields = registry["setup_args"], registry["field_registries"]
    batch_key = setup.get("batch_key")
    genes = _genes(registry)
    covariates, design = scvi_weights.covariates(fields, batch_key, adata)
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
        layer_norm=layer_norm,
    )
    weights = scvi_weights.initial(config) | scvi_weights.encoder(state, config, design)
    weights |= scvi_weights.decoder(state, config, design, "scale")
    weights["log_dispersion"] = scvi_weights.log_dispersion(state["px_r"], config)
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
        dropout = scvi_weights.decoder(state, config, design, "dropout")
        excess = fit.weights | {name: value.astype(np.float32) for name, value in dropout.items()}
        fit.weights["zero_logit"] = scvi_weights.zero_logit(rebuild(fit), rebuild(replace(fit, weights=excess)), cells)
    c = cells.counts
    factors = factors_of(
        rebuild(fit), c.matrix, c.lib_size, cells.design, cells.mean, cells.variance, measure=measure, seed=seed
    )
    return replace(
        fit,
        cells=cells.counts.cells,
        lib_size=cells.counts.lib_size,
        latent_mean=cells.mean,
        latent_variance=cells.variance,
        factors=factors,
    )
