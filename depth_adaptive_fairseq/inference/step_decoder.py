"""What the two ways to run a decoder have in common: ``torch_backend`` and ``native_backend``, the same algorithm twice.

A *row* is a hypothesis of the batched beam search. At step ``t`` (from 0) each row has one new token. The caller runs the blocks
in order and may drop rows between them; what a dropped row's token looks like to the blocks above is its copied state (section
2.2.1, algorithm 2), which every block projects with its own key and value matrices. That projection is made when, and only
when, a later token of the same hypothesis reaches the block.
"""

from dataclasses import dataclass
from typing import Optional, Protocol, Tuple

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.exits.loop import BlockOutput
from depth_adaptive_fairseq.inference.packed_weights import PackedWeights


@dataclass(frozen=True)
class TokenFilter:
    """Which tokens may follow, and how many of the best are wanted.

    Attributes:
        count: of the best tokens of each row.
        suppressed: tokens that must not follow, int64.
        penalized, penalty: a token that loses *penalty* behind the softmax.
        temperature: that logits are divided by.
        only: the one token that may follow, or None.
    """

    count: int
    suppressed: np.ndarray
    penalized: int
    penalty: float
    temperature: float
    only: Optional[int] = None

    def log_probabilities(self, output: BlockOutput) -> Tensor:
        """Of all tokens behind one member's exit, ``(rows, V)``, before anything is suppressed."""
        # One fused pass; PyTorch's logsumexp alone takes longer.
        return self.logits(output).log_softmax(dim=-1, dtype=torch.float32)

    def logits(self, output: BlockOutput) -> Tensor:
        """What they are the softmax of, ``(rows, V)``."""
        logits = output.logits()[0]
        return logits if self.temperature == 1.0 else logits / self.temperature

    def the_only(self, output: BlockOutput) -> Tuple[np.ndarray, np.ndarray]:
        """What ``StepDecoder.best_tokens`` gives where a single token may follow."""
        scores = self.log_probabilities(output)
        best = np.full((scores.size(0), self.count), -np.inf, dtype=np.float32)
        best[:, 0] = scores[:, self.only].cpu().numpy()
        return best, np.full(best.shape, self.only)


class StepDecoder(Protocol):
    """The state of one model's decoder during the search for one batch.

    Attributes:
        weights: the decoder's packed weights.
        step: number of the current step, from 0.
    """

    weights: PackedWeights
    step: int

    def begin_step(self, newest: Tensor) -> Tensor:
        """Take the newest token of each row, ``(rows,)``; returns their h^0, ``(rows, width)``."""

    def run_block(self, exit_index: int, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        """Run block *exit_index* (from 1) on the newest token of *rows* (sorted; None: all of them).

        Args:
            hidden: h^{n-1} of those rows, ``(those rows, width)``.

        Returns:
            h^n of those rows, ``(those rows, width)``.
        """

    def leave(self, exit_index: int, hidden: Tensor, rows: Optional[Tensor]) -> None:
        """Keep h^n of *rows* as the state that all higher blocks see of their newest token."""

    def best_tokens(self, output: BlockOutput, tokens: TokenFilter) -> Tuple[np.ndarray, np.ndarray]:
        """Log-probabilities and tokens of the best continuations of rows that have left, both ``(rows, count)``, the best first.

        A token that must not follow has a log-probability of -inf.
        """

    def reorder(self, order: Tensor, rows_per_sentence: int) -> None:
        """Follow the beam: row ``i`` becomes what row ``order[i]`` was; sentences without rows are dropped.

        Args:
            order: sorted by sentence.
            rows_per_sentence: from now on.
        """
