"""A decoder's or encoder's weights as decoding wants them: projections that go together in one matrix, packed."""

from typing import Callable, Optional, Tuple

import torch
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from depth_adaptive_fairseq.inference.embedding import InferenceEmbedding
from depth_adaptive_fairseq.inference.linear import InferenceLinear, LinearFormat, pack_together
from depth_adaptive_fairseq.modules.block_parts import active_dropout
from depth_adaptive_fairseq.modules.derived_state import KeepsDerivedState
from depth_adaptive_fairseq.native import kernels


class BlockWeights:
    """One Transformer block.

    Attributes:
        qkv: queries, keys and values of self-attention, ``width -> 3 width``.
        cross_query: queries of cross-attention, or None where the block has none.
        cross_keys_values: its keys and values, ``encoder width -> 2 width``, or None.
        feed_forward: ``width -> width``.
    """

    def __init__(self, layer: nn.Module, form: LinearFormat):
        self.layer = layer
        self.pre_norm: bool = layer.normalize_before
        self.heads: int = layer.self_attn.num_heads
        self.qkv, self.self_out = _self_attention(layer.self_attn, form)
        self.cross_query: Optional[InferenceLinear] = None
        self.cross_keys_values: Optional[InferenceLinear] = None
        cross: Optional[MultiheadAttention] = getattr(layer, "encoder_attn", None)
        if cross is not None:
            self.cross_query = pack_together([cross.q_proj], form)
            self.cross_keys_values = pack_together([cross.k_proj, cross.v_proj], form)
            self.cross_out = pack_together([cross.out_proj], form)
        self._fc1, self._fc2 = pack_together([layer.fc1], form), pack_together([layer.fc2], form)
        # Modules that do nothing at inference are not called; --retain-dropout makes them do something.
        self.dropout = active_dropout(layer.dropout_module)
        self.activation_dropout = active_dropout(layer.activation_dropout_module)

    def keys_values(self, states: Tensor) -> Tensor:
        """Self-attention's keys and values only, ``(..., 2 width)``."""
        return self.qkv.outputs_from(states, states.size(-1))

    def feed_forward(self, x: Tensor) -> Tensor:
        """The two layers between their norm and their residual connection."""
        x = self.layer.activation_fn(self._fc1(x))
        if self.activation_dropout is not None:
            x = self.activation_dropout(x)
        return self._fc2(x)

    def run_sublayer(self, norm: nn.Module, hidden: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """*function* with the residual connection and, before or behind it, *norm*."""
        update = function(norm(hidden) if self.pre_norm else hidden)
        if self.dropout is not None:
            update = self.dropout(update)
        hidden = self.layer.residual_connection(update, hidden)
        return hidden if self.pre_norm else norm(hidden)


class NativeBlock:
    """One block of a decoder or an encoder, packed for the kernels.

    Attributes:
        layers: what the kernels are given.
    """

    def __init__(self, layer: nn.Module, form: LinearFormat):
        def pack(*linears: nn.Linear) -> InferenceLinear:
            return pack_together(linears, form)

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
        # Copies, as the packed linear layers are: addresses neither keep what they point to alive nor follow it when it is moved in
        # place, as weights are to shared memory when a model is sent to another process.
        copies = {name: (norm.weight.detach().clone(), norm.bias.detach().clone()) for name, norm in norms.items()}
        self._kept = (linears, copies)
        self.layers = kernels.BlockLayers(
            pre_norm=layer.normalize_before,
            activation=kernels.Activation.RELU,
            width=attention.embed_dim,
            heads=attention.num_heads,
            **{name: linear.packed.handle for name, linear in linears.items()},
            **{f"{name}_norm_weight": weight.data_ptr() for name, (weight, _) in copies.items()},
            **{f"{name}_norm_bias": bias.data_ptr() for name, (_, bias) in copies.items()},
            **{f"{name}_norm_epsilon": norm.eps for name, norm in norms.items()},
        )

    def run(self, library, state: kernels.BlockState, hidden: Tensor) -> None:
        """Replace *hidden*, h^{n-1} of the rows of *state*, ``(rows, width)``, by h^n: a decoder's block."""
        kernels.run_decoder_block(library, self.layers, state, hidden)

    def run_sentences(self, library, hidden: Tensor, attended: Optional[Tensor]) -> None:
        """Replace *hidden*, ``(sentences, length, width)``, by the output of an encoder's block.

        Args:
            attended: False at padding, ``(sentences, length)``, or None.
        """
        kernels.run_encoder_block(library, self.layers, hidden, attended)


class ClassifierWeights:
    """An :class:`~depth_adaptive_fairseq.modules.exit_classifier.ExitClassifier`, packed."""

    def __init__(self, classifier: nn.Module, form: LinearFormat):
        self.layer_norm = classifier.layer_norm
        self.project_out = classifier.project_out
        self.projection = pack_together([classifier.projection], form, wide=True)

    def __call__(self, hidden: Tensor) -> Tensor:
        """From the raw block output, ``(rows, width)``, to logits, ``(rows, V)``."""
        if self.layer_norm is not None:
            hidden = self.layer_norm(hidden)
        if self.project_out is not None:
            hidden = self.project_out(hidden)
        return self.projection(hidden)

    def native(self, hidden: Optional[Tensor] = None) -> Tuple[kernels.Classifier, Optional[Tensor]]:
        """A classifier for the kernels, and what to give it instead of the raw block output."""
        if self.project_out is None:
            return kernels.classifier(self.layer_norm, self.projection.packed), hidden
        hidden = self.project_out(hidden if self.layer_norm is None else self.layer_norm(hidden))
        return kernels.classifier(None, self.projection.packed), hidden


class PackedWeights:
    """All blocks of an encoder or decoder, and a decoder's exit classifiers.

    Args:
        native_blocks: whether the kernels run the blocks.

    Attributes:
        embedding: of a decoder's newest tokens; None where the decoder's own is not that simple.
        blocks: from the bottom.
        classifiers: of exit 1 .. N; the same one N times where exits share it.
    """

    def __init__(self, module: nn.Module, form: LinearFormat, native_blocks: bool):
        self.embedding = InferenceEmbedding.of(module)
        kind = NativeBlock if native_blocks else BlockWeights
        self.blocks = [kind(layer, form) for layer in module.layers]
        packed = [ClassifierWeights(classifier, form) for classifier in getattr(module, "exit_classifiers", [])]
        self.classifiers = packed * len(self.blocks) if len(packed) == 1 else packed

    def embed_newest(self, decoder: nn.Module, newest: Tensor, step: int) -> Tensor:
        """h^0 of each row's *newest* token, ``(rows,)``, the one at position *step* (from 0): ``(rows, width)``."""
        if self.embedding is not None and self.embedding.can_embed(step):
            return self.embedding(newest, step)
        return decoder.embed_newest(newest, step)


def packed_weights(module: KeepsDerivedState, form: LinearFormat = LinearFormat(), native_blocks: bool = False) -> PackedWeights:
    """The packed weights of an encoder or decoder, which keeps them until its weights change.

    What it does not see of such changes is said at :class:`~depth_adaptive_fairseq.modules.derived_state.KeepsDerivedState`.
    """

    def pack() -> PackedWeights:
        with torch.no_grad():
            return PackedWeights(module, form, native_blocks)

    return module.derived((form, native_blocks), pack)


def _self_attention(attention: MultiheadAttention, form: LinearFormat) -> Tuple[InferenceLinear, InferenceLinear]:
    together = pack_together([attention.q_proj, attention.k_proj, attention.v_proj], form)
    return together, pack_together([attention.out_proj], form)
