"""Keys and values that a decoding step attends to: of the source, and of the prefixes."""

from typing import Callable, Optional, Tuple

import torch
from torch import Tensor


class SourceKeys:
    """The encoder's keys and values for one attention module, built sentence by sentence when first asked for.

    Hypotheses of a sentence share them: nothing is copied for each row of the beam.

    Args:
        project: from encoder states, ``(sentences, src_len, encoder width)``, to keys and values, ``(..., 2 width)``.
        heads: number of attention heads.
    """

    def __init__(self, project: Callable[[Tensor], Tensor], heads: int):
        self.project = project
        self.heads = heads
        self._keys_values: Optional[Tensor] = None  # (sentences, src_len, 2 width)
        self._built: Optional[Tensor] = None  # (sentences,) booleans; None: all of them

    def get(self, encoder_states: Tensor, sentences: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """Keys and values of *sentences* (sorted, unique; None: all), each ``(those, heads, src_len, head_dim)``.

        Args:
            encoder_states: ``(all sentences, src_len, encoder width)``.
        """
        if self._keys_values is None and sentences is None:
            self._keys_values = self.project(encoder_states)
        elif self._keys_values is None or self._built is not None:
            self._build(encoder_states, sentences)
        chosen = self._keys_values if sentences is None else self._keys_values.index_select(0, sentences)
        return split_keys_values(chosen, self.heads)

    def _build(self, encoder_states: Tensor, sentences: Optional[Tensor]) -> None:
        if self._built is None:
            self._built = torch.zeros(encoder_states.size(0), dtype=torch.bool, device=encoder_states.device)
        missing = ~self._built
        if sentences is not None:
            wanted = torch.zeros_like(self._built)
            wanted[sentences] = True
            missing &= wanted
        missing = missing.nonzero().squeeze(1)
        if missing.numel() == 0:
            return
        projected = self.project(encoder_states.index_select(0, missing))
        if self._keys_values is None:
            self._keys_values = projected.new_zeros(encoder_states.size(0), *projected.shape[1:])
        self._keys_values[missing] = projected
        self._built[missing] = True
        if self._built.all():
            self._built = None

    def keep_sentences(self, sentences: Tensor) -> None:
        """Drop all sentences but *sentences*."""
        if self._keys_values is not None:
            self._keys_values = self._keys_values.index_select(0, sentences)
        if self._built is not None:
            self._built = self._built.index_select(0, sentences)


class PrefixKeys:
    """A block's self-attention keys and values of all tokens that were ever decoded, each at its entry.

    Entries are never moved: a hypothesis is a list of entries (see ``IncrementalDecoder.entries``), and hypotheses with
    the same beginning share them. An entry whose token left below the block is empty until a later token needs it.
    """

    def __init__(self, capacity: int, width: int, like: Tensor):
        self.keys_values = like.new_empty(capacity, 2 * width)
        self.filled = torch.zeros(capacity, dtype=torch.bool, device=like.device)

    def reserve(self, capacity: int) -> None:
        """Make room for *capacity* entries."""
        before = self.filled.size(0)
        if before < capacity:
            self.keys_values, self.filled = grown(self.keys_values, capacity), grown(self.filled, capacity)
            self.filled[before:] = False


_FIRST_STEPS = 16  # steps that buffers have room for once the beam is known
_FEWEST = 128  # entries; few sentences need no second look, and memory that nothing is written to takes none


def next_capacity(before: int, needed: int, rows: int) -> int:
    """How many entries to have room for when *needed* are, now, and *rows* more come with each step.

    The first step, which has one row a sentence, gets little more than it needs; later ones some steps' worth, and what is
    used by more than half is doubled.
    """
    if before == 0:
        return max(needed, _FEWEST)
    return max(before if 2 * needed <= before else 2 * before, _FIRST_STEPS * rows, needed)


def grown(buffer: Tensor, capacity: int) -> Tensor:
    """*buffer* with *capacity* places in its first dimension; new ones hold anything."""
    if buffer.size(0) >= capacity:
        return buffer
    larger = buffer.new_empty(capacity, *buffer.shape[1:])
    larger[: buffer.size(0)] = buffer
    return larger


def split_keys_values(both: Tensor, heads: int) -> Tuple[Tensor, Tensor]:
    """Keys and values, each ``(batch, heads, length, head_dim)``, from ``(batch, length, 2 width)``; nothing is copied."""
    batch, length, _ = both.shape
    both = both.view(batch, length, 2, heads, -1)
    return both[:, :, 0].transpose(1, 2), both[:, :, 1].transpose(1, 2)
