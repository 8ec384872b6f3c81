"""What commands there are: the list that `ldvae --help` shows, without importing what they need."""

from __future__ import annotations

import argparse
import difflib
from typing import NoReturn

__all__ = ["COMMANDS", "EXAMPLES", "Parser", "epilog"]

# Which function each command calls, and its first sentence.
COMMANDS: dict[str, tuple[str, str]] = {
    "fit": (
        "fit_ldvae",
        "Fit one linearly decoded variational autoencoder (LDVAE) to all cells.",
    ),
    "population-loadings": (
        "population_loadings",
        "Loadings of each population: which genes make what it has of its own.",
    ),
    "population-programs": (
        "population_programs",
        "Programs of each population, one row each: how strong, how sure, which genes.",
    ),
    "program-map": (
        "get_program_map",
        "Where each program varies: one row per program and population.",
    ),
    "program-scores": (
        "get_program_scores",
        "Activity of each called program in each cell.",
    ),
    "de": (
        "differential_expression",
        "Differential expression between groups of cells: log2 fold change of every gene, and what is known about it.",
    ),
    "response": (
        "differential_response",
        "Which genes answer the treatment differently in one population than in the others.",
    ),
    "contributions": (
        "differential_contributions",
        "Split the change of log expression between groups into what each factor contributes.",
    ),
    "associate": (
        "associate_factors",
        "Which factors go with which groups, treatments or measurements of cells.",
    ),
    "factors": (
        "get_factors",
        "One row per direction of the latent: factor, reliability, pval, variance_explained, kl, n_genes, active.",
    ),
    "loadings": (
        "get_loadings",
        "Loadings of every gene: gene, Z_1, ..., in log2 units of expression per standard deviation of the factor.",
    ),
    "loadings-uncertainty": (
        "get_loadings_uncertainty",
        "Loadings of the active factors with their uncertainty: gene, factor, loading, std, lfsr (long).",
    ),
    "latent": (
        "get_latent",
        "Score of every cell on every active factor: cell, Z_1, ... (mean 0, variance 1 over the training cells).",
    ),
    "expression": (
        "get_expression",
        "Denoised expression of some genes in every cell, at the average batch.",
    ),
    "history": (
        "get_history",
        "How training went: epoch, elbo_train, elbo_validation, reconstruction, kl (nats per cell, KL weight 1).",
    ),
    "report": (
        "write_report",
        "Write one HTML page with what the fit says about each population: tables, figures, parameters, what to trust.",
    ),
}

EXAMPLES = {
    "": [
        "ldvae fit counts.h5ad --batch-key batch -o fit.ldvae",
        "ldvae population-programs fit.ldvae counts.h5ad --groupby cell_type",
        "ldvae report fit.ldvae counts.h5ad --groupby cell_type -o report.html",
    ],
    "fit": [
        "ldvae fit counts.h5ad --batch-key batch -o fit.ldvae",
        "ldvae fit counts.h5ad --layer counts --genes highly_variable --no-progress -o fit.ldvae",
        "ldvae fit counts.h5ad --genes @genes.txt -o fit.ldvae        # a file with one name per line",
    ],
    "population-loadings": [
        "ldvae population-loadings fit.ldvae counts.h5ad --groupby cell_type --kind specific -o specific.csv",
        "ldvae population-loadings fit.ldvae counts.h5ad --groupby cell_type --kind between --reference B T",
    ],
    "population-programs": [
        "ldvae population-programs fit.ldvae counts.h5ad --groupby cell_type --kind within --sample-key donor"
    ],
    "program-map": ["ldvae program-map fit.ldvae counts.h5ad --groupby cell_type -o map.csv"],
    "program-scores": ["ldvae program-scores fit.ldvae counts.h5ad --groupby cell_type -o scores.parquet"],
    "de": [
        "ldvae de fit.ldvae counts.h5ad --groupby cell_type -o de.parquet",
        "ldvae de fit.ldvae counts.h5ad --groupby treatment --group1 treated --within cell_type --sample-key donor "
        "-o de.csv",
    ],
    "response": [
        "ldvae response fit.ldvae counts.h5ad --groupby treatment --group1 treated --within cell_type "
        "--sample-key donor -o response.csv"
    ],
    "contributions": ["ldvae contributions fit.ldvae counts.h5ad --groupby cell_type --group1 'B cells' -o why.csv"],
    "associate": ["ldvae associate fit.ldvae counts.h5ad --key treatment --sample-key donor -o association.csv"],
    "factors": ["ldvae factors fit.ldvae"],
    "loadings": ["ldvae loadings fit.ldvae -o loadings.csv"],
    "loadings-uncertainty": ["ldvae loadings-uncertainty fit.ldvae -o loadings.parquet"],
    "latent": ["ldvae latent fit.ldvae -o latent.csv", "ldvae latent fit.ldvae other_cells.h5ad -o latent.csv"],
    "expression": ["ldvae expression fit.ldvae counts.h5ad --genes CD3D MS4A1 -o expression.csv"],
    "history": ["ldvae history fit.ldvae -o history.csv"],
    "report": [
        "ldvae report fit.ldvae counts.h5ad --groupby cell_type -o report.html",
        "ldvae report fit.ldvae counts.h5ad --groupby cell_type --key treatment --sample-key donor "
        "--embedding X_umap -o report.html",
    ],
}

_CODES = "Exit codes: 0 done, 2 wrong arguments or input (one sentence on standard error says which), 130 interrupted."


class Parser(argparse.ArgumentParser):
    """Says which option or command may be meant."""

    def error(self, message: str) -> NoReturn:
        """End with the usage, the message and a suggestion."""
        known = [option for action in self._actions for option in action.option_strings] + list(COMMANDS)
        wrong = [word.split("=")[0] for word in message.replace("'", " ").split() if word.strip("-")]
        typed = [word for word in wrong if word.startswith("--") and word not in known]
        typed += wrong[4:5] if "invalid choice" in message else []
        near = [difflib.get_close_matches(word.replace("_", "-"), known, 1, 0.6) for word in typed]
        found = [match[0] for match in near if match]
        super().error(f"{message}; do you mean {', '.join(found)}?" if found else message)


def epilog(command: str) -> str:
    """Examples, and what the exit codes mean."""
    lines = "\n".join(f"  {line}" for line in EXAMPLES[command])
    return f"examples:\n{lines}\n\n{_CODES}"
