"""The statistics that exits are chosen by, in PyTorch; ``native/exit_rule.h`` has the same in C++.

Of an ensemble they are averaged over the members, so that a row has one exit. Those of the prediction come from the plain
softmax in float32: before temperature, language-model fusion and any penalty of the search. Each takes a ``BlockOutput`` and what
the exit before remembered, and gives the statistic, ``(rows,)``, and what to remember (see ``policy.Statistic``).
"""

from typing import List

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from depth_adaptive_fairseq.exits.policy import Statistic
from depth_adaptive_fairseq.modules.precision import wide_affine


def mean_over_members(values: List[Tensor]) -> Tensor:
    """The average of a statistic over the ensemble."""
    return values[0] if len(values) == 1 else torch.stack(values).mean(dim=0)


def _largest_probability(block, before):
    logits = [each.float() for each in block.logits()]
    return mean_over_members([(each.amax(dim=-1) - each.logsumexp(dim=-1)).exp() for each in logits]), None


def _entropy(block, before):
    members = [logits.float().log_softmax(dim=-1) for logits in block.logits()]
    return mean_over_members([-(each.exp() * each).sum(dim=-1) for each in members]), None


def _margin(block, before):
    members = []
    for logits in block.logits():
        logits = logits.float()
        best = (logits.topk(2, dim=-1).values - logits.logsumexp(dim=-1, keepdim=True)).exp()
        members.append(best[..., 0] - best[..., 1])
    return mean_over_members(members), None


def _cosine(block, before):
    if before is None:  # behind block 1 there is none
        return block.hidden[0].new_full((block.rows,), torch.nan, dtype=torch.float32), block.hidden
    members = [cosine_similarity(now.float(), then.float(), dim=-1) for now, then in zip(block.hidden, before)]
    return mean_over_members(members).clamp(max=1.0), block.hidden  # rounding may put it a little above 1


def _agreement(block, before):
    members = block.logits()
    if len(members) > 1:
        members = [mean_over_members([logits.float().softmax(dim=-1) for logits in members])]
    predicted = members[0].argmax(dim=-1)
    agreeing = torch.ones_like(predicted)
    if before is not None:
        agreeing += before[1] * (predicted == before[0])
    return agreeing, [predicted, agreeing]


def _stopping_probability(block, before):
    place = block.exit_index - 1
    members = [
        torch.sigmoid(wide_affine(hidden, weight[place : place + 1], bias[place : place + 1]).squeeze(-1))
        for hidden, (weight, bias) in zip(block.hidden, block.halting)
    ]
    return mean_over_members(members), None


def _predicted_exit(block, before):
    if before is None:  # decided behind block 1
        members = [wide_affine(hidden, weight, bias).softmax(dim=-1) for hidden, (weight, bias) in zip(block.hidden, block.halting)]
        mean = mean_over_members(members)
        exits = (mean.argmax(dim=-1) + 1).float()
        before = [exits.masked_fill(mean.isnan().any(dim=-1), torch.nan)]  # then it never leaves
    return before[0], before


LARGEST_PROBABILITY = Statistic("largest probability", _largest_probability, reads_prediction=True)
ENTROPY = Statistic("entropy", _entropy, reads_prediction=True)  # in nats
MARGIN = Statistic("margin", _margin, reads_prediction=True)  # best minus second-best probability
COSINE = Statistic("cosine", _cosine)  # of h^n and h^{n-1}, from n = 2 on
AGREEMENT = Statistic("agreement", _agreement, reads_prediction=True)  # exits in a row, this one included, with the same best token
STOPPING_PROBABILITY = Statistic("stopping probability", _stopping_probability)  # chi^n (Eq. 12)
PREDICTED_EXIT = Statistic("predicted exit", _predicted_exit)  # argmax of Eq. 11, decided behind block 1
