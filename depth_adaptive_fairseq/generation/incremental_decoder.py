"""One decoding step of one model, block by block, for the rows that still run.

A *row* is a hypothesis of the batched beam search: row ``r`` belongs to sentence ``r // beam_size``. At step ``t``
(from 0) each row has one new token. The caller runs the blocks in order and may drop rows between them; what a
dropped row's token looks like to the blocks above is its copied state (section 2.2.1, algorithm 2), which every
block projects with its own key and value matrices. That projection is made when, and only when, a later token of
the same row reaches the block.
"""

from typing import List, Optional

import torch
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from depth_adaptive_fairseq.modules.block_parts import attend, run_sublayer, split_heads
from depth_adaptive_fairseq.modules.decoder import DepthAdaptiveDecoder

_FIRST_CAPACITY = 32  # positions; doubled when the hypotheses grow beyond


class SourceKeys:
    """The encoder's keys and values for one attention module, built sentence by sentence when first asked for.

    Hypotheses of a sentence share them: nothing is copied for each row of the beam.
    """

    def __init__(self, attention: MultiheadAttention):
        self.attention = attention
        self.keys: Optional[Tensor] = None  # (sentences, heads, src_len, head_dim)
        self.values: Optional[Tensor] = None
        self.built: Optional[Tensor] = None  # (sentences,) booleans

    def get(self, encoder_states: Tensor, sentences: Optional[Tensor]):
        """Keys and values of *sentences* (sorted, unique; None: all), each ``(those, heads, src_len, head_dim)``.

        Args:
            encoder_states: ``(all sentences, src_len, encoder width)``.
        """
        if self.built is None:
            shape = (encoder_states.size(0), self.attention.num_heads, encoder_states.size(1), self.attention.head_dim)
            self.keys = encoder_states.new_zeros(shape)
            self.values = encoder_states.new_zeros(shape)
            self.built = torch.zeros(encoder_states.size(0), dtype=torch.bool, device=encoder_states.device)
        missing = ~self.built
        if sentences is not None:
            wanted = torch.zeros_like(self.built)
            wanted[sentences] = True
            missing = missing & wanted
        if missing.any():
            states = encoder_states[missing]
            self.keys[missing] = split_heads(self.attention, self.attention.k_proj(states))
            self.values[missing] = split_heads(self.attention, self.attention.v_proj(states))
            self.built |= missing
        if sentences is None:
            return self.keys, self.values
        return self.keys[sentences], self.values[sentences]

    def keep_sentences(self, sentences: Tensor) -> None:
        """Drop all sentences but *sentences*."""
        if self.built is not None:
            self.keys, self.values, self.built = (x[sentences] for x in (self.keys, self.values, self.built))


class PrefixKeys:
    """A block's self-attention keys and values of the tokens so far.

    Attributes:
        keys, values: ``(rows, heads, capacity, head_dim)``.
        filled: how many leading positions of each row are valid, ``(rows,)``. The positions from there up to the
            current one hold tokens that left below the block and have not been projected by it yet.
    """

    def __init__(self, rows: int, attention: MultiheadAttention, like: Tensor):
        shape = (rows, attention.num_heads, _FIRST_CAPACITY, attention.head_dim)
        self.keys = like.new_zeros(shape)
        self.values = like.new_zeros(shape)
        self.filled = torch.zeros(rows, dtype=torch.long, device=like.device)

    def reserve(self, length: int) -> None:
        """Make room for *length* positions."""
        while self.keys.size(2) < length:
            self.keys = torch.cat([self.keys, torch.zeros_like(self.keys)], dim=2)
            self.values = torch.cat([self.values, torch.zeros_like(self.values)], dim=2)

    def reorder(self, order: Tensor) -> None:
        """Row ``i`` becomes what row ``order[i]`` was."""
        self.keys, self.values, self.filled = (x.index_select(0, order) for x in (self.keys, self.values, self.filled))


