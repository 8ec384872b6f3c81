"""All public functions under one name; the only module that R calls."""

from .adapters import from_scvi
from .fit import Fit, load_fit, save_fit
from .plots import plot_history, plot_loadings, plot_programs
from .plots_groups import plot_association, plot_differential_expression
from .questions import get_program_scores, population_loadings, population_programs
from .questions_groups import associate_factors, differential_contributions, differential_expression
from .report import write_report
from .results import (
    get_expression,
    get_factors,
    get_history,
    get_latent,
    get_loadings,
    get_loadings_uncertainty,
    top_genes,
)
from .simulate import simulate_counts
from .slots import add_ldvae
from .training import fit_ldvae

__all__ = [
    "Fit",
    "add_ldvae",
    "associate_factors",
    "differential_contributions",
    "differential_expression",
    "fit_ldvae",
    "from_scvi",
    "get_expression",
    "get_factors",
    "get_history",
    "get_latent",
    "get_loadings",
    "get_loadings_uncertainty",
    "get_program_scores",
    "load_fit",
    "plot_association",
    "plot_differential_expression",
    "plot_history",
    "plot_loadings",
    "plot_programs",
    "population_loadings",
    "population_programs",
    "save_fit",
    "simulate_counts",
    "top_genes",
    "write_report",
]
