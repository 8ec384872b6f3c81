"""The public functions: each parses its arguments, computes, names the result and returns a table or a fit."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import torch

from . import checks
from .contributions import contributions
from .counts import read_counts
from .data import SparseCounts, design_columns, design_matrix
from .differential import compare
from .distributions import LIKELIHOODS
from .factors import describe_factors
from .fit import Fit, load_fit, save_fit
from .groups import plan_comparisons
from .model import Config
from .posterior import encode, latent_moments, read_data, rebuild
from .tables import factor_names, table, wide
from .train import pick_device, schedule_for, train

__all__ = [
    "differential_contributions", "differential_expression", "fit_ldvae", "get_factors", "get_history", "get_latent",
    "get_loadings", "get_loadings_uncertainty", "load_fit", "save_fit", "top_genes",
]  # fmt: skip


def fit_ldvae(
    adata: Any,
    *,
    genes: Any = None,
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
    learning_rate: float = 5e-3,
    validation_size: float = 0.1,
    early_stopping: bool = True,
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
        Raw counts, cells × genes, in `X` or in `layer`; sparse or dense, any dtype, in memory or backed. Not changed.
    genes
        Genes to model: names, or a boolean column of `adata.var` such as "highly_variable". Library sizes come from all.
    batch_key, covariate_keys
        Columns of `adata.obs` whose effect on each gene is taken out of the factors: a categorical batch, and any
        categorical or numeric covariates.
    size_factor_key
        Column of `adata.obs` with size factors to use in place of total counts.
    layer
        Layer that holds the counts.
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
        "ard": loadings have a posterior, with a normal prior per factor whose width is learnt; "none": loadings are points.
    max_epochs, batch_size, learning_rate
        Length and pace of training; by default set from the number of cells.
    validation_size
        Share of cells held out to choose the best epoch.
    early_stopping
        End when the held-out ELBO has not improved for a fifth of `max_epochs`.
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
    counts = read_counts(adata, layer=layer, genes=genes, size_factor_key=size_factor_key)
    covariates = design_columns(adata, batch_key, covariate_keys)
    config = Config(
        n_genes=len(counts.genes),
        n_latent=checks.integer("n_latent", n_latent, 1, 1000),
        n_hidden=checks.integer("n_hidden", n_hidden, 1),
        n_layers=checks.integer("n_layers", n_layers, 1, 20),
        dropout_rate=checks.number("dropout_rate", dropout_rate, 0, 1, high_open=True),
        gene_likelihood=checks.choice("gene_likelihood", gene_likelihood, LIKELIHOODS),
        latent_distribution=checks.choice("latent_distribution", latent_distribution, ("normal", "ln")),
        decoder=checks.choice("decoder", decoder, ("linear", "nonlinear")),
        loadings_prior=checks.choice("loadings_prior", loadings_prior, ("ard", "none")),
        closed=counts.closed,
        layer=layer,
        batch_key=batch_key,
        size_factor_key=size_factor_key,
        covariates=covariates,
    )
    seed = checks.integer("seed", seed, 0, 2**32 - 1)
    held = checks.number("validation_size", validation_size, 0, 0.9)
    n_training = len(counts.cells) - round(held * len(counts.cells))
    if n_training < 3:
        raise ValueError(f"`adata` must have more cells to train on than {n_training}; lower `validation_size` or add cells.")
    schedule = schedule_for(
        n_training,
        checks.optional(checks.integer, "batch_size", batch_size, 2),
        checks.optional(checks.integer, "max_epochs", max_epochs, 1),
        checks.number("learning_rate", learning_rate, 0, 1, low_open=True),
    )
    data = SparseCounts(counts.matrix, counts.library, design_matrix(adata, covariates), pick_device(device))
    trained = train(
        config,
        data,
        schedule,
        mean_expression=(np.asarray(counts.matrix.sum(axis=0, dtype=np.float64)).ravel() + 0.1) / counts.library.sum(),
        validation_size=held,
        early_stopping=checks.boolean("early_stopping", early_stopping),
        seed=seed,
        checkpoint=checkpoint,
        progress=checks.boolean("progress", progress),
    )
    mean, variance = encode(trained.model, data)
    model = trained.model.cpu()
    if data.device.type != "cpu":
        data = SparseCounts(counts.matrix, counts.library, design_matrix(adata, covariates), torch.device("cpu"))
    return Fit(
        config=config,
        genes=counts.genes,
        cells=counts.cells,
        library=counts.library,
        weights={k: v.numpy() for k, v in model.state_dict().items()},
        latent_mean=mean,
        latent_variance=variance,
        history=trained.history,
        factors=describe_factors(model, data, mean, variance),
        info={
            "version": _version(),
            "device": str(pick_device(device)),
            "seed": seed,
            "stopped": trained.stopped,
            "best_epoch": trained.best_epoch,
            "batch_size": schedule.batch_size,
            "max_epochs": schedule.max_epochs,
        },
    )


def get_history(fit: Fit) -> pd.DataFrame:
    """How training went: `epoch, elbo_train, elbo_validation, reconstruction, kl` (nats per cell, KL weight 1)."""
    return table("history", _fit(fit).history)


def get_latent(fit: Fit, adata: Any = None) -> pd.DataFrame:
    """Score of every cell on every canonical factor: `cell, Z_1 ... Z_K` (mean 0, variance 1 over the training cells).

    The variance counts the posterior's, so the standard deviation of the scores themselves is below 1 by as much
    as the counts leave open.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells to encode; the training cells if None. Genes are aligned by name.
    """
    fit = _fit(fit)
    model = rebuild(fit)
    if adata is None:
        cells, mean, variance = fit.cells, fit.latent_mean, fit.latent_variance
    else:
        data = read_data(fit, adata)
        cells, mean, variance = data.counts.cells, data.mean, data.variance
    z, _ = latent_moments(model, mean, variance)
    scores = (z - fit.factors["center"]) @ fit.factors["rotation"]
    return wide("cell", cells, factor_names(scores.shape[1]), scores)


def get_loadings(fit: Fit) -> pd.DataFrame:
    """Loadings of every gene: `gene, Z_1 ... Z_K`, in log2 units of expression per standard deviation of the factor.

    Canonical basis: centred over genes, varimax-rotated, ordered by variance explained, signed by the heavier tail.
    """
    fit = _fit(fit)
    return wide("gene", fit.genes, factor_names(fit.config.n_latent), fit.factors["loadings"])


def get_loadings_uncertainty(fit: Fit) -> pd.DataFrame:
    """Loadings of the active factors with their uncertainty: `gene, factor, loading, std, lfsr` (long).

    `std` is the posterior standard deviation given the cells' positions; `lfsr` the local false sign rate, the
    probability that the loading has the other sign or is zero (Stephens 2017).
    """
    fit = _fit(fit)
    active = np.flatnonzero(fit.factors["active"])
    names = np.array(factor_names(fit.config.n_latent), dtype=object)[active]
    columns = {k: fit.factors[source][:, active].T.ravel() for k, source in _UNCERTAINTY.items()}
    return table(
        "loadings_uncertainty",
        {"gene": np.tile(fit.genes, len(active)), "factor": np.repeat(names, len(fit.genes)), **columns},
    )


_UNCERTAINTY = {"loading": "loadings", "std": "loadings_std", "lfsr": "loadings_lfsr"}


def get_factors(fit: Fit) -> pd.DataFrame:
    """One row per factor: `factor, variance_explained, kl, n_genes, active`, ordered by variance explained.

    `variance_explained` is the share of the modelled variance of centred log expression, `kl` the nats that a cell's
    counts tell about its score, `n_genes` the number of loadings with lfsr below 0.05. Inactive factors come last.
    """
    fit = _fit(fit)
    columns = {k: fit.factors[k] for k in ("variance_explained", "kl", "active")}
    n_genes = (fit.factors["loadings_lfsr"] < 0.05).sum(0)
    return table("factors", {"factor": factor_names(fit.config.n_latent), "n_genes": n_genes, **columns})


def top_genes(loadings: pd.DataFrame, *, n: int = 10) -> pd.DataFrame:
    """The strongest rows of a loadings table: the `n` largest in absolute value of each factor or program.

    Parameters
    ----------
    loadings
        A table of `get_loadings`, `get_loadings_uncertainty` or `population_loadings`.
    n
        Rows per factor or program.

    Returns
    -------
    DataFrame
        The same columns (a wide table becomes `gene, factor, loading`), strongest first.
    """
    n = checks.integer("n", n, 1)
    if not isinstance(loadings, pd.DataFrame) or "gene" not in loadings:
        raise TypeError("`loadings` must be a table of get_loadings, get_loadings_uncertainty or population_loadings.")
    if "loading" not in loadings:
        loadings = loadings.melt("gene", var_name="factor", value_name="loading")
    keys = [c for c in ("population", "kind", "program", "factor") if c in loadings]
    order = loadings["loading"].abs().sort_values(ascending=False, kind="stable").index
    first = loadings.loc[order].groupby(keys, sort=False).head(n)
    position = {key: i for i, key in enumerate(loadings[keys].drop_duplicates().itertuples(index=False, name=None))}
    rank = [position[key] for key in first[keys].itertuples(index=False, name=None)]
    return first.iloc[np.argsort(rank, kind="stable")].reset_index(drop=True)


def differential_expression(
    fit: Fit,
    adata: Any,
    *,
    groupby: str | None = None,
    group1: Any = None,
    group2: str | None = None,
    cells1: Any = None,
    cells2: Any = None,
    estimand: str = "mean",
    sample_key: str | None = None,
    within: str | None = None,
    delta: float = 0.25,
    batch_correction: bool = True,
    fdr_target: float = 0.05,
    n_samples: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Differential expression between groups of cells: log2 fold change of every gene, and what is known about it.

    ``estimand="mean"`` compares the mean expression of the two groups, as a share of the library: the model takes
    batches and depth out, the counts correct it wherever it fits badly, and each gene's estimate is shrunk towards the
    change of most genes by as much as all genes together ask for. Its probabilities speak of other cells of the same
    samples. Cells of one sample are alike and so no replicates: for claims about conditions give `sample_key`, and
    samples become the unit.

    ``estimand="cell"`` is scvi-tools' `change` mode, which compares a random cell of one group with one of the other;
    its probability says how different single cells are and does not tend to 0 or 1 with more cells (about .4 for two
    halves of one population).

    Groups found by clustering the same counts differ by construction: their probabilities are too optimistic. Of groups
    (samples, batches) with more than 5,000 cells the model decodes a random 5,000; raw counts are those of all cells.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes; they need not be the training cells.
    groupby
        Column of `adata.obs` with the groups; cells without a label take no part.
    group1, group2
        One level or several, each compared with `group2`: another level, or all other labelled cells if None;
        "pairwise" compares every two levels (of `group1`, if given). With both None, every level against the rest.
    cells1, cells2
        In place of groups, two sets of cells: boolean masks or names; `cells2` is all other cells if None.
    estimand
        "mean" or "cell".
    sample_key
        Column of `adata.obs` with the biological replicates (at least two per group, of at least five cells). If most
        samples have cells of both groups, they are compared within samples.
    within
        Column of `adata.obs`: the comparisons are made in each of its levels separately.
    delta
        Log2 fold change that is large enough to matter.
    batch_correction
        Compare expression at the average of the registered batches, not in the batches where the cells were found.
    fdr_target
        Expected share of false calls among `is_de`, in each comparison.
    n_samples
        Pairs of cells drawn for ``estimand="cell"``.
    seed
        Of the draws.

    Returns
    -------
    DataFrame
        One row per comparison and gene. `within, gene, group1, group2`; `proba_de`, probability of a change beyond
        `delta` in one direction; `is_de`, the call; `lfsr`, probability that the sign of the change is wrong or that it
        is that of most genes; `bayes_factor`, natural log odds of `proba_de`; `lfc_mean, lfc_median, lfc_std,
        lfc_lower, lfc_upper`, posterior of the log2 fold change (95 % interval); `mean1, mean2`, estimated expression
        per 10,000; `raw_mean1, raw_mean2`, mean counts per 10,000 of the library; `detected1, detected2`, share of
        cells with a count. Genes with fewer than 10 counts, or counts in fewer than 5 cells, in both groups are not tested
        (NaN, not called).

    Raises
    ------
    TypeError, ValueError
        One sentence on the argument that is wrong.

    References
    ----------
    Stephens (2017), False discovery rates: a new deal. Biostatistics 18(2). Boyeau et al. (2023), An empirical Bayes
    method for differential expression analysis of single cells with deep generative models. PNAS 120(21).
    """
    fit = _fit(fit)
    checks.choice("estimand", estimand, ("mean", "cell"))
    if estimand == "cell" and sample_key is not None:
        raise ValueError("`sample_key` needs estimand='mean': pairs of cells have no samples to compare.")
    plan = plan_comparisons(
        adata, groupby=groupby, group1=group1, group2=group2, cells1=cells1, cells2=cells2, sample_key=sample_key,
        within=within, n_genes=len(fit.genes),
    )  # fmt: skip
    columns = compare(
        fit,
        adata,
        read_data(fit, adata),
        plan,
        estimand=estimand,
        delta=checks.number("delta", delta, 0),
        batch_correction=checks.boolean("batch_correction", batch_correction),
        fdr_target=checks.number("fdr_target", fdr_target, 0, 1),
        n_samples=checks.integer("n_samples", n_samples, 2),
        seed=checks.integer("seed", seed, 0, 2**32 - 1),
    )
    return table("differential_expression", columns)


