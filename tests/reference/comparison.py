"""Comparing what the generator found with what the slow search found."""

from collections import Counter
from dataclasses import dataclass, field
from typing import List

from tests.reference.slow_search import SlowResult

SCORE_TOLERANCE = 5e-5  # a sum of a few float32 logarithms
TIE = 1e-5  # below this, rounding may decide between two candidates, or on a threshold


@dataclass
class Comparison:
    """Compares sentence by sentence and counts.

    A difference is forgiven only if the slow search itself was that close to another result; :meth:`check` makes sure
    that this is rare, and that exits were diverse enough for the comparison to mean something.
    """

    sentences: int = 0
    ties: int = 0
    mixed_exits: int = 0
    first_exits: Counter = field(default_factory=Counter)  # of the first token of each sentence

    def add(self, found: List[dict], expected: SlowResult) -> None:
        """Compare the n-best list of one sentence.

        Raises:
            AssertionError: they differ.
        """
        self.sentences += 1
        difference = first_difference(found, expected)
        if difference is not None:
            assert expected.margin < TIE, f"{difference} (closest call: {expected.margin:.3g})"
            self.ties += 1
        self.mixed_exits += len({exit_index for slow in expected.hypotheses for exit_index in slow.exits}) > 1
        self.first_exits[expected.hypotheses[0].exits[0]] += 1

    def check(self, least_mixed: float = 0.0, most_alike: float = 1.0) -> None:
        """Fail if too many differences were forgiven, or if exits were too much alike.

        Args:
            least_mixed: the least share of sentences with different exits.
            most_alike: the highest share of sentences whose first tokens may have the same exit.
        """
        assert self.ties <= 0.02 * self.sentences, f"{self.ties} near-ties in {self.sentences} sentences"
        enough = self.mixed_exits >= least_mixed * self.sentences
        assert enough, f"only {self.mixed_exits} of {self.sentences} sentences mix exits"
        [(_, alike)] = self.first_exits.most_common(1)
        assert alike <= most_alike * self.sentences, f"{self.first_exits} of {self.sentences} sentences"


def first_difference(found: List[dict], expected: SlowResult):
    """What differs first between two n-best lists, as text, or None."""
    if len(found) != len(expected.hypotheses):
        return f"{len(found)} hypotheses instead of {len(expected.hypotheses)}"
    for rank, (real, slow) in enumerate(zip(found, expected.hypotheses), start=1):
        for name, ours, theirs in (
            ("tokens", real["tokens"].tolist(), slow.tokens),
            ("exits", real["exits"].tolist(), slow.exits),
        ):
            if ours != theirs:
                return f"{name} of hypothesis {rank}: {ours} instead of {theirs}"
        scores = list(zip(real["positional_scores"].tolist() + [float(real["score"])], slow.scores + [slow.score]))
        if any(abs(ours - theirs) > SCORE_TOLERANCE for ours, theirs in scores):
            return f"scores of hypothesis {rank}: {scores}"
    return None
