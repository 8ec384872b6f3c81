"""The public function that writes what a fit says about the populations of some cells on one page."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from . import checks, plots, plots_groups, questions, results
from .counts import Labels, read_cells, read_labels, read_values
from .files import replacing
from .fit import Fit, check_fit
from .page import Section, page, paragraph, picture, table
from .posterior import read_data
from .version import VERSION

__all__ = ["write_report"]

_PACKAGES = ("torch", "numpy", "scipy", "pandas", "anndata", "matplotlib")
_PROGRAM = ["population", "program", "called", "share", "ratio_to_reference", "padj", "n_cells", "n_genes"]
_CHANGE = ["group1", "group2", "gene", "lfc_mean", "lfc_lower", "lfc_upper", "proba_de", "lfsr", "raw_mean1"]


def write_report(
    fit: Fit,
    adata: Any,
    *,
    groupby: str,
    path: Any,
    key: str | None = None,
    sample_key: str | None = None,
    embedding: Any = None,
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
    read_data(fit, adata)  # what is wrong with the cells is no lack of an answer
    if sample_key is not None:
        read_labels(adata, sample_key, "sample_key")
    asked = _Asked(
        fit, adata, groupby, read_labels(adata, groupby, "groupby"), key,
        None if key is None else read_values(adata, key, "key"), sample_key, _coordinates(embedding, adata),
        checks.integer("n_genes", n_genes, 1), checks.integer("seed", seed, 0, 2**32 - 1),
    )  # fmt: skip
    with replacing(path, "report") as file:
        training = _training(asked)  # first, since it needs no time to find that matplotlib is missing
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            sections = _sections(asked)
        for warning in caught:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        said = list(dict.fromkeys(str(w.message) for w in caught if w.category is UserWarning))
        lead = f"{len(asked.labels.codes):,} cells in {len(asked.labels.levels)} populations of '{groupby}'. {fit!r}."
        whole = page(f"ldvae: {groupby}", lead, [*sections, training, _settings(asked, said)])
        file.write_text(whole, encoding="utf-8")


@dataclass(frozen=True)
class _Asked:
    """What the report is about."""

    fit: Fit
    adata: Any
    groupby: str
    labels: Labels
    key: str | None
    values: Any
    sample_key: str | None
    embedding: np.ndarray | None
    n_genes: int
    seed: int

    def programs(self, function: Callable[..., pd.DataFrame], kind: str) -> pd.DataFrame:
        return function(
            self.fit, self.adata, groupby=self.groupby, kind=kind, sample_key=self.sample_key, seed=self.seed
        )

    def changes(self, groupby: str, **more: Any) -> pd.DataFrame:
        return questions.differential_expression(
            self.fit, self.adata, groupby=groupby, sample_key=self.sample_key, seed=self.seed, **more
        )

    def association(self, key: str, within: str | None = None) -> pd.DataFrame:
        return questions.associate_factors(self.fit, self.adata, key=key, sample_key=self.sample_key, within=within)


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


def _sections(asked: _Asked) -> list[Section]:
    units = (
        f"Samples of '{asked.sample_key}' are the unit."
        if asked.sample_key
        else "Without `sample_key` the unit is the cell: intervals and probabilities speak of other cells of the same "
        "samples, not of other donors or animals."
    )
    clusters = (
        "If the populations were found by clustering these counts, they differ by construction and this is too sure."
    )
    sections = [
        Section(
            "What sets each population apart",
            f"Log2 difference of mean expression from the average of the other populations. {units} {clusters}",
            _answer(_between, asked),
        ),
        Section(
            "What varies inside each population",
            "Programs that vary from cell to cell, shared ones included, measured on cells that did not teach them. "
            "The two ends of a program are told apart by sign only. A program that is not called may still exist: "
            "a few hundred cells and five genes are needed to see one.",
            _answer(_inside, asked, "within"),
        ),
        Section(
            "What varies in one population only",
            "Programs that vary here and, with less than half of the variance, in any other population. Trust those "
            "that are called; the others are listed with what was found.",
            _answer(_inside, asked, "specific"),
        ),
        Section(
            "Differential expression, each population against the rest",
            "The expected share of false calls is 5 %. A gene that changes as most genes do (composition, depth) "
            f"is not called. {units} {clusters}",
            _answer(_changes, asked, asked.groupby),
        ),
        Section(
            "Factors of all cells",
            "Directions of one model of all cells; the training never saw the populations. Order, sign and rotation "
            "are conventions. Read genes with lfsr below 0.05, and only active factors.",
            _answer(_factors, asked),
        ),
    ]
    if asked.key is not None:
        sections.append(
            Section(f"What goes with '{asked.key}'", f"Inside each population. {units}", _answer(_condition, asked))
        )
    return sections


def _answer(ask: Callable[..., list[str]], *arguments: Any) -> list[str]:
    """What a section shows, or the sentence with which the question was refused."""
    try:
        return ask(*arguments)
    except ValueError as error:
        return [paragraph(f"Not answered for these cells: {error}")]


def _between(asked: _Asked) -> list[str]:
    loadings = asked.programs(questions.population_loadings, "between")
    programs = asked.programs(questions.population_programs, "between")
    sure = loadings[loadings["lfsr"] < 0.05].drop(columns=["kind", "program", "rank"])
    return [
        table(programs[["population", "n_cells", "n_genes", "top_up", "top_down"]]),
        picture(plots.plot_programs(loadings, programs), "Genes that set each population apart, with 95 % intervals"),
        table(results.top_genes(sure, n=asked.n_genes)),
    ]


def _inside(asked: _Asked, kind: str) -> list[str]:
    loadings = asked.programs(questions.population_loadings, kind)
    programs = asked.programs(questions.population_programs, kind)
    where: dict[str, Any] = {}
    if kind == "specific" and asked.embedding is not None and programs["called"].any():
        where = {"scores": asked.programs(questions.get_program_scores, kind), "embedding": asked.embedding}
    columns = [c for c in _PROGRAM if not programs[c].isna().all()]
    return [
        table(programs[[*columns, "top_up", "top_down"]]),
        picture(
            plots.plot_programs(loadings, programs, **where), f"Genes of each program ({kind}), with 95 % intervals"
        ),
        table(_strongest(loadings, asked.n_genes)),
    ]


def _strongest(loadings: pd.DataFrame, n: int) -> pd.DataFrame:
    return loadings.loc[loadings["rank"] <= n, ["population", "program", "rank", "gene", "loading", "std", "lfsr"]]


def _changes(asked: _Asked, groupby: str, **more: Any) -> list[str]:
    de = asked.changes(groupby, **more)
    key = ["within", "group1", "group2"]
    called = de[de["is_de"]].sort_values("lfc_mean", key=np.abs, ascending=False, kind="stable")
    called = called.groupby(key, sort=False).head(asked.n_genes).sort_values(key, kind="stable")
    figure = plots_groups.plot_differential_expression(de)
    return [
        picture(getattr(figure, "figure", figure), "Volcano plots: log2 fold change against how sure its sign is"),
        table(called[(["within"] if more else []) + [*_CHANGE, "raw_mean2"]]),
    ]


def _heat_map(association: pd.DataFrame) -> str:
    figure = plots_groups.plot_association(association)
    return picture(getattr(figure, "figure", figure), "Heat map of the effect of each factor")


def _factors(asked: _Asked) -> list[str]:
    factors, loadings = results.get_factors(asked.fit), results.get_loadings(asked.fit)
    active = factors.loc[factors["active"], "factor"].tolist()
    top = results.top_genes(loadings[["gene", *active]], n=asked.n_genes)
    genes = top.groupby("factor", sort=False)["gene"].agg(", ".join)
    return [
        table(factors[factors["active"]].drop(columns="active").assign(genes=genes.reindex(active).tolist())),
        picture(plots.plot_loadings(loadings, factors=active[:12]), "Strongest genes of the first factors"),
        paragraph("Which factors go with which populations:"),
        _heat_map(asked.association(asked.groupby)),
    ]


def _condition(asked: _Asked) -> list[str]:
    key, levels = str(asked.key), asked.values.levels if isinstance(asked.values, Labels) else []
    association = asked.association(key, within=asked.groupby)
    columns = ["within", "level", "factor", "unit", "effect", "std", "padj", "auc", "n_cells", "n_samples"]
    body = [_heat_map(association), table(association.loc[association["padj"] < 0.05, columns])]
    if levels:  # of two levels one comparison says all
        body += _changes(asked, key, within=asked.groupby, group1=levels[1:] if len(levels) == 2 else None)
    return body


def _training(asked: _Asked) -> Section:
    history, info = results.get_history(asked.fit), asked.fit.info
    figure = plots.plot_history(history).figure
    said = {"early": "stopped early", "finished": "ran to its end", "interrupted": "was interrupted"}
    if "best_epoch" not in info:
        return Section("Training", f"The model was {info['stopped']}.", [picture(figure, "ELBO by epoch")])
    trust = f"Training {said[info['stopped']]} after {len(history)} epochs; the weights are those of epoch "
    trust += f"{info['best_epoch']}."
    if info["stopped"] != "early" and info["best_epoch"] == len(history) and len(history) > 1:
        trust += " The last epoch was the best: a longer training (`max_epochs`) may fit better."
    return Section("Training", trust, [picture(figure, "ELBO and KL divergence by epoch")])


def _settings(asked: _Asked, said: list[str]) -> Section:
    given = {k: getattr(asked, k) for k in ("groupby", "key", "sample_key", "n_genes", "seed")}
    rows = [("report", k, v) for k, v in given.items()]
    rows += [("fit", k, v) for k, v in (asdict(asked.fit.config) | asked.fit.info).items()]
    installed = {"ldvae": VERSION, "Python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
    rows += [("versions of this report", k, v) for k, v in installed.items()]
    rows.append(("report", "written", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")))
    shown = pd.DataFrame([(a, b, "–" if c is None else str(c)) for a, b, c in rows], columns=["of", "setting", "value"])
    trust = "With the same settings, versions, device and threads the numbers come out the same."
    return Section("Settings, versions and warnings", trust, [table(shown), *map(paragraph, said)])
