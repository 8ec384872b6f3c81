"""How long and how fast to train."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .config import Config

__all__ = ["WARM_UP", "Schedule", "one_cycle", "schedule_for", "training_bytes"]

WARM_UP = 0.15  # share of all steps over which both KL terms grow to their full weight


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    batch_size: int
    max_epochs: int
    learning_rate: float
    patience: int


def schedule_for(n_cells: int, batch_size: int | None, max_epochs: int | None, learning_rate: float) -> Schedule:
    """Defaults that suit the number of training cells.

    About 1,000 steps settle the model whatever the number of cells; beyond 120,000 cells eight passes over them
    cost more steps than that, so the minibatch grows.
    """
    size = min(batch_size or (128 if n_cells < 50_000 else 256 if n_cells < 200_000 else 512), n_cells)
    steps = max(1, n_cells // size)
    epochs = max_epochs or max(8, math.ceil(1000 / steps))
    return Schedule(size, epochs, learning_rate, patience=max(5, epochs // 5))


def training_bytes(config: Config, schedule: Schedule) -> float:
    """About what training takes beside the counts: six copies each of the parameters and of a decoded minibatch."""
    parameters = float(config.n_genes) * (config.n_hidden * (1 + (config.decoder != "linear")) + 2 * config.n_latent)
    parameters += 2.0 * config.n_layers * config.n_hidden**2
    return 4.0 * 6 * (parameters + float(schedule.batch_size) * (config.n_genes + config.n_layers * config.n_hidden))


def one_cycle(t: float) -> float:
    """Learning rate as a share of its peak at time t in [0, 1]: 10 % up, then a cosine down (Smith & Topin 2019)."""
    if t < 0.1:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * t / 0.1)) / 2
    return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (t - 0.1) / 0.9)) / 2
