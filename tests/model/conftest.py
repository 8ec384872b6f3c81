"""A small training, whole and uninterrupted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ldvae.counts.minibatches import SparseCounts
from ldvae.counts.reader import read_counts
from ldvae.model import training
from ldvae.model.config import Config
from ldvae.model.schedule import Schedule


@pytest.fixture(scope="session")
def start(simulated):
    """What `train` takes: settings, counts, schedule, mean expression."""
    counts = read_counts(simulated)
    data = SparseCounts(counts.matrix, counts.lib_size, np.zeros((600, 0), np.float32), torch.device("cpu"))
    config = Config(n_genes=150, n_latent=4, n_hidden=16)
    mean = np.asarray(counts.matrix.sum(0)).ravel() / counts.lib_size.sum()
    return config, data, Schedule(64, 6, 5e-3, patience=5), mean


@pytest.fixture(scope="session")
def run(start):
    """Train: on `start`, or on what else is given."""

    def call(schedule=None, given=start, **kwargs):
        config, data, default, mean = given
        kwargs = dict(validation_size=0.1, early_stopping=True, seed=0, progress=False) | kwargs
        return training.train(
            config, data, schedule or default, mean_expression=mean, design_effect=np.zeros((0, 150)), **kwargs
        )

    return call


@pytest.fixture(scope="session")
def uninterrupted(run):
    return run()
