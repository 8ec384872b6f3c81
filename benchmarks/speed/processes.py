"""Two processes against one, each with one thread: cells per second, and the bound on held-out cells that both reach.

Run it alone, or by torchrun: python -m torch.distributed.run --standalone --nproc_per_node=2 processes.py
"""

from __future__ import annotations

import argparse
import os
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from timing import counts, timed

import ldvae
from ldvae.fit import fitting as training


def main() -> None:
    """Fit, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    adata = counts(arguments.cells, 2_000, 600.0)
    fit = dict(n_latent=10, batch_size=arguments.batch_size, early_stopping=False, device="cpu", progress=False, seed=0)
    took, train = [], training.train

    def clocked(*given: Any, **more: Any) -> Any:
        seconds, trained = timed(train, *given, **more)
        took.append(seconds)
        return trained

    training.train = clocked
    for epochs in (1, arguments.epochs):  # the first warms up
        found = ldvae.fit_ldvae(adata, max_epochs=epochs, **fit)
    if int(os.environ.get("RANK", 0)) == 0:
        speed = 0.9 * arguments.cells * arguments.epochs / took[1]
        print(
            f"processes: {os.environ.get('WORLD_SIZE', 1)}, minibatch: {arguments.batch_size}, "
            f"cells per second: {speed:.0f}, seconds of training: {took[1]:.1f}, "
            f"held-out ELBO per cell: {found.history['elbo_validation'][-1]:.4f}"
        )


if __name__ == "__main__":
    main()
