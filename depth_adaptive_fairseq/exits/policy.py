"""What an exit policy is: data, which :mod:`~depth_adaptive_fairseq.exits.loop` and the native kernels interpret alike.

A policy decides for *rows*: hypotheses of a batched beam search, one decoding step at a time, or samples to be classified.
Either the exits are known before the first block runs, or a row leaves at the first exit n < N where a statistic of its state
or prediction compares with the threshold tau_n. Rows that never leave stop at the last exit. Exits are counted from 1.
"""

import operator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Callable, Optional, Sequence, Tuple


class Comparison(Enum):
    """How a statistic has to compare with the threshold for a row to leave; what is not a number never does."""

    ABOVE = ">"
    BELOW = "<"
    AT_LEAST = ">="
    AT_MOST = "<="

    def holds(self, statistic, threshold: float):
        """Whether ``statistic comparison threshold``, element by element."""
        return _OPERATORS[self](statistic, threshold)


_OPERATORS = {
    Comparison.ABOVE: operator.gt,
    Comparison.BELOW: operator.lt,
    Comparison.AT_LEAST: operator.ge,
    Comparison.AT_MOST: operator.le,
}


@dataclass(frozen=True)
class Statistic:
    """A number that each row has behind each block.

    Attributes:
        name: by which the kernels know it, if they do.
        compute: from what is known behind a block (``BlockOutput``), and what the exit before left to remember of the same rows
            (a list of tensors whose first dimension is the rows, or None), to the statistic, ``(rows,)``, and what to remember.
        reads_prediction: it reads the exit's logits, so that the prediction itself costs nothing more.
    """

    name: str
    compute: Callable[[Any, Optional[list]], Tuple[Any, Optional[list]]]
    reads_prediction: bool = False


@dataclass(frozen=True)
class Option:
    """The option ``--exit-NAME`` that a policy takes its value from.

    Attributes:
        kind: int, float, or str for one number or one for each exit but the last.
        meaning: what the value is, for the help.
        allowed: its range in words.
        low, high: the range; None: the number of exits.
        default: None where the policy needs the option to be given.
    """

    name: str
    kind: type
    meaning: str
    allowed: str
    low: float
    high: Optional[float]
    default: Any = None


def same_at_all_exits(value: Any, num_exits: int) -> Sequence[float]:
    """tau_n = the option's value, or its n-th number where there are several."""
    return value if isinstance(value, (list, tuple)) else [value] * (num_exits - 1)


@dataclass(frozen=True)
class Policy:
    """One way of choosing exits; ``registry`` has them all.

    Attributes:
        name: its value of ``--exit-policy``.
        meaning: when a row leaves, in words.
        decision_flops: FP, what deciding on one token's exit costs, from the decoder's sizes, the exit taken and the step, both
            from 1 (appendix B).
        known_exits: from the rule and the batch's sources (``SourceBatch``) to a function that gives the exits of rows, from their
            prefixes, ``(rows, step + 1)``, and sentences, ``(rows,)``, all as arrays; None where a statistic decides.
        statistic, comparison: see above.
        thresholds: from the option's value and N to tau_1 .. tau_{N-1}.
        option: None where there is nothing to choose.
        halting: the kind of halting classifier that the policy asks; "" for none.
        one_depth: all tokens leave at the same exit, so that no block is skipped (appendix B then counts no copied states).
    """

    name: str
    meaning: str
    decision_flops: Callable[[Any, int, int], int]
    known_exits: Optional[Callable] = None
    statistic: Optional[Statistic] = None
    comparison: Comparison = Comparison.ABOVE
    thresholds: Callable[[Any, int], Sequence[float]] = same_at_all_exits
    option: Optional[Option] = None
    halting: str = ""
    one_depth: bool = False

    def __post_init__(self):
        if (self.known_exits is None) == (self.statistic is None):
            raise TypeError(f"policy {self.name} must have either exits that are known or a statistic")

    @property
    def reads_prediction(self) -> bool:
        """Whether the classifiers of all exits that a token reaches are run."""
        return self.statistic is not None and self.statistic.reads_prediction


@dataclass(frozen=True)
class ExitRule:
    """A policy for given models: with its option's value, N and the halting classifiers.

    Attributes:
        value: of the option, or None.
        halting: of each ensemble member; empty where the policy asks none.
    """

    policy: Policy
    num_exits: int
    value: Any = None
    halting: tuple = ()

    @property
    def thresholds(self) -> Tuple[float, ...]:
        """tau_1 .. tau_{N-1}."""
        return tuple(map(float, self.policy.thresholds(self.value, self.num_exits)))
