"""The exit loss: training q_t towards an oracle (Eqs. 6 and 7)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from depth_adaptive_fairseq.criterions.oracles import sequence_oracle, token_oracle
from depth_adaptive_fairseq.modules.halting import HaltingClassifier


@dataclass
class ExitSupervision:
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


def supervise_exits(
    halting: HaltingClassifier, log_distribution: Tensor, scores: Tensor, real: Tensor, penalty: float, kernel_width: float
) -> ExitSupervision:
    """Compare the halting classifier's distribution with the oracle of *scores*.

    Args:
        log_distribution: log q, ``(batch, tgt_len, N)``, or ``(batch, 1, N)`` of a sequence-specific classifier.
        scores: LL_t^n or C_t^n, ``(batch, tgt_len, N)``.
        real: False at padding, ``(batch, tgt_len)``.
        penalty: lambda.
        kernel_width: sigma.
    """
    if halting.per_sentence:
        oracle = sequence_oracle(scores, real, penalty)  # (batch, 1)
        real = real.any(dim=1, keepdim=True)
    else:
        oracle = token_oracle(scores, real, penalty, kernel_width)  # (batch, tgt_len)
    predicted = halting.predict(log_distribution.detach())
    cross_entropy = -log_distribution.gather(-1, (oracle - 1).unsqueeze(-1)).squeeze(-1)
    return ExitSupervision(
        loss=torch.where(real, cross_entropy, 0.0).sum(),
        terms=real.sum(),
        oracle_exit=oracle[real].sum(),
        predicted_exit=predicted[real].sum(),
        agreement=(oracle[real] == predicted[real]).sum(),
    )
