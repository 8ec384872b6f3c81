"""The training loop: maximise the evidence lower bound (ELBO), keep the best state on held-out cells."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..counts.minibatches import Minibatch, SparseCounts
from ..machine.arithmetic import on_cpu
from ..machine.device import refuse_surroundings
from .checkpoint import State, digest
from .config import Config
from .network import LDVAE
from .recorded import RecordedStep
from .schedule import WARM_UP, Schedule, one_cycle

__all__ = ["Trained", "train"]

_GRADIENT_NORM = 1000.0  # per-cell loss; ordinary steps stay well below, so this stops only a blow-up
_SAVE_EVERY = 30.0  # seconds between checkpoints


@dataclass
class Trained:
    """The best state and how it was reached."""

    model: LDVAE
    history: dict[str, np.ndarray]
    best_epoch: int
    stopped: str  # "finished", "early" or "interrupted"


def train(
    config: Config,
    counts: SparseCounts,
    schedule: Schedule,
    *,
    mean_expression: np.ndarray,
    design_effect: np.ndarray,
    validation_size: float,
    early_stopping: bool,
    seed: int,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Trained:
    """Fit `LDVAE` to counts.

    Adam with a one-cycle learning rate; the KL of the latent and of the loadings are weighted by min(1, step / 15 % of
    the steps), so they always end at 1. Ctrl-C ends training and keeps the best state so far.

    Parameters
    ----------
    mean_expression
        Share of the library per gene, the start of the intercepts.
    design_effect
        Start of the effects of covariates (design × genes, log).
    validation_size
        Share of cells held out; they choose the best epoch and, with `early_stopping`, the end.
    checkpoint
        A file to which the state goes every half minute; if it is there, training continues from it.

    Raises
    ------
    RuntimeError
        If the loss is no longer finite.
    """
    refuse_surroundings()
    ranks = counts.ranks
    model = LDVAE(config, torch.Generator().manual_seed(seed)).to(counts.device)
    model.start_at(mean_expression, design_effect)
    ranks.normalise_together(model)
    epochs = _Epochs(model, counts, schedule, validation_size, seed)
    identity = (
        None if checkpoint is None else _identity(config, schedule, validation_size, seed, mean_expression, counts)
    )
    state = State(model, epochs.optimizer, epochs.generator, identity)
    resumed = checkpoint is not None and state.load(checkpoint, ranks)
    saved_at, stopped = time.monotonic(), "finished"
    bar = tqdm(
        total=schedule.max_epochs, initial=state.epoch,
        disable=None if progress and ranks.rank == 0 and sys.stderr else True,
        unit="epoch", desc="ldvae", postfix="continued from checkpoint" if resumed else None, dynamic_ncols=True,
    )  # fmt: skip
    try:
        while state.epoch < schedule.max_epochs:
            reconstruction, kl = epochs.run(state.epoch)
            held_out = _held_out(model, counts, epochs.held, epochs.size, seed)
            shown = held_out if len(epochs.held) else reconstruction - kl
            _refuse_divergence(reconstruction + kl + shown, state.epoch + 1, schedule)
            state.record(reconstruction, kl, held_out)
            bar.set_postfix_str(f"ELBO per cell {shown:.1f}")
            bar.update()
            if early_stopping and len(epochs.held) and state.epoch - state.best_epoch > schedule.patience:
                stopped = "early"
                break
            if checkpoint is not None and ranks.rank == 0 and time.monotonic() - saved_at > _SAVE_EVERY:
                state.save(checkpoint)
                saved_at = time.monotonic()
    except KeyboardInterrupt:
        if not state.best or ranks.n > 1:  # others go on: all end, and the checkpoint continues
            raise
        stopped = "interrupted"  # the checkpoint stays that of a whole epoch, from which training continues exactly
    finally:
        bar.close()
    model.load_state_dict(state.best)
    model.eval()
    return Trained(model, state.history(), state.best_epoch, stopped)


class _Epochs:
    """What takes one step after the other: which cells, in which order, how far."""

    def __init__(self, model: LDVAE, counts: SparseCounts, schedule: Schedule, validation_size: float, seed: int):
        order = torch.randperm(counts.n_cells, generator=torch.Generator().manual_seed(seed)).to(counts.device)
        n_held = round(validation_size * counts.n_cells)
        self.model, self.counts, self.schedule = model, counts, schedule
        self.held, self.rows = order[:n_held].sort().values, order[n_held:]
        self.size = min(schedule.batch_size, len(self.rows))
        self.steps = len(self.rows) // self.size
        self.generator = torch.Generator(counts.device).manual_seed(seed)
        self.parameters = list(model.parameters())
        recordable = counts.recordable
        self.optimizer = torch.optim.Adam(self.parameters, lr=schedule.learning_rate, fused=True, capturable=recordable)
        self.recorded = RecordedStep(self._step, counts, self.rows, self.size, self.generator) if recordable else None

    def run(self, epoch: int) -> tuple[float, float]:
        """One epoch after `epoch` others: mean reconstruction and KL per cell."""
        self.model.train()
        plan = [self._plan(step) for step in range(epoch * self.steps + 1, (epoch + 1) * self.steps + 1)]
        if self.recorded:
            order = self.counts.shuffled(self.rows, self.size, self.generator)
            totals = self.recorded.epoch(order, torch.tensor(plan).to(self.counts.device))
        else:
            totals = torch.zeros(2, dtype=torch.float64, device=self.counts.device)
            batches = self.counts.epoch(self.rows, self.size, self.generator)
            for (rate, *weights), batch in zip(plan, batches, strict=True):
                totals += self._step(batch, rate, [totals.new_full((), w, dtype=torch.float32) for w in weights])
        reconstruction, kl = (self.counts.ranks.sum_(totals) / (self.steps * self.size)).tolist()
        return reconstruction, kl

    def _plan(self, step: int) -> tuple[float, float, float, float]:
        """Learning rate of a step, and the weights in the loss of the reconstruction, the KL and the penalty."""
        total = self.schedule.max_epochs * self.steps
        warm = min(1.0, step / max(1.0, WARM_UP * total))
        rate = self.schedule.learning_rate * one_cycle(step / total)
        return rate, -1 / self.size, warm / self.size, warm / (len(self.rows) * self.counts.ranks.n)

    def _step(self, batch: Minibatch, rate: float | torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """One step of Adam; reconstruction and KL of the minibatch."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        reconstruction, kl = self.model.elbo(batch, self.generator)
        parts = [reconstruction, kl, self.model.penalty()]
        for p in self.parameters:
            p.grad = None
        torch.autograd.backward(parts, list(weights))
        self.counts.ranks.sum_gradients(self.parameters)
        _clip(self.parameters)
        self.optimizer.step()
        return torch.stack(parts[:2]).detach()


