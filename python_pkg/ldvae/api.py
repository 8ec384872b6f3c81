"""All public functions under one name: what `import ldvae` gives; `bridge` and `cli` call no other."""

from .comparisons.factor_questions import associate_factors, differential_contributions
from .comparisons.questions import differential_expression, differential_response
from .counts.simulate import simulate_counts
from .fit.fitting import fit_ldvae
from .fit.from_latent import from_latent
from .fit.from_scvi import from_scvi
from .fit.questions import (
    get_expression,
    get_factors,
    get_history,
    get_latent,
    get_loadings,
    get_loadings_uncertainty,
)
from .fit.record import Fit, load_fit, save_fit
from .fit.split import split_counts
from .fit.to_scanpy import add_ldvae
from .fit.top_genes import top_genes
from .plots.comparisons import plot_association, plot_differential_expression
from .plots.fits import plot_history, plot_loadings
from .plots.program_map import plot_program_map
from .plots.programs import plot_programs
from .programs.questions import get_program_map, get_program_scores, population_loadings, population_programs
from .report.report import write_report

__all__ = [
    "Fit",
    "add_ldvae",
    "associate_factors",
    "differential_contributions",
    "differential_expression",
    "differential_response",
    "fit_ldvae",
    "from_latent",
    "from_scvi",
    "get_expression",
    "get_factors",
    "get_history",
    "get_latent",
    "get_loadings",
    "get_loadings_uncertainty",
    "get_program_map",
    "get_program_scores",
    "load_fit",
    "plot_association",
    "plot_differential_expression",
    "plot_history",
    "plot_loadings",
    "plot_program_map",
    "plot_programs",
    "population_loadings",
    "population_programs",
    "save_fit",
    "simulate_counts",
    "split_counts",
    "top_genes",
    "write_report",
]
