"""What teacher-forced and incremental passes through a decoder block have in common."""

from typing import Callable, Optional

from fairseq.modules import MultiheadAttention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def run_sublayer(layer: nn.Module, norm: nn.Module, hidden: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply *function* with the block's residual connection, dropout and, before or behind them, *norm*."""
    if layer.normalize_before:
        return layer.residual_connection(layer.dropout_module(function(norm(hidden))), hidden)
    return norm(layer.residual_connection(layer.dropout_module(function(hidden)), hidden))


def attend(attention: MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor, mask: Optional[Tensor]) -> Tensor:
    """Attention of projected heads, ``(..., heads, length, head_dim)``; *mask* is True where attention is allowed."""
    dropout = active_dropout(attention.dropout_module)
    return scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=0.0 if dropout is None else dropout.p)


def active_dropout(module: nn.Module) -> Optional[nn.Module]:
    """*module*, fairseq's dropout, or None where it does nothing; ``--retain-dropout`` makes it do something at inference."""
    return module if module.p > 0 and (module.training or module.apply_during_inference) else None


def split_heads(attention: MultiheadAttention, states: Tensor) -> Tensor:
    """``(batch, length, width)`` to ``(batch, heads, length, head_dim)``."""
    return states.view(*states.shape[:2], attention.num_heads, attention.head_dim).transpose(1, 2)
