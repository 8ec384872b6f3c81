"""From what the decoder says to log expression."""

from __future__ import annotations

import pytest
import torch

from ldvae.model.link import log_expression


def test_log_expression():
    logits = torch.tensor([[1.0, 2.0, 9.0]])
    assert log_expression(logits, True).exp().sum().item() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(log_expression(logits, True), torch.log_softmax(logits, -1))
    assert log_expression(logits, False).tolist() == [[1.0, 2.0, 5.0]]  # exp(5) is beyond any share of a library
