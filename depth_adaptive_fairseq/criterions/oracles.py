"""Oracles: q*, the exit that a position should have taken (section 3, Eqs. 9, 10 and 14 to 17).

Pure functions of per-exit scores: log-likelihoods LL_t^n or correctness C_t^n. Ties go to the lowest exit. No gradient
flows through an oracle.
"""

import torch
from torch import Tensor

_TIE = 1e-9


def sequence_oracle(scores: Tensor, mask: Tensor, penalty: float) -> Tensor:
    """One exit for each sentence: argmax_n sum_t score_t^n - lambda n (Eq. 9 with LL, Eq. 10 with C).

    Args:
        scores: ``(batch, tgt_len, N)``.
        mask: False at padding, ``(batch, tgt_len)``.
        penalty: lambda.

    Returns:
        exits from 1, ``(batch, 1)``.
    """
    totals = _masked(scores, mask).sum(dim=1, keepdim=True)  # (batch, 1, N)
    return _best_exit(totals, penalty)


def token_oracle(scores: Tensor, mask: Tensor, penalty: float, kernel_width: float) -> Tensor:
    """One exit for each token: argmax_n sum_{t'} k(t, t') score_{t'}^n - lambda n (Eqs. 14 to 17).

    Args:
        scores: ``(batch, tgt_len, N)``.
        mask: False at padding, ``(batch, tgt_len)``.
        penalty: lambda.
        kernel_width: sigma of :func:`rbf_kernel`.

    Returns:
        exits from 1, ``(batch, tgt_len)``; arbitrary at padding.
    """
    scores = _masked(scores, mask)
    if kernel_width != 0:
        scores = torch.einsum("ts,bsn->btn", rbf_kernel(scores.size(1), kernel_width).to(scores), scores)
    return _best_exit(scores, penalty)


def rbf_kernel(length: int, width: float) -> Tensor:
    """k(t, t') = exp(-|t - t'|^2 / sigma), ``(length, length)``; the identity for *width* 0.

    Raises:
        ValueError: a negative width.
    """
    if width < 0:
        raise ValueError(f"a kernel width of {width} was given; it must be 0 or more")
    if width == 0:
        return torch.eye(length, dtype=torch.float64)
    positions = torch.arange(length, dtype=torch.float64)
    return torch.exp(-((positions[:, None] - positions[None, :]) ** 2) / width)


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.unsqueeze(-1), scores.detach().double(), 0.0)


def _best_exit(scores: Tensor, penalty: float) -> Tensor:
    exits = torch.arange(1, scores.size(-1) + 1, device=scores.device)
    penalised = scores - penalty * exits
    # Sums that are equal on paper may differ in their last bits: correctness scores tie all the time.
    best = penalised.ge(penalised.amax(dim=-1, keepdim=True) - _TIE)
    return best.int().argmax(dim=-1) + 1  # argmax takes the first of equals
