"""The encoder at inference: fairseq's Transformer encoder with packed weights and fused attention."""

from typing import Dict, List, Optional

import torch
from fairseq.models.transformer import TransformerEncoderBase
from torch import Tensor

from depth_adaptive_fairseq.inference.packed_weights import BlockWeights, NativeBlock, packed_weights
from depth_adaptive_fairseq.inference.plan import Plan, is_fairseqs
from depth_adaptive_fairseq.modules.block_parts import attend
from depth_adaptive_fairseq.native import kernels


def encode(encoder: TransformerEncoderBase, net_input: Dict[str, Tensor], plan: Plan) -> Dict[str, List[Tensor]]:
    """The encoder's output for a batch, in fairseq's form.

    An encoder of another kind, or one whose forward pass a subclass changed, runs as it is.
    """
    if not is_fairseqs(encoder):
        return encoder.forward_torchscript(net_input)
    tokens = net_input["src_tokens"]
    padding = tokens.eq(encoder.padding_idx)  # (batch, src_len)
    hidden, embedded = encoder.forward_embedding(tokens)  # (batch, src_len, width)
    attended = None  # False at padding, (batch, src_len)
    if padding.any():
        attended = ~padding
        hidden = hidden * attended.unsqueeze(-1)
    weights = packed_weights(encoder, plan.form, plan.encoder.fast)
    if plan.encoder.fast:
        hidden = _run_natively(weights.blocks, hidden, attended)
    else:
        mask = None if attended is None else attended[:, None, None, :]
        for block in weights.blocks:
            hidden = _run_block(block, hidden, mask)
    if encoder.layer_norm is not None:
        hidden = encoder.layer_norm(hidden)
    return {
        "encoder_out": [hidden.transpose(0, 1)],
        "encoder_padding_mask": [padding],
        "encoder_embedding": [embedded],
        "encoder_states": [],
        "fc_results": [],
        "src_tokens": [],
        "src_lengths": [tokens.ne(encoder.padding_idx).sum(dim=1, keepdim=True).int()],
    }


def _run_natively(blocks: List[NativeBlock], hidden: Tensor, attended: Optional[Tensor]) -> Tensor:
    library = kernels.library()
    hidden = hidden.float().clone(memory_format=torch.contiguous_format)
    for block in blocks:
        block.run_sentences(library, hidden, attended)
    return hidden


def _run_block(block: BlockWeights, hidden: Tensor, mask) -> Tensor:
    batch, length, width = hidden.shape
    layer = block.layer

    def self_attention(x: Tensor) -> Tensor:
        query, key, value = block.qkv(x).view(batch, length, 3, block.heads, -1).permute(2, 0, 3, 1, 4)
        context = attend(layer.self_attn, query, key, value, mask)  # (batch, heads, src_len, head_dim)
        return block.self_out(context.transpose(1, 2).reshape(batch, length, width))

    hidden = block.run_sublayer(layer.self_attn_layer_norm, hidden, self_attention)
    return block.run_sublayer(layer.final_layer_norm, hidden, block.feed_forward)
