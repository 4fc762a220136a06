"""What a decoding run reports about its exits: average exit, share of the decoder's FLOPs, histogram."""

from collections import Counter
from dataclasses import dataclass, field
from typing import List, Sequence

from depth_adaptive_fairseq.generation.cost import DecoderSizes, full_depth_flops, sentence_flops


@dataclass
class ExitStatistics:
    """Sums over the tokens of best hypotheses, end of sentence and forced prefix included.

    Attributes:
        policy: the name of the exit policy.
        members: the sizes of each ensemble member's decoder.
        tokens: how many tokens were counted.
        histogram: how many of them left at each exit.
        flops: of the decoders (appendix B).
        full_flops: what the same tokens would have cost at full depth.
    """

    policy: str
    members: List[DecoderSizes]
    tokens: int = 0
    histogram: Counter = field(default_factory=Counter)
    flops: int = 0
    full_flops: int = 0

    def add(self, exits: Sequence[int], source_length: int) -> None:
        """Count one sentence: the exits of its best hypothesis, and its source length, end of sentence included."""
        self.tokens += len(exits)
        self.histogram.update(exits)
        for sizes in self.members:
            self.flops += sentence_flops(sizes, self.policy, exits, source_length)
            self.full_flops += full_depth_flops(sizes, len(exits), source_length)

    @property
    def average_exit(self) -> float:
        """AE, the mean exit over the tokens; nan before the first one."""
        total = sum(exit_index * count for exit_index, count in self.histogram.items())
        return total / self.tokens if self.tokens else float("nan")

    def describe(self) -> str:
        """One line for people."""
        if not self.tokens:
            return f"exit policy {self.policy}: no tokens were generated"
        num_exits = self.members[0].num_exits
        shares = " ".join(f"{n}:{self.histogram[n] / self.tokens:.1%}" for n in range(1, num_exits + 1))
        return (
            f"exit policy {self.policy} | average exit {self.average_exit:.3f} of {num_exits}"
            f" | decoder FLOPs per token {self.flops / self.tokens:.4g}"
            f" ({self.flops / self.full_flops:.1%} of full depth) | exits {shares}"
        )