class IncrementalDecoder:
    """The state of one model's decoder during the search for one batch.

    Args:
        decoder: the model's decoder.
        encoder_out: the encoder's output for the batch, in fairseq's form.
        beam_size: rows of each sentence.
    """

    def __init__(self, decoder: DepthAdaptiveDecoder, encoder_out: dict, beam_size: int):
        self.decoder = decoder
        self.beam_size = beam_size
        self.encoder_states = encoder_out["encoder_out"][0].transpose(0, 1)  # (sentences, src_len, encoder width)
        padding = encoder_out["encoder_padding_mask"]
        self.source_mask: Optional[Tensor] = None  # (sentences, 1, 1, src_len), True at real tokens
        if len(padding) > 0 and padding[0].any():
            self.source_mask = ~padding[0][:, None, None, :]

        layers = decoder.layers
        self.cross_keys = [SourceKeys(layer.encoder_attn) if layer.encoder_attn is not None else None for layer in layers]
        # --cross-self-attention: self-attention sees the encoder's output in front of the prefix.
        self.self_source_keys = [SourceKeys(layer.self_attn) if layer.cross_self_attention else None for layer in layers]
        self.prefix_keys: List[Optional[PrefixKeys]] = [None] * len(layers)
        self.exit_states: Optional[Tensor] = None  # the state with which each token left, (rows, capacity, width)
        self.step = 0

    def embed(self, tokens: Tensor) -> Tensor:
        """h^0 of the newest token of each row, ``(rows, width)``, from the whole prefixes, ``(rows, step + 1)``."""
        self.step = tokens.size(1) - 1
        return self.decoder.embed(tokens, newest_only=True).squeeze(1)

    def run_block(self, exit_index: int, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        """Run block *exit_index* (from 1) on the newest token of *rows* (sorted; None: all of them).

        Args:
            hidden: h^{n-1} of those rows, ``(those rows, width)``.

        Returns:
            h^n of those rows, ``(those rows, width)``.
        """
        layer = self.decoder.layers[exit_index - 1]
        hidden = run_sublayer(
            layer, layer.self_attn_layer_norm, hidden, lambda x: self._self_attention(exit_index - 1, x, rows)
        )
        if layer.encoder_attn is not None:
            hidden = run_sublayer(
                layer, layer.encoder_attn_layer_norm, hidden, lambda x: self._cross_attention(exit_index - 1, x, rows)
            )
        return run_sublayer(
            layer,
            layer.final_layer_norm,
            hidden,
            lambda x: layer.fc2(layer.activation_dropout_module(layer.activation_fn(layer.fc1(x)))),
        )

    def leave(self, hidden: Tensor, rows: Optional[Tensor]) -> None:
        """Keep h^n of *rows* as the state that all higher blocks see of their newest token."""
        if self.exit_states is None:
            total = self.encoder_states.size(0) * self.beam_size
            self.exit_states = hidden.new_zeros(total, _FIRST_CAPACITY, hidden.size(-1))
        if self.exit_states.size(1) <= self.step:
            self.exit_states = torch.cat([self.exit_states, torch.zeros_like(self.exit_states)], dim=1)
        if rows is None:
            self.exit_states[:, self.step] = hidden
        else:
            self.exit_states[rows, self.step] = hidden

    def reorder(self, order: Tensor) -> None:
        """Follow the beam: row ``i`` becomes what row ``order[i]`` was; sentences without rows are dropped."""
        for keys in self.prefix_keys:
            if keys is not None:
                keys.reorder(order)
        if self.exit_states is not None:
            self.exit_states = self.exit_states.index_select(0, order)
        if order.numel() < self.encoder_states.size(0) * self.beam_size:
            sentences = order[:: self.beam_size].div(self.beam_size, rounding_mode="floor")
            self.encoder_states = self.encoder_states[sentences]
            if self.source_mask is not None:
                self.source_mask = self.source_mask[sentences]
            for keys in (*self.cross_keys, *self.self_source_keys):
                if keys is not None:
                    keys.keep_sentences(sentences)

    def _self_attention(self, block: int, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        layer = self.decoder.layers[block]
        attention = layer.self_attn
        cache = self.prefix_keys[block]
        if cache is None:
            total = self.encoder_states.size(0) * self.beam_size
            cache = self.prefix_keys[block] = PrefixKeys(total, attention, like=hidden)
        cache.reserve(self.step + 1)
        self._project_copied_states(layer, cache, rows)

        index = slice(None) if rows is None else rows
        cache.keys[index, :, self.step] = attention.k_proj(hidden).view(-1, attention.num_heads, attention.head_dim)
        cache.values[index, :, self.step] = attention.v_proj(hidden).view(-1, attention.num_heads, attention.head_dim)
        cache.filled[index] = self.step + 1

        query = attention.q_proj(hidden).view(-1, attention.num_heads, 1, attention.head_dim)
        keys = cache.keys[index, :, : self.step + 1]
        values = cache.values[index, :, : self.step + 1]
        mask = None
        if layer.cross_self_attention:
            keys, values, mask = self._prepend_source(block, keys, values, rows)
        context = attend(attention, query, keys, values, mask)  # (rows, heads, 1, head_dim)
        return attention.out_proj(context.flatten(1))

    def _project_copied_states(self, layer: nn.Module, cache: PrefixKeys, rows: Optional[Tensor]) -> None:
        """Fill in the keys and values of earlier tokens that left below the block, for *rows*."""
        filled = cache.filled if rows is None else cache.filled[rows]
        missing = torch.arange(self.step, device=filled.device) >= filled.unsqueeze(1)  # (rows, step)
        if not missing.any():
            return
        row, position = missing.nonzero(as_tuple=True)
        if rows is not None:
            row = rows[row]
        states = self.exit_states[row, position]  # (missing tokens, width)
        if layer.normalize_before:
            states = layer.self_attn_layer_norm(states)
        attention = layer.self_attn
        cache.keys[row, :, position] = attention.k_proj(states).view(-1, attention.num_heads, attention.head_dim)
        cache.values[row, :, position] = attention.v_proj(states).view(-1, attention.num_heads, attention.head_dim)

    def _prepend_source(self, block: int, keys: Tensor, values: Tensor, rows: Optional[Tensor]):
        sentences = self._sentences(rows)
        unique, inverse = sentences.unique(return_inverse=True)
        source_keys, source_values = self.self_source_keys[block].get(self.encoder_states, unique)
        mask = None
        if self.source_mask is not None:
            prefix_mask = self.source_mask.new_ones(sentences.numel(), 1, 1, keys.size(2))
            mask = torch.cat([self.source_mask[sentences], prefix_mask], dim=-1)
        keys = torch.cat([source_keys[inverse], keys], dim=2)
        values = torch.cat([source_values[inverse], values], dim=2)
        return keys, values, mask

    def _cross_attention(self, block: int, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        """Attention over the source, all rows of a sentence at once: its keys and values are not copied per row."""
        attention = self.decoder.layers[block].encoder_attn
        query = attention.q_proj(hidden)  # (rows, width)
        sentences, slots = None, None
        if rows is None:
            query = query.view(-1, self.beam_size, attention.num_heads, attention.head_dim)
        else:
            # Rows that left leave their place in the beam empty: cheaper than copying keys and values to each row.
            sentences, inverse = self._sentences(rows).unique(return_inverse=True)
            slots = inverse * self.beam_size + rows % self.beam_size
            packed = query
            query = packed.new_zeros(sentences.numel() * self.beam_size, packed.size(1))
            query[slots] = packed
            query = query.view(-1, self.beam_size, attention.num_heads, attention.head_dim)
        keys, values = self.cross_keys[block].get(self.encoder_states, sentences)
        mask = self.source_mask
        if mask is not None and sentences is not None:
            mask = mask[sentences]
        context = attend(attention, query.transpose(1, 2), keys, values, mask)
        context = context.transpose(1, 2).reshape(-1, attention.embed_dim)  # (sentences * beam, width)
        return attention.out_proj(context if slots is None else context[slots])

    def _sentences(self, rows: Optional[Tensor]) -> Tensor:
        if rows is None:
            rows = torch.arange(self.encoder_states.size(0) * self.beam_size, device=self.encoder_states.device)
        return rows.div(self.beam_size, rounding_mode="floor")
