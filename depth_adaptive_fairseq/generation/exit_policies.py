"""When a token leaves the decoder: what a policy is, and the policies that do not look at the model.

``statistic_policies`` and ``halting_policies`` hold those that do: one small class for each value of ``--exit-policy``.

A policy decides for *rows*, the hypotheses of a batched beam search, one decoding step at a time. For each step
:meth:`ExitPolicy.begin_step` gives a function ``leave(exit_index, rows, block)`` that the decoder calls behind every
block but the last, for the rows still running, in order. It returns one boolean a row, or a plain ``True`` or
``False`` where all of them do the same. Rows that never leave stop at the last exit.

Statistics of an ensemble are averaged over its members, so that a row has one exit.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from depth_adaptive_fairseq.generation.work import Work


@dataclass
class SourceBatch:
    """What a policy may know about the sentences before decoding starts.

    Attributes:
        tokens: source tokens, ``(sentences, src_len)``.
        padding_idx: the padding token.
        encoder_outs: each ensemble member's encoder output, in fairseq's form.
    """

    tokens: Tensor
    padding_idx: int
    encoder_outs: Sequence[dict] = ()


class BlockOutput:
    """What is known about some rows behind one block.

    Attributes:
        hidden: h^n of each ensemble member, each ``(rows, width of the member)``.
        classifiers: C_n of each member.
        work: where their calls are counted.
    """

    def __init__(self, hidden: List[Tensor], classifiers: Sequence[Callable[[Tensor], Tensor]], work: Work):
        self.hidden = hidden
        self.classifiers = classifiers
        self.work = work
        self._logits: Optional[List[Tensor]] = None

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
                self.work.add_classifier(hidden.size(0))
        return self._logits

    def select(self, index: Tensor) -> "BlockOutput":
        """The same for the rows that *index* picks."""
        selected = BlockOutput([hidden.index_select(0, index) for hidden in self.hidden], self.classifiers, self.work)
        if self._logits is not None:
            selected._logits = [logits.index_select(0, index) for logits in self._logits]
        return selected


def mean_over_members(values: List[Tensor]) -> Tensor:
    """The average of a statistic over the ensemble."""
    return values[0] if len(values) == 1 else torch.stack(values).mean(dim=0)


class ExitRule(NamedTuple):
    """A policy that the native kernels can follow by themselves.

    Attributes:
        fixed_exit: of all tokens; None: chosen token by token.
        halting: weight, ``(width,)``, and bias, ``(1,)``, of chi^n's logit, n = 1 .. N-1, in float32; empty: tokens leave by the
            largest probability.
        thresholds: tau_n.
    """

    fixed_exit: Optional[int]
    halting: Sequence[Tuple[Tensor, Tensor]] = ()
    thresholds: Sequence[float] = ()


Leave = Callable[[int, Tensor, BlockOutput], Union[bool, Tensor]]


class ExitPolicy(ABC):
    """How exits are chosen. ``name`` is the policy's name on the command line."""

    name: str

    def start(self, source: SourceBatch) -> Optional[Tensor]:
        """Compute what the policy keeps of every sentence: a tensor whose first dimension is the sentences, or None."""
        return None

    @abstractmethod
    def begin_step(self, prefixes: Tensor, kept: Optional[Tensor]) -> Leave:
        """Return the decision function of one decoding step.

        Args:
            prefixes: what each row has produced so far, ``(rows, step + 1)``, start token included.
            kept: :meth:`start`'s result for the sentence of each row.
        """

    def rule(self) -> Optional[ExitRule]:
        """The same as a rule for the batch that :meth:`start` was given, where it is as simple as that."""
        return None


class FixedExit(ExitPolicy):
    """Every token leaves at the same exit."""

    name = "fixed"

    def __init__(self, exit_index: int):
        self.exit_index = exit_index

    def begin_step(self, prefixes, kept):
        return lambda exit_index, rows, block: exit_index == self.exit_index

    def rule(self):
        return ExitRule(self.exit_index) if type(self) in (FixedExit, FullDepth) else None  # a subclass may decide otherwise


class FullDepth(FixedExit):
    """Every token runs all blocks."""

    name = "full"


class UniformExit(ExitPolicy):
    """Every token leaves at an exit drawn uniformly from 1..N (the "Uniform" column of Table 1).

    The draw is a hash of the seed, the sentence's source tokens and the hypothesis' prefix: it does not depend on the
    batch that a sentence is in, nor on the order in which anything is computed.
    """

    name = "uniform"

    def __init__(self, num_exits: int, seed: int):
        self.num_exits = num_exits
        self.seed = seed

    def start(self, source):
        return _hash_tokens(source.tokens, source.tokens.ne(source.padding_idx), self.seed)  # (sentences,)

    def begin_step(self, prefixes, kept):
        keys = _mix(kept ^ _hash_tokens(prefixes, torch.ones_like(prefixes, dtype=torch.bool), self.seed + 1))
        # The upper bits, shifted so that the remainder is never negative.
        exits = (keys >> 16 & 0x7FFFFFFF) % self.num_exits + 1  # (rows,)
        return lambda exit_index, rows, block: exits[rows] == exit_index


# 64-bit mixing constants; odd, so that multiplication modulo 2**64 loses nothing.
_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685


def _mix(keys: Tensor) -> Tensor:
    """Spread every bit of 64-bit *keys* over all bits of the result."""
    keys = (keys ^ (keys >> 30 & 0x3FFFFFFFF)) * _MIX_1
    keys = (keys ^ (keys >> 27 & 0x1FFFFFFFFF)) * _MIX_2
    return keys ^ (keys >> 31 & 0x1FFFFFFFF)


def _hash_tokens(tokens: Tensor, real: Tensor, seed: int) -> Tensor:
    """One 64-bit key for each row's sequence of *real* tokens, whatever the padding around them, ``(rows,)``."""
    position = real.long().cumsum(dim=1)  # counts real tokens only, so left padding does not matter
    mixed = _mix((tokens + 1) * _GOLDEN + position * _MIX_1 + _as_int64(seed * _MIX_2))
    return _mix((mixed * real).sum(dim=1) + _as_int64(seed * _GOLDEN))


def _as_int64(value: int) -> int:
    """*value* modulo 2**64, as the signed integer that a tensor holds."""
    return (value + 2**63) % 2**64 - 2**63
