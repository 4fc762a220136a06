"""What a decoding run reports about its exits: average exit, share of the decoder's FLOPs, histogram."""

from collections import Counter
from dataclasses import dataclass, field
from typing import List, Sequence, Tuple

from depth_adaptive_fairseq.exits.cost import DecoderSizes, full_depth_flops, sentence_flops
from depth_adaptive_fairseq.exits.policy import Policy


@dataclass
class ExitSums:
    """Sums over the tokens of best hypotheses, end of sentence and forced prefix included.

    Attributes:
        policy: the name of the exit policy.
        num_exits: N.
        tokens: how many tokens were counted.
        histogram: how many of them left at each exit.
        flops: of the decoders (appendix B).
        full_flops: what the same tokens would have cost at full depth.
    """

    policy: str
    num_exits: int
    tokens: int = 0
    histogram: Counter = field(default_factory=Counter)
    flops: int = 0
    full_flops: int = 0

    def count(self, exits: Sequence[int], flops: int, full_flops: int) -> None:
        """Count one sentence: the exits of its best hypothesis, and what they cost."""
        self.tokens += len(exits)
        self.histogram.update(exits)
        self.flops += flops
        self.full_flops += full_flops

    @property
    def average_exit(self) -> float:
        """AE, the mean exit over the tokens; nan before the first one."""
        total = sum(exit_index * count for exit_index, count in self.histogram.items())
        return total / self.tokens if self.tokens else float("nan")

    def describe(self) -> str:
        """One line for people."""
        if not self.tokens:
            return f"exit policy {self.policy}: no tokens were generated"
        shares = " ".join(f"{n}:{self.histogram[n] / self.tokens:.1%}" for n in range(1, self.num_exits + 1))
        return (
            f"exit policy {self.policy} | average exit {self.average_exit:.3f} of {self.num_exits}"
            f" | decoder FLOPs per token {self.flops / self.tokens:.4g}"
            f" ({self.flops / self.full_flops:.1%} of full depth) | exits {shares}"
        )


class ExitStatistics(ExitSums):
    """:class:`ExitSums` of a run with given models.

    Args:
        policy: the exit policy.
        members: the sizes of each ensemble member's decoder.
    """

    def __init__(self, policy: Policy, members: List[DecoderSizes]):
        super().__init__(policy.name, members[0].num_exits)
        self._policy = policy
        self.members = members

    def add(self, exits: Sequence[int], source_length: int) -> Tuple[int, int]:
        """Count one sentence: the exits of its best hypothesis, and its source length, end of sentence included.

        Returns:
            FLOPs of its decoding, and what they would have been at full depth.
        """
        flops = sum(sentence_flops(sizes, self._policy, exits, source_length) for sizes in self.members)
        full_flops = sum(full_depth_flops(sizes, len(exits), source_length) for sizes in self.members)
        self.count(exits, flops, full_flops)
        return flops, full_flops
