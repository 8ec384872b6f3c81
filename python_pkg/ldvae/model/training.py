"""The training loop: maximise the evidence lower bound (ELBO), keep the best state on held-out cells."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..counts.minibatches import SparseCounts
from ..machine.arithmetic import on_cpu
from ..machine.device import refuse_surroundings
from .checkpoint import State, digest
from .config import Config
from .network import LDVAE
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
    device, ranks = counts.device, counts.ranks
    model = LDVAE(config, torch.Generator().manual_seed(seed)).to(device)
    with torch.no_grad():
        model.intercept.copy_(torch.from_numpy(np.log(mean_expression)))
        model.design_effect.copy_(torch.from_numpy(design_effect))
    ranks.normalise_together(model)
    generator = torch.Generator(device).manual_seed(seed)
    order = torch.randperm(counts.n_cells, generator=torch.Generator().manual_seed(seed)).to(device)
    n_held = round(validation_size * counts.n_cells)
    held, rows = order[:n_held].sort().values, order[n_held:]
    size = min(schedule.batch_size, len(rows))
    steps_per_epoch = len(rows) // size
    total = schedule.max_epochs * steps_per_epoch
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=schedule.learning_rate, fused=True)
    identity: dict[str, Any] = {} if checkpoint is None else {
        "config": asdict(config),
        "schedule": asdict(schedule),
        "validation_size": validation_size,
        "seed": seed,
        "data": digest(mean_expression, *counts.fingerprint()),
    }  # fmt: skip
    state = State(model, optimizer, generator, identity)
    resumed = checkpoint is not None and state.load(checkpoint, ranks)
    saved_at, stopped, step = time.monotonic(), "finished", state.epoch * steps_per_epoch
    bar = tqdm(
        total=schedule.max_epochs, initial=state.epoch,
        disable=None if progress and ranks.rank == 0 and sys.stderr else True,
        unit="epoch", desc="ldvae", postfix="continued from checkpoint" if resumed else None, dynamic_ncols=True,
    )  # fmt: skip
    try:
        while state.epoch < schedule.max_epochs:
            model.train()
            totals = torch.zeros(2, dtype=torch.float64, device=device)
            for batch in counts.epoch(rows, size, generator):
                step += 1
                warm = min(1.0, step / max(1.0, WARM_UP * total))
                for group in optimizer.param_groups:
                    group["lr"] = schedule.learning_rate * one_cycle(step / total)
                reconstruction, kl = model.elbo(batch, generator)
                # the loss: the sum of these, so weighted
                parts = [reconstruction, kl, model.penalty()]
                weights = (-1 / size, warm / size, warm / (len(rows) * ranks.n))
                for p in parameters:
                    p.grad = None
                torch.autograd.backward(parts, [a.new_full((), w) for a, w in zip(parts, weights, strict=True)])
                ranks.sum_gradients(parameters)
                _clip(parameters)
                optimizer.step()
                totals += torch.stack(parts[:2]).detach()
            reconstruction_mean, kl_mean = (ranks.sum_(totals) / (steps_per_epoch * size)).tolist()
            held_elbo = _held_out_elbo(model, counts, held, size, seed) if len(held) else math.nan
            if not math.isfinite(reconstruction_mean + kl_mean + (held_elbo if len(held) else 0.0)):
                raise RuntimeError(
                    f"training diverged in epoch {state.epoch + 1}: the loss is not finite; "
                    f"lower `learning_rate` (now {schedule.learning_rate:g})."
                )
            state.record(reconstruction_mean, kl_mean, held_elbo)
            bar.set_postfix_str(f"ELBO per cell {held_elbo if len(held) else reconstruction_mean - kl_mean:.1f}")
            bar.update()
            if early_stopping and len(held) and state.epoch - state.best_epoch > schedule.patience:
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


def _clip(parameters: list[torch.nn.Parameter]) -> None:
    """Scale the gradients down to `_GRADIENT_NORM`; on a CPU, which need not wait for the answer, only if they are."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if on_cpu(norm) and norm <= _GRADIENT_NORM:
        return
    torch._foreach_mul_(gradients, (_GRADIENT_NORM / norm).clamp(max=1.0))


@torch.no_grad()
def _held_out_elbo(model: LDVAE, counts: SparseCounts, rows: torch.Tensor, size: int, seed: int) -> float:
    """ELBO per held-out cell at the posterior mean of the loadings; the same noise every time."""
    model.eval()
    generator = torch.Generator(counts.device).manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64, device=counts.device)
    for batch in counts.shares(rows, size):
        reconstruction, kl = model.elbo(batch, generator)
        total += reconstruction - kl
    return counts.ranks.sum(np.array([total.item()]))[0] / len(rows)
