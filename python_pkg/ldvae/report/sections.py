"""What the report answers: one section for each question that the package has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..comparisons.factor_questions import associate_factors, differential_contributions
from ..comparisons.questions import differential_expression
from ..counts.labels import Labels
from ..fit.questions import get_factors, get_loadings
from ..fit.record import Fit
from ..fit.top_genes import top_genes
from ..plots.arguments import n_pages
from ..plots.comparisons import plot_association, plot_differential_expression
from ..plots.fits import plot_loadings
from ..plots.program_map import plot_program_map
from ..plots.programs import plot_programs
from ..programs.program import REST
from ..programs.questions import get_program_map, get_program_scores, population_loadings, population_programs
from ..tables import LEVEL
from .page import Section, paragraph, picture, table

__all__ = ["Asked", "answers"]

_PROGRAM = [
    "population", "program", "called", "reason", "top_up", "top_down", "share", "ratio_to_reference", "padj", "n_genes",
    "like", "share_of_samples",
]  # fmt: skip
_MAP = ["program", "population", "active", "variance", "std", "share", "padj", "n_genes"]
_CHANGE = [
    "group1", "group2", "gene", "lfc_mean", "lfc_lower", "lfc_upper", "proba_de", "lfsr", "raw_mean1", "raw_mean2",
]  # fmt: skip
_MAX_SPLIT = 3  # populations of which the report says which factors are behind the effect of `key`


@dataclass(frozen=True)
class Asked:
    """What the report is about."""

    fit: Fit
    adata: Any
    groupby: str
    labels: Labels
    key: str | None
    values: Any
    sample_key: str | None
    layer: str | None
    embedding: np.ndarray | None
    n_genes: int
    seed: int

    def programs(self, function: Callable[..., pd.DataFrame], kind: str) -> pd.DataFrame:
        """What a function on programs says of these populations."""
        return function(
            self.fit, self.adata, groupby=self.groupby, kind=kind, sample_key=self.sample_key, layer=self.layer,
            seed=self.seed,
        )  # fmt: skip

    def changes(self, groupby: str, **more: Any) -> pd.DataFrame:
        """Differential expression."""
        return differential_expression(
            self.fit, self.adata, groupby=groupby, sample_key=self.sample_key, layer=self.layer, seed=self.seed, **more
        )

    def association(self, key: str, within: str | None = None) -> pd.DataFrame:
        """Which factors go with the levels of `key`."""
        return associate_factors(
            self.fit, self.adata, key=key, sample_key=self.sample_key, within=within, layer=self.layer
        )


def answers(asked: Asked) -> list[Section]:
    """An answer to every question, or why there is none."""
    units = (
        f"Samples of '{asked.sample_key}' are the unit."
        if asked.sample_key
        else "Without `sample_key` the unit is the cell: intervals and probabilities speak of other cells of the same "
        "samples, not of other donors or animals."
    )
    clusters = (
        "If the populations were found by clustering these counts, they differ by construction and this is too sure."
    )
    found = [
        Section(
            "What sets each population apart",
            f"Log2 difference of mean expression from the average of the other populations. {units} {clusters}",
            _answer(_between, asked),
        ),
        Section(
            "What varies inside each population",
            "Programs that vary from cell to cell, shared ones included, measured on cells that did not teach them. "
            "The two ends of a program are told apart by sign only. A program that is not called may still exist: "
            "a few hundred cells and five genes are needed to see one. Like a population, with a cosine of 0.2 or "
            "more, are cells on the way to it, or wrong labels, doublets, ambient RNA.",
            _answer(_inside, asked, "within"),
        ),
        Section(
            "Where each program varies",
            "A program has one name in all populations. Its variance in a population is freed from counting noise, and "
            "measured with loadings that other cells taught; active is where it is called. The table leaves out where "
            "it does not vary for sure, which is no proof that it does not.",
            _answer(_map, asked),
        ),
        Section(
            "What varies in one population only",
            "Programs that vary here and, with less than half of the variance, in any other population. Trust those "
            "that are called; the others are listed with the reason. The ratio is that of the variances here and "
            "where it varies most otherwise.",
            _answer(_inside, asked, "specific"),
        ),
        Section(
            "Differential expression, each population against the rest",
            "The expected share of false calls is 5 %. A gene that changes as most genes do (composition, depth) "
            "is not called. Bars say which factors are behind the model's change in mean log2 expression, which is not "
            f"quite the fold change. {units} {clusters}",
            _answer(_changes, asked),
        ),
        Section(
            "Factors of all cells",
            "Directions of one model of all cells; the training never saw the populations. Order, sign and rotation "
            "are conventions. Read genes with lfsr below 0.05, and only active factors.",
            _answer(_factors, asked),
        ),
    ]
    if asked.key is not None:
        found.append(
            Section(f"What goes with '{asked.key}'", f"Inside each population. {units}", _answer(_condition, asked))
        )
    return found


def _answer(ask: Callable[..., list[str]], *arguments: Any) -> list[str]:
    """What a section shows, or the sentence with which the question was refused."""
    try:
        return ask(*arguments)
    except ValueError as error:
        return [paragraph(f"Not answered for these cells: {error}")]


def _between(asked: Asked) -> list[str]:
    loadings = asked.programs(population_loadings, "between")
    programs = asked.programs(population_programs, "between")
    sure = loadings[loadings["lfsr"] < LEVEL].drop(columns=["kind", "program", "rank"])
    return [
        table(programs[["population", "n_cells", "n_genes", "top_up", "top_down"]]),
        *_programs(loadings, programs, "Genes that set each population apart, with 95 % intervals"),
        table(top_genes(sure, n=asked.n_genes)),
    ]


def _inside(asked: Asked, kind: str) -> list[str]:
    loadings = asked.programs(population_loadings, kind)
    programs = asked.programs(population_programs, kind)
    where: dict[str, Any] = {}
    if kind == "specific" and asked.embedding is not None and programs["called"].any():
        where = {"scores": asked.programs(get_program_scores, kind), "embedding": asked.embedding}
    return [
        *_named_programs(programs),
        *_programs(loadings, programs, f"Genes of each program ({kind}), with 95 % intervals", **where),
        table(_strongest(loadings, asked.n_genes)),
    ]


def _programs(loadings: pd.DataFrame, programs: pd.DataFrame, said: str, **where: Any) -> list[str]:
    pages = range(1, n_pages(int(programs["called"].sum())) + 1)
    return [picture(plot_programs(loadings, programs, page=page, **where), said) for page in pages]


def _named_programs(programs: pd.DataFrame) -> list[str]:
    """The programs, without what is left of a population beyond them; and the populations without any."""
    pairs = zip(programs["like_population"], programs["like_cosine"], strict=True)
    programs = programs.assign(like=[f"{name} ({cosine:.2f})" if name else "" for name, cosine in pairs])
    named = programs[programs["program"] != REST]
    columns = [c for c in _PROGRAM if not (named[c].isna() | (named[c] == "")).all()]
    without = programs[~programs["population"].isin(named["population"])].groupby("reason", sort=False)["population"]
    said = [f"No program in {', '.join(names.unique())}: {reason}." for reason, names in without]
    return [table(named[columns]), *map(paragraph, said)]


def _map(asked: Asked) -> list[str]:
    found = get_program_map(
        asked.fit, asked.adata, groupby=asked.groupby, sample_key=asked.sample_key, layer=asked.layer, seed=asked.seed
    )
    drawn = picture(plot_program_map(found), "Programs and the populations in which they vary, a dot each")
    return [drawn, table(found.loc[found["padj"] < LEVEL, _MAP])]


def _strongest(loadings: pd.DataFrame, n: int) -> pd.DataFrame:
    return loadings.loc[loadings["rank"] <= n, ["population", "program", "rank", "gene", "loading", "std", "lfsr"]]


def _changes(asked: Asked) -> list[str]:
    de = asked.changes(asked.groupby)
    return [*_volcanoes(de, _split(asked, de, asked.adata, asked.groupby)), _called(de, _CHANGE, asked.n_genes)]


def _split(asked: Asked, de: pd.DataFrame, adata: Any, groupby: str) -> pd.DataFrame | None:
    """What the factors contribute to the comparisons of the groups of `adata`, if any gene was called."""
    called = de.loc[de["is_de"], "group1"].unique().tolist()
    if not called:
        return None
    return differential_contributions(
        asked.fit, adata, groupby=groupby, group1=called, sample_key=asked.sample_key, layer=asked.layer
    )


def _volcanoes(de: pd.DataFrame, contributions: pd.DataFrame | None = None) -> list[str]:
    said = "Volcano plots: log2 fold change against how sure its sign is"
    if contributions is not None:
        said += ", and which factors are behind the called genes"
    pages = range(1, n_pages(de.groupby(["within", "group1", "group2"], dropna=False).ngroups) + 1)
    drawn = [plot_differential_expression(de, contributions=contributions, page=page) for page in pages]
    return [picture(getattr(figure, "figure", figure), said) for figure in drawn]


def _called(de: pd.DataFrame, columns: list[str], n: int) -> str:
    return table(top_genes(de[de["is_de"]], n=n)[columns])


def _heat_map(association: pd.DataFrame) -> str:
    figure = plot_association(association)
    return picture(getattr(figure, "figure", figure), "Heat map of the effect of each factor")


def _factors(asked: Asked) -> list[str]:
    factors, loadings = get_factors(asked.fit), get_loadings(asked.fit)
    active = factors.loc[factors["active"], "factor"].tolist()
    top = top_genes(loadings[["gene", *active]], n=asked.n_genes)
    genes = top.groupby("factor", sort=False)["gene"].agg(", ".join)
    return [
        table(factors[factors["active"]].drop(columns="active").assign(genes=genes.reindex(active).tolist())),
        picture(plot_loadings(loadings, factors=active[:12]), "Strongest genes of the first factors"),
        paragraph("Which factors go with which populations:"),
        _heat_map(asked.association(asked.groupby)),
    ]


def _condition(asked: Asked) -> list[str]:
    key, levels = str(asked.key), asked.values.levels if isinstance(asked.values, Labels) else []
    association = asked.association(key, within=asked.groupby)
    columns = ["within", "level", "factor", "unit", "effect", "std", "padj", "auc", "n_cells", "n_samples"]
    body = [_heat_map(association), table(association.loc[association["padj"] < LEVEL, columns])]
    if levels:  # of two levels one comparison says all
        de = asked.changes(key, within=asked.groupby, group1=levels[1:] if len(levels) == 2 else None)
        most = de.loc[de["is_de"], "within"].value_counts().index[:_MAX_SPLIT].tolist()
        for name in most:
            own, cells = de[de["within"] == name], asked.adata[asked.labels.where(asked.labels.levels.index(name))]
            body += [paragraph(f"{name}:"), *_volcanoes(own, _split(asked, own, cells, key))]
        others = de[~de["within"].isin(most)]
        if len(others):
            body += [paragraph(f"{', '.join(others['within'].unique())}:"), *_volcanoes(others)]
        body.append(_called(de, ["within", *_CHANGE], asked.n_genes))
    return body
