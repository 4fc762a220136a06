"""The best few of a wide row of scores, without sorting or even selecting over all of it."""

from typing import Tuple

import torch
from torch import Tensor

_COLUMNS_EACH = 32  # scores that share one maximum


def top_tokens(scores: Tensor, count: int) -> Tuple[Tensor, Tensor]:
    """The *count* largest of each row and where they are, sorted, as ``scores.topk(count)``.

    The row is cut into strided groups; the best *count* scores lie in the *count* groups of largest maximum. Maxima are
    one vectorised pass over memory, where a selection is not. Between equal scores either may come first.

    Args:
        scores: ``(rows, V)``.
    """
    rows, vocabulary = scores.shape
    groups = vocabulary // _COLUMNS_EACH
    if groups <= 2 * count:
        return scores.topk(count, dim=-1)
    regular = groups * _COLUMNS_EACH
    grid = scores[:, :regular].unflatten(1, (_COLUMNS_EACH, groups))  # score c * groups + g is in group g
    chosen = grid.amax(dim=1).topk(count, dim=-1, sorted=False).indices  # (rows, count)
    within = grid.gather(2, chosen.unsqueeze(1).expand(-1, _COLUMNS_EACH, -1))  # (rows, columns each, count)
    columns = torch.arange(_COLUMNS_EACH, device=scores.device).mul_(groups)
    places = chosen.unsqueeze(1) + columns.unsqueeze(-1)
    candidates = torch.cat([within.flatten(1), scores[:, regular:]], dim=1)
    best, where = candidates.topk(count, dim=-1)
    rest = torch.arange(regular, vocabulary, device=scores.device).expand(rows, -1)
    return best, torch.cat([places.flatten(1), rest], dim=1).gather(1, where)
