"""The public function that writes what a fit says about the populations of some cells on one page."""

from __future__ import annotations

import platform
import warnings
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from .. import checks
from ..counts.labels import read_cells, read_labels, read_values
from ..fit.cells import read_data
from ..fit.questions import get_history
from ..fit.record import Fit, check_fit
from ..machine.files import replacing
from ..plots.fits import plot_history
from ..version import VERSION
from .page import Section, page, paragraph, picture, table
from .sections import Asked, answers

__all__ = ["write_report"]

_PACKAGES = ("torch", "numpy", "scipy", "pandas", "anndata", "matplotlib")


def write_report(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    path: Any,
    key: str | None = None,
    sample_key: str | None = None,
    embedding: Any = None,
    layer: str | None = None,
    n_genes: int = 10,
    seed: int = 0,
) -> None:
    """Write one HTML page with what the fit says about each population: tables, figures, parameters, what to trust.

    The page holds all it needs and opens in any browser without network. It takes minutes rather than seconds on large
    data, since it asks every question of the package once. Where one has no answer (for instance too few cells), the
    page says why.

    Parameters
    ----------
    fit
        The fit.
    adata
        Cells with counts of the fit's genes; they need not be the training cells.
    groupby
        Column of `adata.obs` with the populations.
    path
        The file, such as "report.html"; an existing one is replaced.
    key
        Column of `adata.obs` with a treatment or another annotation, to look at inside each population.
    sample_key
        Column of `adata.obs` with the biological samples (donors), which then are the unit of all comparisons.
    embedding
        Coordinates of the cells (cells × 2), such as a UMAP, to draw the activity of programs over.
    layer
        The layer of `adata` with the counts: "X" for `adata.X`, "raw" for `adata.raw`; where the fit took them if None.
    n_genes
        Genes to list of each population, factor and comparison.
    seed
        Of the questions, as in each of them.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError, ValueError
        One sentence on the argument that is wrong.
    OSError
        If the file cannot be written.
    """
    fit = check_fit(fit)
    read_data(fit, adata, layer)  # what is wrong with the cells is no lack of an answer
    if sample_key is not None:
        read_labels(adata, sample_key, "sample_key")
    asked = Asked(
        fit, adata, groupby, read_labels(adata, groupby, "groupby"), key,
        None if key is None else read_values(adata, key, "key"), sample_key, layer, _coordinates(embedding, adata),
        checks.integer("n_genes", n_genes, 1), checks.integer("seed", seed, 0, 2**32 - 1),
    )  # fmt: skip
    with replacing(path, "report") as file:
        training = _training(asked)  # first, since it needs no time to find that matplotlib is missing
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            found = answers(asked)
        for warning in caught:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        said = list(dict.fromkeys(str(w.message) for w in caught if w.category in (UserWarning, checks.Note)))
        lead = f"{len(asked.labels.codes):,} cells in {len(asked.labels.levels)} populations of '{groupby}'. {fit!r}."
        whole = page(f"ldvae: {groupby}", lead, [*found, training, _settings(asked, said)])
        file.write_text(whole, encoding="utf-8")


def _coordinates(embedding: Any, adata: Any) -> np.ndarray | None:
    if embedding is None:
        return None
    n, at = len(read_cells(adata)), np.asarray(embedding)
    if at.dtype.kind not in "fiu" or at.ndim != 2 or at.shape[1] < 2 or len(at) != n:
        raise ValueError(
            f"`embedding` must have two numbers for each of the {n} cells of `adata`, not the shape {at.shape} of type "
            f"{at.dtype}."
        )
    return at


def _training(asked: Asked) -> Section:
    history, info = get_history(asked.fit), asked.fit.info
    figure = plot_history(history).figure
    said = {"early": "stopped early", "finished": "ran to its end", "interrupted": "was interrupted"}
    if "best_epoch" not in info:
        return Section("Training", f"The model was {info['stopped']}.", [picture(figure, "ELBO by epoch")])
    trust = f"Training {said[info['stopped']]} after {len(history)} epochs; the weights are those of epoch "
    trust += f"{info['best_epoch']}."
    if info["stopped"] != "early" and info["best_epoch"] == len(history) and len(history) > 1:
        trust += " The last epoch was the best: a longer training (`max_epochs`) may fit better."
    return Section("Training", trust, [picture(figure, "ELBO and KL divergence by epoch")])


def _settings(asked: Asked, said: list[str]) -> Section:
    given = {k: getattr(asked, k) for k in ("groupby", "key", "sample_key", "layer", "n_genes", "seed")}
    rows = [("report", k, v) for k, v in given.items()]
    rows += [("fit", k, v) for k, v in (asdict(asked.fit.config) | asked.fit.info).items()]
    installed = {"ldvae": VERSION, "Python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
    rows += [("versions of this report", k, v) for k, v in installed.items()]
    rows.append(("report", "written", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")))
    shown = pd.DataFrame([(a, b, "–" if c is None else str(c)) for a, b, c in rows], columns=["of", "setting", "value"])
    trust = "With the same settings, versions, device and threads the numbers come out the same."
    return Section("Settings, versions and warnings", trust, [table(shown), *map(paragraph, said)])
