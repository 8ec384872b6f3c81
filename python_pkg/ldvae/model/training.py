"""The training loop: maximise the evidence lower bound (ELBO), keep the best state on held-out cells."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..checks import brief, new_file
from ..counts.minibatches import SparseCounts
from ..machine.arithmetic import on_cpu
from ..machine.files import DamagedFile, read_arrays, write_arrays
from ..machine.processes import Ranks, launched
from .network import LDVAE, Config, refuse_surroundings

__all__ = ["Schedule", "Trained", "pick_device", "schedule_for", "train", "training_bytes"]

_WARM_UP = 0.15  # share of all steps over which both KL terms grow to their full weight
_GRADIENT_NORM = 1000.0  # per-cell loss; ordinary steps stay well below, so this stops only a blow-up
_SAVE_EVERY = 30.0  # seconds between checkpoints


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    batch_size: int
    max_epochs: int
    learning_rate: float
    patience: int


@dataclass
class Trained:
    """The best state and how it was reached."""

    model: LDVAE
    history: dict[str, np.ndarray]
    best_epoch: int
    stopped: str  # "finished", "early" or "interrupted"


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


def pick_device(device: str) -> torch.device:
    """The device asked for; "auto" takes CUDA where there is one."""
    if not isinstance(device, str):
        raise TypeError(f"`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not {brief(device)}.")
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    kind, _, index = name.partition(":")
    if name == "cuda" and launched():
        index = os.environ.get("LOCAL_RANK", "0")
        if int(index) >= torch.cuda.device_count():
            raise ValueError(
                f"torchrun started more processes on this machine than its {torch.cuda.device_count()} CUDA devices; "
                "start one for each, or set `device` to 'cpu'."
            )
        name = f"cuda:{index}"
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError(f"`device` must be 'auto', 'cpu', 'cuda' or 'cuda:0', not {brief(device)}.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"`device` is {brief(device)}, but this machine has {torch.cuda.device_count()} CUDA devices; use 'auto'."
        )
    return torch.device(name)


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
        "data": _digest(mean_expression, *counts.fingerprint()),
    }  # fmt: skip
    state = _State(model, optimizer, generator, identity)
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
                warm = min(1.0, step / max(1.0, _WARM_UP * total))
                for group in optimizer.param_groups:
                    group["lr"] = schedule.learning_rate * _one_cycle(step / total)
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


def _digest(*arrays: np.ndarray) -> str:
    """A fingerprint of the data, by which a checkpoint knows whether it belongs to them."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _one_cycle(t: float) -> float:
    """Learning rate as a share of its peak at time t in [0, 1]: 10 % up, then a cosine down (Smith & Topin 2019)."""
    if t < 0.1:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * t / 0.1)) / 2
    return 1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (t - 0.1) / 0.9)) / 2


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


class _State:
    """What a checkpoint holds: parameters, optimiser, random state, history and the best parameters."""

    def __init__(
        self, model: LDVAE, optimizer: torch.optim.Adam, generator: torch.Generator, identity: dict[str, Any]
    ) -> None:
        self.model, self.optimizer, self.generator = model, optimizer, generator
        self.identity = json.dumps(identity, sort_keys=True)
        self.rows: list[tuple[float, float, float]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.best_epoch = 0

    @property
    def epoch(self) -> int:
        return len(self.rows)

    def record(self, reconstruction: float, kl: float, held_elbo: float) -> None:
        """Note an epoch and keep its parameters if none was better (without held-out cells: always)."""
        earlier = [r[2] for r in self.rows if not math.isnan(r[2])]
        self.rows.append((reconstruction, kl, held_elbo))
        if math.isnan(held_elbo) or not earlier or held_elbo > max(earlier):
            best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.best, self.best_epoch = best, self.epoch  # together, whenever Ctrl-C comes

    def history(self) -> dict[str, np.ndarray]:
        values = np.array(self.rows).reshape(-1, 3)
        return {
            "epoch": np.arange(1, len(values) + 1),
            "elbo_train": values[:, 0] - values[:, 1],
            "elbo_validation": values[:, 2],
            "reconstruction": values[:, 0],
            "kl": values[:, 1],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{k}": v for k, v in values.items()}
        tensors["generator"] = self.generator.get_state()
        meta = {"identity": self.identity, "rows": json.dumps(self.rows), "best_epoch": str(self.best_epoch)}
        arrays = {k: v.cpu().numpy() for k, v in tensors.items()}
        write_arrays(path, arrays, meta, "state of training", "checkpoint")

    def load(self, path: str | os.PathLike[str], ranks: Ranks) -> bool:
        """Continue from a file if there is one; refuse one that belongs to another fit."""
        found = ranks.from_first(lambda: self._read(path))  # others may not see the file, or an older one
        if found is None:
            return False
        arrays, meta = found
        tensors = {k: torch.from_numpy(array).to(self.generator.device) for k, array in arrays.items()}
        part = lambda prefix: {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}  # noqa: E731
        self.model.load_state_dict(part("model."))
        self.best, self.best_epoch = part("best."), int(meta["best_epoch"])
        self.rows = [tuple(r) for r in json.loads(meta["rows"])]
        adam: dict[int, dict[str, torch.Tensor]] = {}
        for label, value in part("adam.").items():
            index, key = label.split(".", 1)
            adam.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": adam, "param_groups": groups})
        self.generator.set_state(tensors["generator"].cpu())
        return True

    def _read(self, path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]] | None:
        path = new_file("checkpoint", path)
        name = brief(path)
        if not os.path.exists(path):
            return None
        try:
            arrays, meta = read_arrays(path, self._accept)
        except (DamagedFile, OSError) as error:
            raise ValueError(f"`checkpoint` {name} is not a checkpoint or is damaged ({error}).") from None
        if meta["identity"] != self.identity:
            raise ValueError(f"`checkpoint` {name} belongs to a fit with other settings or data; name another file.")
        return arrays, meta

    @staticmethod
    def _accept(meta: dict[str, str]) -> None:
        if "identity" not in meta:
            raise DamagedFile("it does not say of which fit")
