"""Teacher forcing along given exits: the forward pass of mixed training (section 2.2, Eq. 5)."""

from typing import List, Optional

import torch
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from depth_adaptive_fairseq.modules.block_parts import attend, run_sublayer, split_heads


def run_exit_paths(decoder: nn.Module, prev_output_tokens: Tensor, encoder_out: dict, exits: Tensor) -> List[Tensor]:
    """Run the decoder's blocks on all positions, each position stopping at its exit.

    A position that left at n keeps h^n as its state in all higher blocks, whose self-attention sees their own key and
    value projections of it, exactly as when decoding.

    The M paths share the encoder, every block's cross-attention keys and values, and blocks 1 and 2, whose input is the
    same on all of them. With N blocks a pass costs what ``min(N, 2) + M * max(N - 2, 0)`` blocks of an aligned pass cost,
    the keys and values of the source counted once for each block. The classifiers come on top: they
    score each token M times, once on each path, where an aligned pass has it scored N times.

    Args:
        decoder: a ``DepthAdaptiveDecoder``.
        prev_output_tokens: ``(batch, tgt_len)``.
        encoder_out: the encoder's output in fairseq's form.
        exits: from 1, ``(batch, M, tgt_len)``.

    Returns:
        the states behind block 1 .. N, copied ones included, each ``(batch, M, tgt_len, width)``; the last one holds the
        state with which each position left.
    """
    paths = exits.size(1)
    source = encoder_out["encoder_out"][0].transpose(0, 1)  # (batch, src_len, encoder width)
    padding = encoder_out["encoder_padding_mask"]
    source_mask = None  # (batch, 1, 1, src_len), True at real tokens
    if len(padding) > 0 and padding[0].any():
        source_mask = ~padding[0][:, None, None, :]
    prefix_mask = _prefix_mask(prev_output_tokens, decoder.padding_idx)

    hidden = decoder.embed(prev_output_tokens).unsqueeze(1)  # (batch, 1, tgt_len, width) while all paths agree
    states = []
    for index, layer in enumerate(decoder.layers):
        output = _run_block(layer, hidden, source, source_mask, prefix_mask)
        stays = exits.gt(index).unsqueeze(-1)  # (batch, M, tgt_len, 1), whether the position reaches this block
        if index == 0:
            hidden = output  # every position reaches block 1
        else:
            hidden = torch.where(stays, output, hidden)  # (batch, M, tgt_len, width)
        states.append(hidden.expand(-1, paths, -1, -1))
    return states


def _prefix_mask(tokens: Tensor, padding_idx: int) -> Tensor:
    """What a position may attend to: real positions up to itself, and itself, ``(batch, 1, tgt_len, tgt_len)``."""
    length = tokens.size(1)
    causal = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
    mask = causal & tokens.ne(padding_idx)[:, None, :]
    return (mask | torch.eye(length, dtype=torch.bool, device=tokens.device)).unsqueeze(1)


def _run_block(layer: nn.Module, hidden: Tensor, source: Tensor, source_mask: Optional[Tensor], prefix_mask: Tensor) -> Tensor:
    """One decoder block over ``(batch, paths, tgt_len, width)``."""
    batch, paths, length, width = hidden.shape

    def self_attention(x: Tensor) -> Tensor:
        attention = layer.self_attn
        x = x.flatten(0, 1)  # (batch * paths, tgt_len, width)
        keys, values = split_heads(attention, attention.k_proj(x)), split_heads(attention, attention.v_proj(x))
        mask = prefix_mask.repeat_interleave(paths, dim=0)
        if layer.cross_self_attention:
            keys, values, mask = _prepend_source(attention, source, source_mask, keys, values, mask, paths)
        return _attend(attention, x, keys, values, mask).view_as(hidden)

    def cross_attention(x: Tensor) -> Tensor:
        attention = layer.encoder_attn
        # All positions of all paths are queries to the same keys: nothing is copied for each path.
        queries = x.reshape(batch, paths * length, width)
        keys, values = split_heads(attention, attention.k_proj(source)), split_heads(attention, attention.v_proj(source))
        return _attend(attention, queries, keys, values, source_mask).view_as(hidden)

    def feed_forward(x: Tensor) -> Tensor:
        return layer.fc2(layer.activation_dropout_module(layer.activation_fn(layer.fc1(x))))

    hidden = run_sublayer(layer, layer.self_attn_layer_norm, hidden, self_attention)
    if layer.encoder_attn is not None:
        hidden = run_sublayer(layer, layer.encoder_attn_layer_norm, hidden, cross_attention)
    return run_sublayer(layer, layer.final_layer_norm, hidden, feed_forward)


def _attend(attention: MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor, mask: Optional[Tensor]) -> Tensor:
    context = attend(attention, split_heads(attention, attention.q_proj(queries)), keys, values, mask)
    return attention.out_proj(context.transpose(1, 2).flatten(2))


def _prepend_source(attention, source, source_mask, keys, values, mask, paths):
    """``--cross-self-attention``: self-attention sees the encoder's output in front of the prefix."""
    source_keys = split_heads(attention, attention.k_proj(source)).repeat_interleave(paths, dim=0)
    source_values = split_heads(attention, attention.v_proj(source)).repeat_interleave(paths, dim=0)
    if source_mask is None:
        source_mask = mask.new_ones(source.size(0), 1, 1, source.size(1))
    source_mask = source_mask.repeat_interleave(paths, dim=0).expand(-1, 1, mask.size(2), -1)
    return (
        torch.cat([source_keys, keys], dim=2),
        torch.cat([source_values, values], dim=2),
        torch.cat([source_mask, mask], dim=3),
    )
