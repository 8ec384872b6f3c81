"""The state of training: kept while it improves, saved to a file, continued from it."""

from __future__ import annotations

import hashlib
import json
import math
import os
from typing import Any

import numpy as np
import torch

from ..checks import brief, new_file
from ..machine.files import DamagedFile, read_arrays, write_arrays
from ..machine.processes import Ranks
from .network import LDVAE

__all__ = ["State", "digest"]


def digest(*arrays: np.ndarray) -> str:
    """A fingerprint of the data, by which a checkpoint knows whether it belongs to them."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class State:
    """What a checkpoint holds: parameters, optimiser, random state, history and the best parameters."""

    def __init__(
        self, model: LDVAE, optimizer: torch.optim.Adam, generator: torch.Generator, identity: dict[str, Any] | None
    ) -> None:
        self.model, self.optimizer, self.generator = model, optimizer, generator
        self.identity = json.dumps(identity, sort_keys=True)
        self.rows: list[tuple[float, float, float]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.best_epoch = 0

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return len(self.rows)

    def record(self, reconstruction: float, kl: float, held_out: float) -> None:
        """Note an epoch and keep its parameters if none was better (without held-out cells: always)."""
        earlier = [r[2] for r in self.rows if not math.isnan(r[2])]
        self.rows.append((reconstruction, kl, held_out))
        if math.isnan(held_out) or not earlier or held_out > max(earlier):
            best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.best, self.best_epoch = best, self.epoch  # together, whenever Ctrl-C comes

    def history(self) -> dict[str, np.ndarray]:
        """One array per column of `get_history`."""
        values = np.array(self.rows).reshape(-1, 3)
        return {
            "epoch": np.arange(1, len(values) + 1),
            "elbo_train": values[:, 0] - values[:, 1],
            "elbo_validation": values[:, 2],
            "reconstruction": values[:, 0],
            "kl": values[:, 1],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything from which training continues exactly."""
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
        self.model.load_state_dict(_part(tensors, "model."))
        self.best, self.best_epoch = _part(tensors, "best."), int(meta["best_epoch"])
        self.rows = [tuple(r) for r in json.loads(meta["rows"])]
        adam: dict[int, dict[str, torch.Tensor]] = {}
        for label, value in _part(tensors, "adam.").items():
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


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
