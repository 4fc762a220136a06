"""The exit loss: training q_t towards an oracle (Eqs. 6 and 7)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from depth_adaptive_fairseq.criterions.oracles import sequence_oracle, token_oracle
from depth_adaptive_fairseq.modules.halting import HaltingClassifier


@dataclass
class ExitLoss:
    """Sums over the terms of Eq. 6: one a token, or one a sentence.

    Attributes:
        loss: sum_t H(q*_t, q_t), in nats.
        terms: how many there are.
        oracle_exit, predicted_exit: the sums of the oracle's exits and of those taken at inference.
        agreement: how often they are the same.
    """

    loss: Tensor
    terms: Tensor
    oracle_exit: Tensor
    predicted_exit: Tensor
    agreement: Tensor


def exit_loss(
    halting: HaltingClassifier, logits: Tensor, scores: Tensor, mask: Tensor, penalty: float, kernel_width: float
) -> ExitLoss:
    """Compare the halting classifier's distribution with the oracle of *scores*.

    Args:
        logits: of *halting*, ``(batch, tgt_len, N or N - 1)``, or ``(batch, 1, N)`` of a sequence-specific classifier.
        scores: LL_t^n or C_t^n, ``(batch, tgt_len, N)``.
        mask: False at padding, ``(batch, tgt_len)``.
        penalty: lambda.
        kernel_width: sigma.
    """
    if halting.per_sentence:
        oracle = sequence_oracle(scores, mask, penalty)  # (batch, 1)
        mask = mask.any(dim=1, keepdim=True)
    else:
        oracle = token_oracle(scores, mask, penalty, kernel_width)  # (batch, tgt_len)
    predicted = halting.predict(logits.detach())
    cross_entropy = -halting.log_distribution(logits).gather(-1, (oracle - 1).unsqueeze(-1)).squeeze(-1)
    return ExitLoss(
        loss=torch.where(mask, cross_entropy, 0.0).sum(),
        terms=mask.sum(),
        oracle_exit=oracle[mask].sum(),
        predicted_exit=predicted[mask].sum(),
        agreement=(oracle[mask] == predicted[mask]).sum(),
    )
