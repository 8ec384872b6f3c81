"""The public function that trains: one LDVAE for all cells."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from .. import checks
from ..counts.design import Covariate, design_matrix, read_covariates
from ..counts.labels import Labels, read_labels
from ..counts.minibatches import SparseCounts
from ..counts.reader import Counts, read_counts
from ..machine.device import pick_device
from ..machine.memory import need_memory
from ..machine.processes import Ranks, join
from ..machine.signals import terminated_gently
from ..machine.sparse import sums_of_rows
from ..model.config import CHOICES, MOST, Config
from ..model.schedule import Schedule, schedule_for, training_bytes
from ..model.training import Trained, train
from ..version import VERSION
from .factors import factors_of
from .posterior import encode
from .record import Fit

__all__ = ["fit_ldvae"]

_COUNTS = 10.0  # with which a batch starts as all cells are: few counts say little


@torch.inference_mode(False)  # gradients, whatever the user turned off or an interrupt left off
def fit_ldvae(
    adata: Any,
    *,
    genes: Any = None,
    gene_symbols: str | None = None,
    batch_key: str | None = None,
    covariate_keys: Any = (),
    size_factor_key: str | None = None,
    layer: str | None = None,
    n_latent: int = 30,
    n_hidden: int = 128,
    n_layers: int = 1,
    dropout_rate: float = 0.1,
    gene_likelihood: str = "nb",
    latent_distribution: str = "normal",
    decoder: str = "linear",
    loadings_prior: str = "ard",
    max_epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 1e-2,
    validation_size: float = 0.1,
    early_stopping: bool = True,
    measure_factors: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Fit:
    """Fit one linearly decoded variational autoencoder (LDVAE) to all cells.

    Labels are never used; every population is looked at afterwards, with the functions that take the fit.

    Parameters
    ----------
    adata
        Raw counts, cells × genes, in `X` or in `layer`; sparse or dense, any dtype, in memory, or backed by
        an .h5ad file or a zarr store. Not changed. Corrected counts with fractions (SoupX, CellBender, RSEM) are
        rounded, with a message. Where `adata.var["feature_types"]` tells genes from other features (antibodies, peaks),
        only genes take part.
    genes
        Genes to model: names, or a boolean column of `adata.var` such as "highly_variable". Library sizes come from all
        genes of the object.
    gene_symbols
        Column of `adata.var` with the names of genes, such as CELLxGENE's "feature_name", in place of the index: here,
        in every table and picture, and in the cells that the fit is asked about. What has no symbol keeps its name,
        symbols that are there twice get theirs appended.
    batch_key, covariate_keys
        Columns of `adata.obs` whose effect on each gene is taken out of the factors: a categorical batch, and any
        categorical or numeric covariates.
    size_factor_key
        Column of `adata.obs` with size factors to use in place of total counts.
    layer
        Layer that holds the counts: `X` if None or "X", those of `adata.raw` if "raw".
    n_latent
        Upper bound on the number of factors; those the data do not support are reported as inactive.
    n_hidden, n_layers, dropout_rate
        Width, depth and dropout of the encoder (and of a non-linear decoder, without dropout).
    gene_likelihood
        "nb" (negative binomial), "zinb" (with excess zeros, one probability per gene) or "poisson".
    latent_distribution
        "normal", or "ln": logistic normal, so that the latent of a cell sums to one.
    decoder
        "linear", or "nonlinear": scVI's, whose loadings are the best linear approximation.
    loadings_prior
        "ard": loadings have a posterior, with a normal prior per factor whose width is learnt; "none": loadings are
        points.
    max_epochs, batch_size, learning_rate
        Length and pace of training; by default set from the number of cells.
    validation_size
        Share of cells held out to choose the best epoch.
    early_stopping
        End when the held-out ELBO has not improved for a fifth of `max_epochs`.
    measure_factors
        Measure factors and loadings on cells and genes that did not teach them (see `get_factors`); otherwise they are
        read off the decoder, which costs no time and on real counts takes chance for factors.
    checkpoint
        File that keeps the state of training; if it exists, training continues from it.
    seed
        Same seed, device and threads: same numbers.
    device
        "auto" (CUDA if there is one), "cpu", "cuda" or "cuda:0".
    progress
        Show a progress bar (in a terminal only).

    Returns
    -------
    Fit
        Plain data: see `save_fit` and the `get_` functions.

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.
    RuntimeError
        If training diverges.

    References
    ----------
    Svensson, Gayoso, Yosef & Pachter (2020), Interpretable factor models of single-cell RNA-seq via variational
    autoencoders. Bioinformatics 36(11).
    """
    checkpoint, where = checks.optional(checks.new_file, "checkpoint", checkpoint), pick_device(device)
    ranks = join(where, checkpoint)
    counts = read_counts(
        adata, layer=layer, genes=genes, gene_symbols=gene_symbols, size_factor_key=size_factor_key, ranks=ranks
    )
    config = _config(
        counts,
        read_covariates(adata, batch_key, covariate_keys),
        layer=layer,
        gene_symbols=gene_symbols,
        batch_key=batch_key,
        size_factor_key=size_factor_key,
        dropout_rate=checks.number("dropout_rate", dropout_rate, 0, 1, high_open=True),
        sizes={"n_latent": n_latent, "n_hidden": n_hidden, "n_layers": n_layers},
        choices={
            "gene_likelihood": gene_likelihood,
            "latent_distribution": latent_distribution,
            "decoder": decoder,
            "loadings_prior": loadings_prior,
        },
    )
    seed = checks.integer("seed", seed, 0, 2**32 - 1)
    held = checks.number("validation_size", validation_size, 0, 0.9)
    early_stopping, measure_factors, progress = (
        checks.boolean(name, value)
        for name, value in (
            ("early_stopping", early_stopping), ("measure_factors", measure_factors), ("progress", progress),
        )
    )  # fmt: skip
    schedule = _schedule(config, len(counts.cells), held, batch_size, max_epochs, learning_rate)
    ranks.same(config, counts.genes, schedule, held, early_stopping, seed, checkpoint is None)

    design = design_matrix(adata, config.covariates)
    batch = None if batch_key is None else read_labels(adata, batch_key, "batch_key")
    mean_expression, design_effect = _start(counts, config, batch, ranks)
    data = SparseCounts(counts.matrix, counts.lib_size, design, where, ranks)
    with terminated_gently() as termination:
        trained = train(
            config,
            data,
            schedule,
            mean_expression=mean_expression,
            design_effect=design_effect,
            validation_size=held,
            early_stopping=early_stopping,
            seed=seed,
            checkpoint=checkpoint,
            progress=progress,
        )
        info = {"version": VERSION, "device": str(where), "seed": seed}
        info |= {"stopped": trained.stopped, "best_epoch": trained.best_epoch}
        info |= {"batch_size": schedule.batch_size, "max_epochs": schedule.max_epochs}
        return _named(trained, counts, data, info, measure_factors and not termination.came, progress)


def _config(
    counts: Counts, covariates: list[Covariate], *, sizes: dict[str, Any], choices: dict[str, Any], **others: Any
) -> Config:
    """The settings of a fit, those in numbers and words checked."""
    checked: dict[str, Any] = {name: checks.integer(name, value, 1, MOST.get(name)) for name, value in sizes.items()}
    checked |= {name: checks.choice(name, value, CHOICES[name]) for name, value in choices.items()}
    return Config(
        n_genes=len(counts.genes),
        closed=counts.closed,
        encoder="relative",
        input_scale=float(np.median(counts.lib_size)),
        size_factor_scale=counts.size_factor_scale,
        covariates=covariates,
        **checked,
        **others,
    )


def _schedule(
    config: Config, n_cells: int, validation_size: float, batch_size: Any, max_epochs: Any, learning_rate: Any
) -> Schedule:
    """How to train on what is not held out, if there are cells and memory for it."""
    n_training = n_cells - round(validation_size * n_cells)
    if n_training < 3:
        raise ValueError(
            f"`adata` must have more cells to train on than {n_training}; lower `validation_size` or add cells."
        )
    schedule = schedule_for(
        n_training,
        checks.optional(checks.integer, "batch_size", batch_size, 2),
        checks.optional(checks.integer, "max_epochs", max_epochs, 1, 1_000_000),
        checks.number("learning_rate", learning_rate, 0, 1, low_open=True),
    )
    need_memory(
        f"{config.n_genes:,} genes, `n_hidden` {config.n_hidden:,} and `batch_size` {schedule.batch_size:,}",
        training_bytes(config, schedule),
        "lower them",
    )
    return schedule


def _start(counts: Counts, config: Config, batch: Labels | None, ranks: Ranks) -> tuple[np.ndarray, np.ndarray]:
    """Where training starts: share of the library per gene, and what each batch has beyond it (design × genes, log).

    Batches that start alike are first told apart by factors, and a short training does not take that back.
    """
    codes, n_levels = (np.zeros(len(counts.cells), int), 1) if batch is None else (batch.codes, len(batch.levels))
    member = codes[:, None] == np.arange(n_levels)
    count = ranks.sum(sums_of_rows(counts.matrix, member))
    mean = (count.sum(0) + 0.1) / counts.lib_size.sum()
    effect = np.zeros((config.n_design, len(mean)))
    if batch is not None:
        expected = (member.T @ counts.lib_size)[:, None] * mean
        effect[config.batch_columns] = np.log((count + _COUNTS) / (expected + _COUNTS))
    return mean, effect


def _named(
    trained: Trained, counts: Counts, data: SparseCounts, info: dict[str, Any], measure: bool, progress: bool
) -> Fit:
    """The fit: posterior of the cells and factors from the trained model, with names."""
    mean, variance = encode(trained.model, data)
    model, design = trained.model.cpu(), data.design.cpu().numpy()
    try:
        factors = factors_of(
            model, counts.matrix, counts.lib_size, design, mean, variance,
            measure=measure, seed=info["seed"], ranks=data.ranks, progress=progress,
        )  # fmt: skip
    except KeyboardInterrupt:
        if data.ranks.n > 1:
            raise
        factors = factors_of(model, counts.matrix, counts.lib_size, design, mean, variance, measure=False)
        checks.warn("Measuring the factors was interrupted: they are those of the decoder.")
    return Fit(
        config=model.config,
        genes=counts.genes,
        cells=counts.cells,
        lib_size=counts.lib_size,
        weights={k: v.numpy() for k, v in model.state_dict().items()},
        latent_mean=mean,
        latent_variance=variance,
        history=trained.history,
        factors=factors,
        info=info,
    )
