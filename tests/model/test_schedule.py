"""How long and how fast to train."""

from __future__ import annotations

import numpy as np
import pytest

from ldvae.model.schedule import Schedule, one_cycle, schedule_for


def test_the_learning_rate_rises_and_ends_near_zero():
    rates = np.array([one_cycle(t) for t in np.linspace(0, 1, 1001)])
    assert rates.argmax() == 100 and rates.max() == pytest.approx(1)
    assert rates[0] == pytest.approx(0.04) and rates[-1] == pytest.approx(1e-4)
    assert (np.diff(rates)[:100] > 0).all() and (np.diff(rates)[100:] < 0).all()


@pytest.mark.parametrize(
    ("n_cells", "batch_size", "max_epochs", "wanted"),
    [
        (2_700, None, None, Schedule(128, 48, 5e-3, 9)),
        (100, None, None, Schedule(100, 1000, 5e-3, 200)),
        (60_000, None, None, Schedule(256, 8, 5e-3, 5)),
        (1_000_000, None, None, Schedule(512, 8, 5e-3, 5)),
        (2_700, 64, 10, Schedule(64, 10, 5e-3, 5)),
    ],
)
def test_the_schedule_suits_the_number_of_cells(n_cells, batch_size, max_epochs, wanted):
    assert schedule_for(n_cells, batch_size, max_epochs, 5e-3) == wanted
