"""One decoding step of one model by PyTorch's operators, block by block, on any device; see ``step_decoder``."""

from typing import List, NamedTuple, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.exits.loop import BlockOutput
from depth_adaptive_fairseq.inference.attention_caches import PrefixKeys, SourceKeys, grown, next_capacity, split_keys_values
from depth_adaptive_fairseq.inference.packed_weights import BlockWeights, PackedWeights
from depth_adaptive_fairseq.inference.step_decoder import TokenFilter
from depth_adaptive_fairseq.inference.work import Work
from depth_adaptive_fairseq.modules.block_parts import attend
from depth_adaptive_fairseq.modules.decoder import DepthAdaptiveDecoder


class _Placement(NamedTuple):
    """Where some of the rows are in the grid of sentences and beams.

    Attributes:
        sentences: those with rows that run, sorted; None: all.
        slots: each row's place in the grid of these sentences; None: the rows fill it.
        shape: of the grid, sentences by rows.
    """

    sentences: Optional[Tensor]
    slots: Optional[Tensor]
    shape: tuple


class TorchDecoder:
    """The state of one model's decoder during the search for one batch.

    Args:
        decoder: the model's decoder.
        weights: its packed weights, with blocks for PyTorch.
        encoder_states: ``(sentences, src_len, encoder width)``.
        padding_mask: True at padding, ``(sentences, src_len)``, or None.
        rows_per_sentence: hypotheses of each sentence in the first step.
        work: where to count.

    Attributes:
        entries: the entries of each row's tokens in the caches, the newest last, ``(rows, step + 1)``.
    """

    def __init__(
        self,
        decoder: DepthAdaptiveDecoder,
        weights: PackedWeights,
        encoder_states: Tensor,
        padding_mask: Optional[Tensor],
        rows_per_sentence: int,
        work: Optional[Work] = None,
    ):
        self.decoder = decoder
        self.weights = weights
        self.work = work or Work()
        self.encoder_states = encoder_states
        self.rows_per_sentence = rows_per_sentence
        self.source_mask: Optional[Tensor] = None  # (sentences, 1, 1, src_len), True at real tokens
        if padding_mask is not None and padding_mask.any():
            self.source_mask = ~padding_mask[:, None, None, :]

        self._cross_keys = [
            None if block.cross_keys_values is None else SourceKeys(block.cross_keys_values, block.heads)
            for block in weights.blocks
        ]
        # --cross-self-attention: self-attention sees the encoder's output in front of the prefix.
        self._self_source_keys = [
            SourceKeys(block.keys_values, block.heads) if block.layer.cross_self_attention else None
            for block in weights.blocks
        ]
        self._prefix_keys: List[Optional[PrefixKeys]] = [None] * len(weights.blocks)
        self._exit_states: Optional[Tensor] = None  # the state with which each entry's token left, (entries, width)
        self._lowest_exit = len(weights.blocks)  # of all tokens so far
        self.entries: Optional[Tensor] = None
        self._first_entry = 0  # of this step's tokens
        self._previous_rows = 0
        self._capacity = 0
        self._numbers: Optional[Tensor] = None  # of all entries there is room for
        self._placed_rows: Optional[Tensor] = None
        self._placement: Optional[_Placement] = None

    @property
    def num_rows(self) -> int:
        """Rows of the current step."""
        return self.encoder_states.size(0) * self.rows_per_sentence

    @property
    def step(self) -> int:
        """Number of the current step, from 0."""
        return self.entries.size(1) - 1

    def begin_step(self, newest: Tensor) -> Tensor:
        self._first_entry += self._previous_rows
        self._previous_rows = newest.size(0)
        needed = self._first_entry + newest.size(0)
        if needed > self._capacity:
            self._capacity = next_capacity(self._capacity, needed, newest.size(0))
            self._numbers = torch.arange(self._capacity, device=newest.device)
        fresh = self._numbers[self._first_entry : needed, None]
        self.entries = fresh if self.entries is None else torch.cat([self.entries, fresh], dim=1)
        self._placed_rows, self._placement = None, _Placement(None, None, (self.encoder_states.size(0), self.rows_per_sentence))
        self.work.steps += 1
        return self.weights.embed_newest(self.decoder, newest, self.step)

    def run_block(self, exit_index: int, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        self.work.add_block(hidden.size(0))
        block = self.weights.blocks[exit_index - 1]
        layer = block.layer
        hidden = block.run_sublayer(
            layer.self_attn_layer_norm, hidden, lambda x: self._self_attention(exit_index, block, x, rows)
        )
        if block.cross_query is not None:
            hidden = block.run_sublayer(
                layer.encoder_attn_layer_norm, hidden, lambda x: self._cross_attention(exit_index, block, x, rows)
            )
        return block.run_sublayer(layer.final_layer_norm, hidden, block.feed_forward)

    def leave(self, exit_index: int, hidden: Tensor, rows: Optional[Tensor]) -> None:
        if exit_index == len(self.weights.blocks):
            return  # no block above will ask
        self._lowest_exit = min(self._lowest_exit, exit_index)
        if self._exit_states is None:
            self._exit_states = hidden.new_empty(self._capacity, hidden.size(-1))
        self._exit_states = grown(self._exit_states, self._capacity)
        if rows is None:
            self._exit_states[self._newest_entries(None)] = hidden
        else:
            self._exit_states.index_copy_(0, self._newest_entries(rows), hidden)

    def best_tokens(self, output: BlockOutput, tokens: TokenFilter) -> Tuple[np.ndarray, np.ndarray]:
        if tokens.only is not None:
            return tokens.the_only(output)
        scores = tokens.log_probabilities(output)
        scores[:, tokens.suppressed] = -torch.inf
        if tokens.penalty != 0.0:
            scores[:, tokens.penalized] -= tokens.penalty
        best, found = scores.topk(tokens.count, dim=-1)
        return torch.nan_to_num(best, nan=-torch.inf, neginf=-torch.inf).cpu().numpy(), found.cpu().numpy()

    def reorder(self, order: Tensor, rows_per_sentence: int) -> None:
        self.entries = self.entries.index_select(0, order)
        if order.numel() < self.encoder_states.size(0) * rows_per_sentence:
            sentences = order[::rows_per_sentence].div(self.rows_per_sentence, rounding_mode="floor")
            self.encoder_states = self.encoder_states.index_select(0, sentences)
            if self.source_mask is not None:
                self.source_mask = self.source_mask.index_select(0, sentences)
            for keys in (*self._cross_keys, *self._self_source_keys):
                if keys is not None:
                    keys.keep_sentences(sentences)
        self.rows_per_sentence = rows_per_sentence

    def _newest_entries(self, rows: Optional[Tensor]):
        """Where this step's entries of *rows* are."""
        if rows is None:
            return slice(self._first_entry, self._first_entry + self._previous_rows)
        return rows + self._first_entry

    def _self_attention(self, exit_index: int, block: BlockWeights, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        width = hidden.size(-1)
        projected = block.qkv(hidden)  # (rows, 3 width)
        cache = self._prefix_keys[exit_index - 1]
        if cache is None:  # in the precision of the projection, which autocast may have chosen
            cache = self._prefix_keys[exit_index - 1] = PrefixKeys(self._capacity, width, like=projected)
        cache.reserve(self._capacity)

        newest = self._newest_entries(rows)
        cache.keys_values[newest] = projected[:, width:]
        cache.filled[newest] = True
        entries = self.entries if rows is None else self.entries.index_select(0, rows)  # (rows, step + 1)
        if self._lowest_exit < exit_index:
            self._project_copied_states(block, cache, entries)

        both = cache.keys_values.index_select(0, entries.flatten()).view(*entries.shape, 2 * width)
        keys, values = split_keys_values(both, block.heads)  # (rows, heads, step + 1, head_dim)
        mask = None
        if block.layer.cross_self_attention:
            keys, values, mask = self._prepend_source(exit_index, keys, values, rows)
        query = projected[:, :width].view(-1, block.heads, 1, width // block.heads)
        context = attend(block.layer.self_attn, query, keys, values, mask)  # (rows, heads, 1, head_dim)
        return block.self_out(context.reshape(-1, width))

    def _project_copied_states(self, block: BlockWeights, cache: PrefixKeys, entries: Tensor) -> None:
        """Fill in the keys and values of earlier tokens that left below the block."""
        missing = entries[~cache.filled[entries]]
        if missing.numel() == 0:
            return
        missing = missing.unique()  # hypotheses share their beginnings
        self.work.copied_states += missing.numel()
        states = self._exit_states.index_select(0, missing)  # (missing tokens, width)
        if block.pre_norm:
            states = block.layer.self_attn_layer_norm(states)
        cache.keys_values[missing] = block.keys_values(states)
        cache.filled[missing] = True

    def _prepend_source(self, exit_index: int, keys: Tensor, values: Tensor, rows: Optional[Tensor]):
        if rows is None:
            rows = torch.arange(self.num_rows, device=keys.device)
        sentences = rows.div(self.rows_per_sentence, rounding_mode="floor")
        unique, inverse = sentences.unique_consecutive(return_inverse=True)
        source_keys, source_values = self._self_source_keys[exit_index - 1].get(self.encoder_states, unique)
        mask = None
        if self.source_mask is not None:
            prefix_mask = self.source_mask.new_ones(sentences.numel(), 1, 1, keys.size(2))
            mask = torch.cat([self.source_mask[sentences], prefix_mask], dim=-1)
        keys = torch.cat([source_keys[inverse], keys], dim=2)
        values = torch.cat([source_values[inverse], values], dim=2)
        return keys, values, mask

    def _cross_attention(self, exit_index: int, block: BlockWeights, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        """Attention over the source, all rows of a sentence at once: its keys and values are not copied per row."""
        width = hidden.size(-1)
        sentences, slots, shape = self._place(rows)
        query = block.cross_query(hidden)  # (rows, width)
        if slots is not None:
            # Rows that left leave their place in the beam empty: cheaper than copying keys and values to each row.
            grid = query.new_zeros(shape[0] * shape[1], width)
            grid[slots] = query
            query = grid
        query = query.view(*shape, block.heads, -1).transpose(1, 2)  # (sentences, heads, rows, head_dim)
        keys, values = self._cross_keys[exit_index - 1].get(self.encoder_states, sentences)
        mask = self.source_mask
        if mask is not None and sentences is not None:
            mask = mask.index_select(0, sentences)
        context = attend(block.layer.encoder_attn, query, keys, values, mask)
        context = context.transpose(1, 2).reshape(-1, width)
        return block.cross_out(context if slots is None else context.index_select(0, slots))

    def _place(self, rows: Optional[Tensor]) -> _Placement:
        """Where *rows* are in the grid of sentences and beams; found once for all blocks that run the same rows."""
        if rows is not self._placed_rows:
            self._placed_rows = rows
            self._placement = self._find_place(rows)
        return self._placement

    def _find_place(self, rows: Tensor) -> _Placement:
        total = self.encoder_states.size(0)
        if total == 1:
            return _Placement(None, None, (1, rows.numel()))
        beam = rows.div(self.rows_per_sentence, rounding_mode="floor")
        sentences, inverse = beam.unique_consecutive(return_inverse=True)
        slots = inverse * self.rows_per_sentence + rows - beam * self.rows_per_sentence
        shape = (sentences.numel(), self.rows_per_sentence)
        return _Placement(None if sentences.numel() == total else sentences, slots, shape)
