"""The Transformer's formulas, written out by hand from a model's weights: nothing here calls a module's ``forward``.

All functions take one sentence without a batch dimension.
"""

import math

import torch

ACTIVATIONS = {
    "relu": lambda x: x * (x > 0),
    "relu_squared": lambda x: (x * (x > 0)) ** 2,
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_accurate": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "tanh": torch.tanh,
    "linear": lambda x: x,
}


def linear(layer, x):
    """x W^T + b, from the weights of an ``nn.Linear``."""
    weight, bias = layer.weight, layer.bias
    return x @ weight.T if bias is None else torch.addmm(bias, x, weight.T)


def layer_norm(layer, x):
    """Layer normalisation of the last dimension, from the weights of an ``nn.LayerNorm``."""
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + layer.eps) * layer.weight + layer.bias


def softmax(scores):
    """Softmax over the last dimension."""
    exponentials = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


def attention(weights, queries, keys, visible):
    """Multi-head attention, over ``keys`` as keys and as values.

    Args:
        weights: fairseq's attention module, of which only the projections' weights are used.
        queries: ``(queries, width)``, before their projection.
        keys: ``(keys, key width)``, before the projections to keys and to values.
        visible: ``(queries, keys)``, what each query may look at.

    Returns:
        ``(queries, width)``
    """

    def heads(projection, x):  # (heads, positions, head width)
        return linear(projection, x).view(len(x), weights.num_heads, -1).transpose(0, 1)

    q, k, v = heads(weights.q_proj, queries), heads(weights.k_proj, keys), heads(weights.v_proj, keys)
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    context = softmax(scores.masked_fill(~visible, -math.inf)) @ v
    return linear(weights.out_proj, context.transpose(0, 1).reshape(len(queries), -1))


def decoder_block(block, activation, hidden, source, cross_self_attention):
    """One decoder block on all target positions.

    Args:
        hidden: ``(tgt_len, width)``, each position's input. Of a position that has left below this block it is the
            copied state: the block's own norm and projections make the keys and values that later positions see.
        source: ``(src_len, encoder width)``, the encoder's output.

    Returns:
        ``(tgt_len, width)``; the rows of positions that have left mean nothing.
    """
    pre_norm = block.normalize_before
    length = len(hidden)

    def sublayer(norm, x, compute):
        return x + compute(layer_norm(norm, x)) if pre_norm else layer_norm(norm, x + compute(x))

    def self_attention(x):
        keys, visible = x, torch.ones(length, length, dtype=torch.bool).tril()
        if cross_self_attention:
            keys = torch.cat([source, x])
            visible = torch.cat([torch.ones(length, len(source), dtype=torch.bool), visible], dim=1)
        return attention(block.self_attn, x, keys, visible)

    def cross_attention(x):
        return attention(block.encoder_attn, x, source, torch.ones(length, len(source), dtype=torch.bool))

    hidden = sublayer(block.self_attn_layer_norm, hidden, self_attention)
    if block.encoder_attn is not None:
        hidden = sublayer(block.encoder_attn_layer_norm, hidden, cross_attention)
    return sublayer(
        block.final_layer_norm, hidden, lambda x: linear(block.fc2, ACTIVATIONS[activation](linear(block.fc1, x)))
    )
