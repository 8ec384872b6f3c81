"""Activity of programs in cells, as the columns of a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..counts.labels import Labels
from ..fit.cells import Cells
from ..fit.posterior import factor_scores, latent_moments, rebuild
from ..tables import score_name
from .activities import as_tensor
from .find import Found
from .population import offset_of
from .program import Program, beside
from .setting import MOST_CELLS, Setting

__all__ = ["activity_columns", "program_activity"]


def program_activity(
    setting: Setting, within: list[Program], program: Program, cells: Cells, labels: Labels
) -> np.ndarray:
    """Activity of one program in every labelled cell, in SDs of its own population (n_cells; NaN without a model)."""
    out = np.full(len(labels.codes), np.nan)
    model = rebuild(cells.fit)
    z, _ = latent_moments(model, cells.mean, cells.variance)
    for p in setting.populations:
        rows = labels.where(labels.levels.index(p.name))
        loading = as_tensor(program.loading[p.genes])
        local = p.local.given(beside(within, p.name, program)[p.genes])
        for start in range(0, len(rows), MOST_CELLS):
            block = rows[start : start + MOST_CELLS]
            adjusted = as_tensor(offset_of(model, cells, block, z[p.rows].mean(0), p.genes))
            x = as_tensor(cells.counts.matrix[block][:, p.genes].toarray())
            part = replace(local, x=x, offset=adjusted, adjusted=adjusted, blocks=None)
            scores = part.score(part.with_own(loading), p.local.intercept)
            out[block] = (scores.full[:, 0] * scores.scale[0]).double().numpy()
    return out


def activity_columns(found: Found) -> tuple[list[str], np.ndarray]:
    """Column names (of two alike the second gets a number) and activity of every called program in every cell."""
    called = [p for p, yes in zip(found.programs, found.called, strict=True) if yes]
    names: list[str] = []
    for p in called:
        name = score_name(p.population, p.name)
        same = sum(other == name or other.startswith(f"{name}__") for other in names)
        names.append(f"{name}__{same + 1}" if same else name)
    values = [
        program_activity(found.setting, found.within, p, found.cells, found.labels)
        if found.setting
        else _position(found, p)
        for p in called
    ]
    return names, np.stack(values, 1) if values else np.zeros((len(found.labels.codes), 0))


def _position(found: Found, program: Program) -> np.ndarray:
    """Where a cell lies between the reference (0) and the population (1), along what sets the population apart."""
    fit = found.cells.fit
    scores = factor_scores(fit, found.cells.mean, found.cells.variance)
    along = scores @ (fit.factors["loadings"].T @ program.loading[: len(fit.genes)])
    labels = found.labels
    own = labels.levels.index(program.population)
    others = [
        i for i, name in enumerate(labels.levels) if i != own and (found.reference is None or name in found.reference)
    ]
    start = np.mean([along[labels.where(i)].mean() for i in others])
    return (along - start) / (along[labels.where(own)].mean() - start)
