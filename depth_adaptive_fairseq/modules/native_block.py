"""A Transformer block that the native kernels run."""

from typing import Optional

import torch
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from depth_adaptive_fairseq.modules.block_parts import active_dropout
from depth_adaptive_fairseq.modules.inference_linear import InferenceLinear, Packing, pack_together
from depth_adaptive_fairseq.native import kernels


class NativeBlock:
    """One block of a decoder or an encoder, packed for the kernels.

    Attributes:
        layers: what the kernels are given.
    """

    def __init__(self, layer: nn.Module, packing: Packing):
        def pack(*linears: nn.Linear) -> InferenceLinear:
            return pack_together(linears, packing)

        attention, cross = layer.self_attn, getattr(layer, "encoder_attn", None)
        linears = {
            "query": pack(attention.q_proj),
            "keys_values": pack(attention.k_proj, attention.v_proj),
            "self_out": pack(attention.out_proj),
            "inner": pack(layer.fc1),
            "outer": pack(layer.fc2),
        }
        norms = {"self": layer.self_attn_layer_norm, "final": layer.final_layer_norm}
        if cross is not None:
            linears.update(
                cross_query=pack(cross.q_proj), cross_keys_values=pack(cross.k_proj, cross.v_proj), cross_out=pack(cross.out_proj)
            )
            norms["cross"] = layer.encoder_attn_layer_norm
        # Addresses do not keep what they point to alive.
        self._kept = (linears, {name: (norm.weight.detach(), norm.bias.detach()) for name, norm in norms.items()})
        self.layers = kernels.BlockLayers(
            pre_norm=layer.normalize_before,
            activation=kernels.Activation.RELU,
            width=attention.embed_dim,
            heads=attention.num_heads,
            **{name: linear.packed.handle for name, linear in linears.items()},
            **{f"{name}_norm_weight": norm.weight.data_ptr() for name, norm in norms.items()},
            **{f"{name}_norm_bias": norm.bias.data_ptr() for name, norm in norms.items()},
            **{f"{name}_norm_epsilon": norm.eps for name, norm in norms.items()},
        )

    @staticmethod
    def can_run(layer: nn.Module, packing: Packing) -> bool:
        """Whether *layer* has nothing that the kernels do not know."""
        attentions = [getattr(layer, name, None) for name in ("self_attn", "encoder_attn")]
        dropouts = [layer.dropout_module, layer.activation_dropout_module]
        dropouts += [attention.dropout_module for attention in attentions if attention is not None]
        return (
            packing.is_native(layer.fc1.weight)
            and not getattr(layer, "cross_self_attention", False)
            and layer.activation_fn is torch.nn.functional.relu
            and all(attention is None or _is_plain(attention) for attention in attentions)
            and not any(active_dropout(each) is not None for each in dropouts)
        )

    def run(self, library, state: kernels.BlockState, hidden: Tensor) -> None:
        """Replace *hidden*, h^{n-1} of the rows of *state*, ``(rows, width)``, by h^n: a decoder's block."""
        kernels.run_decoder_block(library, self.layers, state, hidden)

    def run_sentences(self, library, hidden: Tensor, real: Optional[Tensor]) -> None:
        """Replace *hidden*, ``(sentences, length, width)``, by the output of an encoder's block.

        Args:
            real: False at padding, ``(sentences, length)``, or None.
        """
        kernels.run_encoder_block(library, self.layers, hidden, real)


def _is_plain(attention: MultiheadAttention) -> bool:
    return attention.bias_k is None and not attention.add_zero_attn
