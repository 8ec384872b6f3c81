"""The public function that puts a fit and its tables where scanpy looks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.labels import read_cells, read_labels
from ..tables import factor_names
from .cells import names_in_fit
from .questions import get_latent
from .record import Fit, check_fit

__all__ = ["add_ldvae"]


def add_ldvae(
    adata: Any,
    fit: Fit,
    *,
    scores: pd.DataFrame | None = None,
    de: pd.DataFrame | None = None,
    groupby: str | None = None,
    layer: str | None = None,
) -> Any:
    """A copy of `adata` with the fit where scanpy looks for it.

    Parameters
    ----------
    adata
        Cells with counts of the fit's genes. Not changed.
    fit
        The fit.
    scores
        A table of `get_program_scores`; its columns become columns of `obs`, for `sc.pl.umap(color=...)`. Cells that it
        lacks, as those of other populations if it is of some only, get NaN, which a message says.
    de
        A table of `differential_expression` that compares each group once, for `sc.pl.rank_genes_groups*` and
        `sc.get.rank_genes_groups_df`.
    groupby
        The column of `adata.obs` whose groups `de` compares.
    layer
        The layer of `adata` with the counts: "X" for `adata.X`, "raw" for `adata.raw`; where the fit took them if None.

    Returns
    -------
    AnnData
        With `obsm["X_ldvae"]` (positions on the active factors, for neighbours and clusters: `get_latent` with
        `embedding=True`), `varm["ldvae_loadings"]` (log2 units per SD of the factor; NaN for genes that were not
        modelled) and `uns["ldvae"]` (factors, variance explained and settings). With `de`, also
        `uns["rank_genes_groups"]`: `logfoldchanges` is `lfc_mean`, `scores` the same over its standard deviation,
        `pvals` the `lfsr`, `pvals_adj` its mean over the genes that are at least as sure (the share of false signs to
        expect among these), `pts` and `pts_rest` the shares of cells with a count.
    """
    fit = check_fit(fit)
    cells = read_cells(adata)  # a fit alone would be answered for its training cells
    if groupby is not None and de is None:
        raise ValueError("`groupby` names the groups that `de` compares, and `de` is None.")
    active = np.flatnonzero(fit.factors["active"])
    names = np.array(factor_names(fit.config.n_latent), dtype=object)[active]
    more = None if scores is None else _for_cells(pd.Series(cells), scores)
    ranked = None if de is None else _rank_genes_groups(adata, fit, de, groupby)
    latent, known = get_latent(fit, adata, embedding=True, layer=layer), pd.Index(fit.genes)
    position = known.get_indexer(pd.Index(names_in_fit(fit, adata.var)))
    out = adata.to_memory(copy=True)  # what is backed or zarr has no copy of its own
    loadings = np.where((position >= 0)[:, None], fit.factors["loadings"][position][:, active], np.nan)
    out.obsm["X_ldvae"] = latent[names.tolist()].to_numpy()
    if more is not None:
        out.obs[more.columns] = more.to_numpy()
    if ranked is not None:
        out.uns["rank_genes_groups"] = ranked
    out.varm["ldvae_loadings"] = loadings
    facts: dict[str, Any] = {k: fit.info[k] for k in ("version", "seed") if k in fit.info}
    out.uns["ldvae"] = facts | {
        "factors": names.astype(str),
        "variance_explained": fit.factors["variance_explained"][active],
        "gene_likelihood": fit.config.gene_likelihood,
        "decoder": fit.config.decoder,
    }
    return out


def _for_cells(cells: pd.Series, scores: pd.DataFrame) -> pd.DataFrame:
    if not isinstance(scores, pd.DataFrame) or "cell" not in scores:
        raise TypeError("`scores` must be the table that get_program_scores returns.")
    lacking = int((~cells.isin(scores["cell"])).sum())
    if lacking == len(cells):
        raise ValueError(f"`scores` has none of the {len(cells)} cells of `adata`.")
    if lacking:
        checks.note(f"`scores` lacks {lacking} of the {len(cells)} cells of `adata`: they get NaN.")
    return scores.set_index("cell").reindex(cells)


def _rank_genes_groups(adata: Any, fit: Fit, de: pd.DataFrame, groupby: Any) -> dict[str, Any]:
    """What `scanpy.tl.rank_genes_groups` leaves in `uns`, from a table of differential expression."""
    if not isinstance(de, pd.DataFrame) or not {"gene", "group1", "group2", "lfc_mean", "lfsr"} <= set(de):
        raise TypeError("`de` must be the table that differential_expression returns.")
    if groupby is None:
        raise ValueError("`de` needs `groupby`, the column of adata.obs whose groups it compares.")
    known, groups = read_labels(adata, groupby, "groupby").levels, list(dict.fromkeys(de["group1"]))
    unknown = [group for group in groups if group not in known]
    if unknown:
        raise ValueError(f"`de` compares {checks.shown(unknown)}, no level of {groupby!r} ({checks.shown(known)}).")
    if de["group2"].nunique() > 1 or de.duplicated(["group1", "gene"]).any():
        raise ValueError("`de` must compare each group once, and all with the same: scanpy keeps one list a group.")
    de = de.assign(scores=de["lfc_mean"] / de["lfc_std"]).sort_values("scores", ascending=False, kind="stable")
    parts = {group: de[de["group1"] == group] for group in groups}
    reference = str(de["group2"].iloc[0])
    columns = {
        "names": {group: part["gene"].to_numpy(object) for group, part in parts.items()},
        "scores": {group: part["scores"].to_numpy(np.float32) for group, part in parts.items()},
        "logfoldchanges": {group: part["lfc_mean"].to_numpy(np.float32) for group, part in parts.items()},
        "pvals": {group: part["lfsr"].to_numpy() for group, part in parts.items()},
        "pvals_adj": {group: _mean_of_surer(part["lfsr"].to_numpy()) for group, part in parts.items()},
    }
    shares = {group: part.set_index("gene").reindex(fit.genes) for group, part in parts.items()}
    return {
        "params": {
            "groupby": groupby, "reference": reference, "method": "ldvae", "use_raw": False,
            "layer": fit.config.layer, "corr_method": "s-value",
        },
        **{name: pd.DataFrame(column).to_records(index=False) for name, column in columns.items()},
        "pts": pd.DataFrame({group: share["detected1"] for group, share in shares.items()}),
        "pts_rest": pd.DataFrame({group: share["detected2"] for group, share in shares.items()}),
    }  # fmt: skip


def _mean_of_surer(lfsr: np.ndarray) -> np.ndarray:
    """Mean lfsr of the genes whose lfsr is no larger (the s-value of Stephens 2017); NaN stays NaN."""
    out, order = np.full(len(lfsr), np.nan), np.argsort(lfsr, kind="stable")[: int(np.isfinite(lfsr).sum())]
    out[order] = np.cumsum(lfsr[order]) / np.arange(1, len(order) + 1)
    return out
