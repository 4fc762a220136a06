"""The loop over a stack of blocks with exits: rows that leave are taken out, the others go on packed together.

The same for a decoder's step, whose rows are hypotheses, and for an encoder's pass over a batch, whose rows are samples.
"""

from typing import Callable, List, NamedTuple, Optional, Protocol, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.exits.policy import ExitRule


class BlockOutput:
    """What is known about some rows behind one block.

    Attributes:
        exit_index: n, from 1.
        hidden: h^n of each ensemble member, each ``(rows, width of the member)``.
        classifiers: C_n of each member.
        halting: weight and bias of each member's halting classifier (``HaltingClassifier.rows``), where the policy asks them.
        on_classified: called with the number of rows when a classifier has run.
    """

    def __init__(
        self,
        exit_index: int,
        hidden: List[Tensor],
        classifiers: Sequence[Callable[[Tensor], Tensor]],
        halting: Sequence[Tuple[Tensor, Tensor]] = (),
        on_classified: Callable[[int], None] = lambda rows: None,
    ):
        self.exit_index = exit_index
        self.hidden = hidden
        self.classifiers = classifiers
        self.halting = halting
        self.on_classified = on_classified
        self._logits: Optional[List[Tensor]] = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.hidden[0].size(0)

    @property
    def has_logits(self) -> bool:
        """Whether the logits have been computed."""
        return self._logits is not None

    def logits(self) -> List[Tensor]:
        """The logits of this exit for each ensemble member, each ``(rows, V)``; computed once."""
        if self._logits is None:
            self._logits = []
            for classify, hidden in zip(self.classifiers, self.hidden):
                self._logits.append(classify(hidden))
                self.on_classified(hidden.size(0))
        return self._logits

    def select(self, index: Tensor) -> "BlockOutput":
        """The same for the rows that *index* picks."""
        hidden = [each.index_select(0, index) for each in self.hidden]
        selected = BlockOutput(self.exit_index, hidden, self.classifiers, self.halting, self.on_classified)
        if self._logits is not None:
            selected._logits = [logits.index_select(0, index) for logits in self._logits]
        return selected


class ExitGroup(NamedTuple):
    """Rows that left at the same exit.

    Attributes:
        rows: sorted; None for all rows.
        output: behind the exit's block.
    """

    rows: Optional[np.ndarray]
    output: BlockOutput

    @property
    def exit_index(self) -> int:
        """From 1."""
        return self.output.exit_index


class ExitStack(Protocol):
    """Blocks with exits, of all members of an ensemble side by side; *rows*, sorted, are on their device, None for all."""

    def run_block(self, exit_index: int, hidden: List[Tensor], rows: Optional[Tensor]) -> List[Tensor]:
        """Run block *exit_index* (from 1) of each member on *rows*, whose states are *hidden*, each ``(those rows, ...)``."""

    def output(self, exit_index: int, hidden: List[Tensor]) -> BlockOutput:
        """What exits see of *hidden*."""

    def leave(self, output: BlockOutput, rows: Optional[Tensor]) -> None:
        """Take note that *rows* have left with *output*."""


def run_exits(
    stack: ExitStack, rule: ExitRule, hidden: List[Tensor], num_rows: int, known_exits: Optional[np.ndarray] = None
) -> List[ExitGroup]:
    """Run each row up to its exit.

    Args:
        rule: decides where that is, unless exits are known beforehand.
        hidden: what block 1 gets, of each member, each ``(rows, ...)``.
        known_exits: of each row, ``(rows,)``; None where the rule's statistic decides.

    Returns:
        all rows, by exit, the lowest first.
    """
    groups: List[ExitGroup] = []
    running, packed = np.arange(num_rows), None  # rows that have not left; on the device, None for all
    thresholds = () if known_exits is not None else rule.thresholds
    remembered: Optional[list] = None
    for exit_index in range(1, rule.num_exits + 1):
        hidden = stack.run_block(exit_index, hidden, packed)
        output = stack.output(exit_index, hidden)
        if exit_index == rule.num_exits:
            leaving = np.ones(running.size, dtype=bool)
        elif known_exits is not None:
            leaving = known_exits[running] == exit_index
        else:
            statistic, remembered = rule.policy.statistic.compute(output, remembered)
            # The only look at the device between two blocks.
            leaving = rule.policy.comparison.holds(statistic, thresholds[exit_index - 1]).cpu().numpy()
        if leaving.all():
            stack.leave(output, packed)
            groups.append(ExitGroup(None if packed is None else running, output))
            break
        if not leaving.any():
            continue
        device = hidden[0].device
        left, staying = (torch.from_numpy(np.flatnonzero(each)).to(device) for each in (leaving, ~leaving))
        output = output.select(left)
        rows, running = running[leaving], running[~leaving]
        stack.leave(output, torch.from_numpy(rows).to(device))
        groups.append(ExitGroup(rows, output))
        packed = torch.from_numpy(running).to(device)
        hidden = [each.index_select(0, staying) for each in hidden]
        remembered = None if remembered is None else [each.index_select(0, staying) for each in remembered]
    return groups
