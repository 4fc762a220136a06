"""``IncrementalDecoder`` with its blocks run by the native kernels."""

from typing import List, Optional

import torch
from torch import Tensor

from depth_adaptive_fairseq.generation.attention_caches import PrefixKeys
from depth_adaptive_fairseq.generation.incremental_decoder import IncrementalDecoder
from depth_adaptive_fairseq.native import kernels


class NativeDecoder(IncrementalDecoder):
    """The same state, steps and results; keys and values of the source never move, either, when sentences are finished.

    Args:
        weights: those of native blocks.
    """

    def __init__(self, decoder, weights, encoder_states: Tensor, padding_mask: Optional[Tensor], rows_per_sentence: int):
        super().__init__(decoder, weights, encoder_states.contiguous(), padding_mask, rows_per_sentence)
        self._library = kernels.library()
        self._library.set_threads(torch.get_num_threads())
        num_rows = encoder_states.size(0) * rows_per_sentence
        self._all_rows = torch.arange(num_rows)
        self._sentences = self._all_rows.div(rows_per_sentence, rounding_mode="floor")  # of each row, as they came
        self._source_real = None if self.source_mask is None else self.source_mask.flatten(1).contiguous()
        self._states: List[kernels.BlockState] = [
            kernels.BlockState(
                source_length=encoder_states.size(1),
                source_real=None if self._source_real is None else self._source_real.data_ptr(),
            )
            for _ in weights.blocks
        ]

    @property
    def num_rows(self) -> int:
        return self._sentences.numel()

    def run_block(self, exit_index: int, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        block, state = self.weights.blocks[exit_index - 1], self._states[exit_index - 1]
        everyone = rows is None and self.num_rows == self.encoder_states.size(0) * self.rows_per_sentence
        if rows is None:
            rows = self._all_rows[: self.num_rows]
        cache = self._prefix_keys[exit_index - 1]
        if cache is None:
            cache = self._prefix_keys[exit_index - 1] = PrefixKeys(self._capacity, hidden.size(-1), like=hidden)
        cache.reserve(self._capacity)
        state.prefix, state.filled = cache.keys_values.data_ptr(), cache.filled.data_ptr()
        state.rows, state.count = rows.data_ptr(), rows.numel()
        state.entries, state.length, state.stride = self.entries.data_ptr(), self.entries.size(1), self.entries.stride(0)
        state.exit_states = self._exit_states.data_ptr() if self._lowest_exit < exit_index else None
        state.sentences = self._sentences.data_ptr()
        source = self._cross_keys[exit_index - 1]
        if source is not None and not source.complete:
            needed = None if everyone else self._sentences.index_select(0, rows).unique()
            state.source = source.build(self.encoder_states, needed).data_ptr()
        hidden = hidden.clone()
        block.run(self._library, state, hidden)
        return hidden

    def reorder(self, order: Tensor, rows_per_sentence: int) -> None:
        self.entries = self.entries.index_select(0, order)
        self._sentences = self._sentences.index_select(0, order)
        if order.numel() > self._all_rows.numel():
            self._all_rows = torch.arange(order.numel())
        self.rows_per_sentence = rows_per_sentence
