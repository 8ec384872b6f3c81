"""Errors of the engine arrive in R as one sentence in R's words; warnings and notes as such; the session lives on."""

import ast
import re
from pathlib import Path

import pytest

from ldvae import bridge

ERRORS = [
    ("fit_ldvae(sce, n_latent = 0)", "`n_latent` must be a whole number of at least 1 and at most 1000, not 0."),
    ("fit_ldvae(sce, n_latent = 2.5)", "`n_latent` must be a whole number of at least 1 and at most 1000, not 2.5."),
    ("fit_ldvae(sce, n_latent = 'ten')",
     "`n_latent` must be a whole number of at least 1 and at most 1000, but 'ten' is a character string."),
    ("fit_ldvae(sce, n_latent = TRUE)",
     "`n_latent` must be a whole number of at least 1 and at most 1000, but TRUE is a logical."),
    ("fit_ldvae(sce, n_latent = NULL)",
     "`n_latent` must be a whole number of at least 1 and at most 1000, not NULL."),
    ("fit_ldvae(sce, n_latent = c(5, 10))",
     "`n_latent` must be a whole number of at least 1 and at most 1000, but c(5, 10) is a vector."),
    ("fit_ldvae(sce, decoder = c('linear', 'nonlinear'))",
     "`decoder` must be one of 'linear', 'nonlinear', not c('linear', 'nonlinear')."),
    ("fit_ldvae(sce, early_stopping = c(TRUE, FALSE))", "`early_stopping` must be TRUE or FALSE, not c(TRUE, FALSE)."),
    ("fit_ldvae(sce, progress = 1)", "`progress` must be TRUE or FALSE, not 1."),
    ("fit_ldvae(sce, seed = NA)", "`seed` must not be NA."),
    ("fit_ldvae(sce, learning_rate = Inf)", "`learning_rate` must be a number more than 0 and at most 1, not Inf."),
    ("fit_ldvae(sce, n_latent = mean)", "`n_latent` must be a plain value, not a function."),
    ("fit_ldvae(sce, genes = c(TRUE, FALSE))",
     "`genes` must have TRUE or FALSE for each of the 150 genes of `x`, or be names."),
    ("fit_ldvae(sce, genes = 1:3)", "`genes` must be a character vector, but 1 is a number."),
    ("fit_ldvae(sce[, 0])", "`x` must have cells and genes, but has 0 and 150."),
    ("fit_ldvae(sce, genes = 'nothing')",
     "`genes` must be a logical column of the gene data or names of genes, and 'nothing' is neither."),
    ("fit_ldvae(sce, covariate_keys = 'batch', batch_key = 'batch')",
     "`covariate_keys` must not repeat the `batch_key` 'batch'."),
    ("from_latent(sce, use_rep = 'PCA')", "`use_rep` must name a reduction of `x` (it has none), not 'PCA'."),
    ("population_loadings(fit, sce)", "`groupby` is missing, with no default."),
    ("population_loadings(fit, sce, groupby = 'population', kind = 'own')",
     "`kind` must be one of 'between', 'within', 'specific', 'deviation', not 'own'."),
    ("population_loadings(fit, sce, groupby = 'population', reference = 'B')",
     "`reference` must name populations of 'population' ('P0', 'P1', 'P2'), not 'B'."),
    ("differential_expression(fit, sce, groupby = 'population', estimand = 'cell', sample_key = 'sample')",
     "`sample_key` needs estimand = 'mean': pairs of cells have no samples to compare."),
    ("differential_expression(fit, sce, cells1 = c(TRUE, FALSE))",
     "`cells1` is a mask of 2 cells, but `x` has 500."),
    ("differential_expression(fit, sce)",
     "`groupby` must name a column of the cell data, or `cells1` some cells; both are missing."),
    ("get_expression(fit, sce, genes = 'Hbb')", "`genes` must name genes of the fit, and 1 are not: 'Hbb'."),
    ("get_latent(fit, sce, assay = 'logcounts')",
     "`assay` must name an assay of `x`, which has 'X', 'counts', not 'logcounts'."),
    ("fit_ldvae(sce, gene_symbols = 'symbol')",
     "`gene_symbols` must name a column of the gene data of `x`, which has none, not 'symbol'."),
    ("get_latent(1)", "`fit` must be a fit (from fit_ldvae or load_fit), not '1'."),
    ("write_report(fit, sce, groupby = 'population', path = 'x.html', embedding = 'UMAP')",
     "`embedding` must be coordinates, as of Embeddings(x, \"umap\") or reducedDim(x, \"UMAP\"), not 'UMAP'."),
    ("load_fit('nowhere')", "`path` must be a file written by save_fit, and there is none at 'nowhere'."),
    ("simulate_counts(null_populations = 'P9')",
     "`null_populations` must be one of 'P0', 'P1', 'P2', 'P3', not 'P9'."),
]  # fmt: skip


@pytest.mark.parametrize(("code", "message"), ERRORS)
def test_errors_are_one_sentence(session, code, message):
    assert session.error(code) == message


def test_the_session_lives_on(session):
    session.error("fit_ldvae(sce, n_latent = 0)")
    assert session("nrow(get_latent(fit))")[0] == 500


def test_warnings_are_warnings_and_notes_are_messages(session):
    session("x <- sce; x$group <- c(rep('a', 3), rep(c('unknown', 'c'), length.out = 497))")
    session("said <- NULL; say <- function(restart) function(w) { said <<- c(said, trimws(conditionMessage(w))); "
            "invokeRestart(restart) }; withCallingHandlers(invisible(population_programs(fit, x, groupby = 'group', "
            "kind = 'between')), warning = say('muffleWarning'), message = say('muffleMessage'))")  # fmt: skip
    note, warning = session.strings("said")
    assert note == "Populations with fewer than 5 cells are left out: 'a'."
    assert warning.startswith("'unknown' of 'group' count as populations")


def sentences():
    """Every text in the engine that an error or a warning may say, with `{}` for what is filled in."""
    for path in Path(bridge.__file__).parent.rglob("*.py"):
        if (
            path.stem in ("from_scvi", "bridge", "cli", "running", "files") or path.parent.name == "plots"
        ):  # R does not call these
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise | ast.Call) and (
                isinstance(node, ast.Raise)
                or {getattr(node.func, "attr", ""), getattr(node.func, "id", "")} & {"warn", "note"}
            ):
                for text in ast.walk(node):
                    if isinstance(text, ast.JoinedStr):
                        yield "".join(v.value if isinstance(v, ast.Constant) else "x" for v in text.values)
                    elif isinstance(text, ast.Constant) and isinstance(text.value, str):
                        yield text.value


def test_no_sentence_speaks_python_to_r():
    said = [bridge.in_r(text) for text in sentences()]
    assert len(said) > 80
    said = [
        s for s in said if "must be an AnnData" not in s and "to_memory" not in s and "`layer`" not in s
    ]  # R makes the AnnData, without layers
    words = r"adata|\bTrue\b|\bFalse\b|\bNone\b|DataFrame|AnnData|\blayer\b|\bpip\b|set_num_threads"
    foreign = [s for s in said if re.search(words, s)]
    assert foreign == [], foreign