def differential_contributions(
    fit: Fit, adata: Any, *, groupby: str, group1: Any, group2: str | None = None
) -> pd.DataFrame:
    """Split the change of log expression between groups into what each factor contributes.

    A factor contributes its loading times the difference of the groups' mean scores; with a non-linear decoder, the
    gradient integrated along the straight line between the groups. What belongs to no factor is the row `remainder`:
    with a linear decoder the change of the normaliser (one constant for all genes), else also the curvature of the
    decoder.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes.
    groupby, group1, group2
        As in `differential_expression`.

    Returns
    -------
    DataFrame
        `gene, group1, group2, factor, contribution, jensen_gap`, long, in log2 units. The contributions of a gene sum
        to the model's difference in the mean of log2 expression; `jensen_gap` (the same in all rows of a gene) is what
        the log2 ratio of mean expression has beyond that, because groups differ in their spread.

    References
    ----------
    Sundararajan, Taly & Yan (2017), Axiomatic attribution for deep networks. ICML.
    """
    fit = _fit(fit)
    names = [*factor_names(fit.config.n_latent), "remainder"]
    n_rows = len(fit.genes) * len(names)
    plan = plan_comparisons(adata, groupby=groupby, group1=group1, group2=group2, n_genes=n_rows // 4)
    found = contributions(fit, read_data(fit, adata), plan)
    n, n_genes = len(plan.comparisons), len(fit.genes)
    repeat = {k: np.repeat([getattr(c, k) for c in plan.comparisons], n_rows) for k in ("group1", "group2")}
    return table(
        "contributions",
        {
            "gene": np.tile(fit.genes, n * len(names)),
            **repeat,
            "factor": np.tile(np.repeat(names, n_genes), n),
            "contribution": np.concatenate([values.ravel() for values, _ in found]),
            "jensen_gap": np.concatenate([np.tile(gap, len(names)) for _, gap in found]),
        },
    )


def _fit(fit: Any) -> Fit:
    if not isinstance(fit, Fit):
        raise TypeError(f"`fit` must be a Fit (from fit_ldvae or load_fit), not a {type(fit).__name__}.")
    return fit


def _version() -> str:
    from importlib.metadata import version

    return version("ldvae")