def _identity(
    config: Config, schedule: Schedule, validation_size: float, seed: int, mean: np.ndarray, counts: SparseCounts
) -> dict[str, Any]:
    """By what a checkpoint knows the fit that it belongs to."""
    return {
        "config": asdict(config),
        "schedule": asdict(schedule),
        "validation_size": validation_size,
        "seed": seed,
        "data": digest(mean, *counts.fingerprint()),
    }


def _refuse_divergence(loss: float, epoch: int, schedule: Schedule) -> None:
    if not math.isfinite(loss):
        raise RuntimeError(
            f"training diverged in epoch {epoch}: the loss is not finite; "
            f"lower `learning_rate` (now {schedule.learning_rate:g})."
        )


def _clip(parameters: list[torch.nn.Parameter]) -> None:
    """Scale the gradients down to `_GRADIENT_NORM`; on a CPU, which need not wait for the answer, only if they are."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if on_cpu(norm) and norm <= _GRADIENT_NORM:
        return
    torch._foreach_mul_(gradients, (_GRADIENT_NORM / norm).clamp(max=1.0))


@torch.no_grad()
def _held_out(model: LDVAE, counts: SparseCounts, rows: torch.Tensor, size: int, seed: int) -> float:
    """What a held-out cell's halves of genes say of each other (`LDVAE.prediction`); the same noise every time."""
    if not len(rows):
        return math.nan
    model.eval()
    generator = torch.Generator(counts.device).manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64, device=counts.device)
    size = max(size, 1024) if counts.recordable else size  # there, what counts is how many kernels are started
    for batch in counts.shares(rows, size):
        total += model.prediction(batch, generator)
    return counts.ranks.sum(np.array([total.item()]))[0] / len(rows)
