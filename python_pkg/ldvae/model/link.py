"""From logits to log expression: a softmax where the modelled genes are the whole library."""

from __future__ import annotations

import torch

from ..machine.arithmetic import exp, exp_, on_cpu

__all__ = ["LOG_RHO_MAX", "exp_and_sum", "log_expression"]

_EXTREME = 40.0  # |log| of a sum of exponentials up to which single precision loses nothing that matters
LOG_RHO_MAX = 5.0  # only without softmax: keeps exp() finite far outside any plausible expression


def log_expression(logits: torch.Tensor, closed: bool) -> torch.Tensor:
    """log rho (n × genes): a softmax where the modelled genes are the whole library, else the logits."""
    return torch.log_softmax(logits, -1) if closed else logits.clamp(max=LOG_RHO_MAX)


def exp_and_sum(score: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
    """exp(score - shift), log of its sum per cell, and the shift: the largest score, but 0 where none is extreme."""
    if on_cpu(score):
        found = exp(score)
        log_sum = found.sum(-1, keepdim=True).log()
        if log_sum.abs().max() < _EXTREME:
            return found, log_sum, 0.0
    shift = score.amax(-1, keepdim=True)
    found = exp_(score - shift)
    return found, found.sum(-1, keepdim=True).log(), shift
