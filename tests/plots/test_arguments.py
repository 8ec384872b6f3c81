"""Wrong tables and arguments get a sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ldvae.plots.comparisons import plot_association, plot_differential_expression
from ldvae.plots.fits import plot_history, plot_loadings
from ldvae.plots.program_map import plot_program_map
from ldvae.plots.programs import plot_programs
from pictures import (
    NAMES,
    association_table,
    contributions_table,
    de_table,
    history_table,
    loadings_table,
    map_table,
    message,
    program_tables,
    score_tables,
)
from support import child


def test_contributions_that_do_not_belong_to_the_volcano_are_refused() -> None:
    de = de_table(2)
    contributions = contributions_table(de)
    gene = de.loc[de["is_de"], "gene"].iloc[0]

    def refused(contributions: object, de: pd.DataFrame = de, **kwargs: object) -> str:
        return message(plot_differential_expression, de, contributions=contributions, **kwargs)

    assert refused(de) == (
        "`contributions` must be the table that `differential_contributions` returns, but it lacks the columns "
        "'factor', 'contribution'."
    )
    assert refused(contributions[contributions["group1"] == NAMES[0]], n_labels=1).endswith(
        f" for '{NAMES[1]}' over 'rest': ask `differential_contributions` for the same groups with the same fit."
    )
    dropped = contributions[(contributions["gene"] != gene) | (contributions["factor"] != "Z_3")]
    assert refused(dropped, n_labels=len(de)).startswith(f"`contributions` lacks '{gene}' for '{NAMES[0]}' over 'rest'")
    assert refused(pd.concat([contributions] * 2)) == (
        f"`contributions` has '{NAMES[0]}' over 'rest' more than once: take the table of one call."
    )
    assert refused(contributions, pd.concat([de.assign(within="day 1"), de.assign(within="day 2")])) == (
        "`contributions` are those of one set of cells, but `de` has several populations in `within`: draw one at a "
        "time."
    )
    assert refused(contributions, n_labels=0) == "`n_labels` must be a whole number of at least 1, not 0."
    assert refused(contributions, de[de["group1"] == NAMES[0]], ax=Figure().add_subplot()) == (
        "`ax` holds the volcano alone: leave out `ax` or `contributions`."
    )


def test_wrong_tables_are_refused_with_the_function_they_come_from() -> None:
    loadings, programs = program_tables(6)
    assert message(plot_history, history_table().drop(columns=["kl", "elbo_train"])) == (
        "`history` must be the table that `get_history` returns, but it lacks the columns 'elbo_train', 'kl'."
    )
    assert message(plot_history, history_table().head(0)) == (
        "`history` must be the table that `get_history` returns, but it has no rows."
    )
    assert message(plot_loadings, [1, 2]) == (
        "`loadings` must be the table that `get_loadings` returns, but it is a list."
    )
    assert message(plot_loadings, loadings) == (
        "`loadings` must be the table that `get_loadings` returns, but it lacks the column 'Z_1'."
    )
    assert "`population_loadings` returns, but it lacks the column" in message(
        plot_programs, loadings_table(), programs
    )
    assert "`population_programs` returns, but it lacks the column" in message(plot_programs, loadings, loadings)
    assert message(plot_program_map, programs) == (
        "`program_map` must be the table that `get_program_map` returns, but it lacks the column 'active'."
    )
    assert "`differential_expression` returns" in message(plot_differential_expression, programs)
    assert "`associate_factors` returns" in message(plot_association, programs)


def test_wrong_arguments_are_refused() -> None:
    loadings, programs = program_tables(6)
    scores, at = score_tables(programs)
    assert message(plot_loadings, loadings_table(3), factors="Z_7") == (
        "`factors` names 'Z_7', but the table has 'Z_1', 'Z_2', 'Z_3'."
    )
    assert message(plot_programs, loadings, programs, populations=["T"]).startswith("`populations` names 'T', but")
    assert message(plot_programs, loadings, programs, scores=scores) == (
        "`scores` and `embedding` must be given together, or neither."
    )
    assert message(plot_programs, loadings, programs, scores=scores, embedding=at[:5]) == (
        "`embedding` must have one row of two coordinates for each of the 900 cells of `scores`, not the shape (5, 2)."
    )
    assert "`get_program_scores` returns, but it lacks the column" in message(
        plot_programs, loadings, programs, scores=scores.iloc[:, :2], embedding=at
    )
    assert message(plot_programs, loadings[loadings["population"] != NAMES[0]], programs) == (
        f"`loadings` has no genes for program 'program_1' of '{NAMES[0]}': take `loadings` and `programs` from calls "
        "with the same arguments."
    )
    both = map_table(2, 3)
    assert message(plot_program_map, both, populations="T") == (
        f"`populations` names 'T', but the table has '{NAMES[0]}', '{NAMES[1]}'."
    )
    assert message(plot_program_map, both, programs="program_9").startswith("`programs` names 'program_9', but the")
    assert message(plot_program_map, both, max_programs=0).startswith("`max_programs` must be a whole number of at")
    assert message(plot_program_map, pd.concat([both, both])) == (
        f"`program_map` has program 'program_1' of '{NAMES[0]}' more than once: take the table of one call."
    )
    assert message(plot_differential_expression, de_table(2), group1="T").startswith(
        "`group1` names 'T', but the table"
    )
    axes = Figure().add_subplot()
    assert message(plot_differential_expression, de_table(2), ax=axes) == (
        "`ax` holds one comparison, but there are 2: choose `group1` and `group2`."
    )
    pair = de_table(2).assign(group2=lambda t: np.where(t["group1"] == NAMES[0], "x", "y"))
    assert message(plot_differential_expression, pair, group1=NAMES[0], group2="y") == (
        "`group2` names 'y', but the table has 'x'."
    )
    assert message(plot_association, association_table(["a"], ("x", "y")), ax=axes) == (
        "`ax` holds one facet, but the table has 2: choose one `key` and one `within`."
    )
    with pytest.raises(ValueError, match="`n_genes` must be a whole number of at least 1, not 0"):
        plot_loadings(loadings_table(), n_genes=0)


def test_without_matplotlib_one_sentence_and_nothing_else_breaks() -> None:
    code = """
        import sys; sys.modules["matplotlib"] = None
        import pandas as pd
        from ldvae import plot_loadings
        try: plot_loadings(pd.DataFrame({"gene": ["A"], "Z_1": [1.0]}))
        except ImportError as error: print(error)
    """
    assert child(code).stdout == "Plots need matplotlib: pip install 'ldvae[plot]'.\n"
