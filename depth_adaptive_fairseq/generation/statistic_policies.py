"""Exit policies that need no training: they read an exit's output distribution, or how little the state still changes.

Statistics of the distribution come from the plain softmax in float32: before temperature, language-model fusion and
penalties.
"""

from abc import abstractmethod
from typing import List, Optional, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from depth_adaptive_fairseq.generation.exit_policies import BlockOutput, ExitPolicy, ExitRule, mean_over_members


class StatisticExit(ExitPolicy):
    """Leave at the first exit n < N where a statistic of block n's output passes a threshold."""

    def begin_step(self, prefixes, kept):
        return lambda exit_index, rows, block: self.passes(exit_index, mean_over_members(self.statistic(block)))

    @abstractmethod
    def statistic(self, block: BlockOutput) -> List[Tensor]:
        """The statistic for each ensemble member, each ``(rows,)``."""

    @abstractmethod
    def passes(self, exit_index: int, statistic: Tensor) -> Tensor:
        """Which rows leave at *exit_index*, ``(rows,)`` booleans."""


class ConfidenceExit(StatisticExit):
    """Confidence: the largest probability exceeds tau_n (section 3, confidence thresholding)."""

    name = "confidence"

    def __init__(self, thresholds: Sequence[float]):
        self.thresholds = list(thresholds)

    def statistic(self, block):
        return [_largest_probability(logits.float()) for logits in block.logits()]

    def passes(self, exit_index, statistic):
        return statistic > self.thresholds[exit_index - 1]

    def rule(self):
        return ExitRule(None, thresholds=self.thresholds) if type(self) is ConfidenceExit else None


class EntropyExit(StatisticExit):
    """Entropy: it is below a threshold, in nats (DeeBERT, arXiv 2004.12993, section 3)."""

    name = "entropy"

    def __init__(self, threshold: float):
        self.threshold = threshold

    def statistic(self, block):
        return [_entropy(logits.float()) for logits in block.logits()]

    def passes(self, exit_index, statistic):
        return statistic < self.threshold


class MarginExit(StatisticExit):
    """Margin: the best probability exceeds the second best by a threshold (CALM, arXiv 2207.07061, section 3.4)."""

    name = "margin"

    def __init__(self, threshold: float):
        self.threshold = threshold

    def statistic(self, block):
        return [_margin(logits.float()) for logits in block.logits()]

    def passes(self, exit_index, statistic):
        return statistic > self.threshold


class SaturationExit(ExitPolicy):
    """Saturation: at n >= 2, the cosine of h^n and h^{n-1} exceeds a threshold (CALM, arXiv 2207.07061, section 3.4)."""

    name = "saturation"

    def __init__(self, threshold: float):
        self.threshold = threshold

    def begin_step(self, prefixes, kept):
        previous: List[Tensor] = []  # h^{n-1} of each member, for all rows

        def leave(exit_index: int, rows: Tensor, block: BlockOutput):
            if not previous:
                previous.extend(hidden.new_zeros(prefixes.size(0), hidden.size(1)) for hidden in block.hidden)
            leaving = False
            if exit_index >= 2:
                cosines = [
                    cosine_similarity(hidden.float(), before[rows].float(), dim=-1)
                    for hidden, before in zip(block.hidden, previous)
                ]
                # Rounding takes the cosine of equal states a little above 1, which nothing exceeds.
                leaving = mean_over_members(cosines).clamp(max=1.0) > self.threshold
            for hidden, before in zip(block.hidden, previous):
                before[rows] = hidden
            return leaving

        return leave


class PatienceExit(ExitPolicy):
    """Patience: k exits in a row predict the same token, so at n = k at the earliest (PABEE, arXiv 2006.04152)."""

    name = "patience"

    def __init__(self, patience: int):
        self.patience = patience

    def begin_step(self, prefixes, kept):
        previous: Optional[Tensor] = None  # the token that the last exit predicted, for all rows
        agreeing: Optional[Tensor] = None  # exits in a row that predicted it

        def leave(exit_index: int, rows: Tensor, block: BlockOutput):
            nonlocal previous, agreeing
            members = block.logits()
            if len(members) == 1:
                predicted = members[0].argmax(dim=-1)
            else:
                predicted = mean_over_members([logits.float().softmax(dim=-1) for logits in members]).argmax(dim=-1)
            if previous is None:
                previous = predicted.new_full((prefixes.size(0),), -1)
                agreeing = torch.zeros_like(previous)
            agreeing[rows] = torch.where(predicted == previous[rows], agreeing[rows] + 1, 1)
            previous[rows] = predicted
            return agreeing[rows] >= self.patience

        return leave


def _largest_probability(logits: Tensor) -> Tensor:
    return (logits.amax(dim=-1) - logits.logsumexp(dim=-1)).exp()


def _entropy(logits: Tensor) -> Tensor:
    log_probabilities = logits.log_softmax(dim=-1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)


def _margin(logits: Tensor) -> Tensor:
    best = (logits.topk(2, dim=-1).values - logits.logsumexp(dim=-1, keepdim=True)).exp()
    return best[..., 0] - best[..., 1]
