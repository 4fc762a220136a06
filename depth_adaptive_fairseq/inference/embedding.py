"""The embedding of a decoder's newest tokens, without the detours of fairseq's modules."""

from typing import Optional

import torch
from fairseq.modules import SinusoidalPositionalEmbedding
from torch import Tensor, nn
from torch.nn.functional import embedding

from depth_adaptive_fairseq.modules.block_parts import active_dropout


class InferenceEmbedding:
    """Scaled token embedding plus the position's, which is one row of a table.

    Args:
        tokens: ``(V, width)``.
        scale: of the tokens' embeddings.
        positions: ``(places, width)``, or None.
        first_place: of the first position.
    """

    def __init__(self, tokens: Tensor, scale: float, positions: Optional[Tensor], first_place: int):
        self.tokens, self.scale = tokens, scale
        self.positions, self.first_place = positions, first_place

    @classmethod
    def of(cls, decoder: nn.Module) -> Optional["InferenceEmbedding"]:
        """That of *decoder*; None where it does anything else, and for an encoder."""
        tokens, positions = decoder.embed_tokens, decoder.embed_positions
        plain = (
            hasattr(decoder, "embed_newest")
            and type(tokens) is nn.Embedding
            and (positions is None or type(positions) is SinusoidalPositionalEmbedding)
            and decoder.quant_noise is None
            and decoder.project_in_dim is None
            and decoder.layernorm_embedding is None
            and active_dropout(decoder.dropout_module) is None
        )
        if not plain:
            return None
        weight, table = tokens.weight.detach(), None
        if positions is not None:
            table = positions.weights
            if table is None or (table.device, table.dtype) != (weight.device, weight.dtype):
                return None
        return cls(weight, decoder.embed_scale, table, decoder.padding_idx + 1)

    def can_embed(self, step: int) -> bool:
        """Whether the table reaches so far."""
        return self.positions is None or self.place(step) < self.positions.size(0)

    def place(self, step: int) -> int:
        """The row of the table for position *step*."""
        return self.first_place + step

    def __call__(self, newest: Tensor, step: int) -> Tensor:
        """h^0 of each row's *newest* token, ``(rows,)``, the one at position *step* (from 0): ``(rows, width)``."""
        hidden = embedding(newest, self.tokens)
        if self.positions is None:
            return hidden.mul_(self.scale)
        return torch.add(self.positions[self.place(step)], hidden, alpha=self.scale)
