"""A decoder's or encoder's weights as decoding wants them: projections that go together in one matrix, packed."""

from operator import attrgetter, is_
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple
from weakref import WeakKeyDictionary

import torch
from fairseq.modules import FairseqDropout, MultiheadAttention
from torch import Tensor, nn

from depth_adaptive_fairseq.modules.block_parts import active_dropout
from depth_adaptive_fairseq.modules.inference_embedding import InferenceEmbedding
from depth_adaptive_fairseq.modules.inference_linear import InferenceLinear, Packing, pack_together
from depth_adaptive_fairseq.modules.native_block import NativeBlock
from depth_adaptive_fairseq.native import kernels


class BlockWeights:
    """One Transformer block.

    Attributes:
        qkv: queries, keys and values of self-attention, ``width -> 3 width``.
        cross_query: queries of cross-attention, or None where the block has none.
        cross_keys_values: its keys and values, ``encoder width -> 2 width``, or None.
        feed_forward: ``width -> width``.
    """

    def __init__(self, layer: nn.Module, packing: Packing):
        self.layer = layer
        self.pre_norm: bool = layer.normalize_before
        self.heads: int = layer.self_attn.num_heads
        self.qkv, self.self_out = _self_attention(layer.self_attn, packing)
        self.cross_query: Optional[InferenceLinear] = None
        self.cross_keys_values: Optional[InferenceLinear] = None
        cross: Optional[MultiheadAttention] = getattr(layer, "encoder_attn", None)
        if cross is not None:
            self.cross_query = pack_together([cross.q_proj], packing)
            self.cross_keys_values = pack_together([cross.k_proj, cross.v_proj], packing)
            self.cross_out = pack_together([cross.out_proj], packing)
        self._fc1, self._fc2 = pack_together([layer.fc1], packing), pack_together([layer.fc2], packing)
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


class ClassifierWeights:
    """An :class:`~depth_adaptive_fairseq.modules.exit_classifier.ExitClassifier`, packed."""

    def __init__(self, classifier: nn.Module, packing: Packing):
        self.layer_norm = classifier.layer_norm
        self.project_out = classifier.project_out
        self.projection = pack_together([classifier.projection], packing, wide=True)

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


class InferenceWeights:
    """All blocks of an encoder or decoder, and a decoder's exit classifiers.

    Attributes:
        native: whether the blocks are those of the native kernels.
        native_layers, native_classifiers: of all blocks and exits, as the kernels want them; None where they cannot run a whole
            step of the search.
        embedding: of a decoder's newest tokens; None where the decoder's own is not that simple.
        blocks: from the bottom.
        classifiers: of exit 1 .. N; the same one N times where exits share it.
    """

    def __init__(self, module: nn.Module, packing: Packing):
        self.embedding = InferenceEmbedding.of(module)
        self.native = all(NativeBlock.can_run(layer, packing) for layer in module.layers)
        kind = NativeBlock if self.native else BlockWeights
        self.blocks = [kind(layer, packing) for layer in module.layers]
        packed = [ClassifierWeights(classifier, packing) for classifier in getattr(module, "exit_classifiers", [])]
        self.classifiers = packed * len(self.blocks) if len(packed) == 1 else packed
        self.native_layers = self.native_classifiers = None
        whole = self.native and self.embedding is not None and self.embedding.tokens.dtype == torch.float32
        if whole and all(each.project_out is None for each in self.classifiers):
            self.native_layers = (kernels.BlockLayers * len(self.blocks))(*(block.layers for block in self.blocks))
            self.native_classifiers = (kernels.Classifier * len(self.classifiers))(*(each.native()[0] for each in self.classifiers))

    def embed_newest(self, decoder: nn.Module, newest: Tensor, step: int) -> Tensor:
        """h^0 of each row's *newest* token, ``(rows,)``, the one at position *step* (from 0): ``(rows, width)``."""
        if self.embedding is not None and self.embedding.can_embed(step):
            return self.embedding(newest, step)
        return decoder.embed_newest(newest, step)


class _Contents:
    """All modules and parameters inside *module*, to see whether they are still there and as they were."""

    def __init__(self, module: nn.Module):
        dictionaries = [each for part in module.modules() for each in (part._modules, part._parameters)]
        self._places = [(dictionary, name) for dictionary in dictionaries for name in dictionary]
        self._found = [dictionary[name] for dictionary, name in self._places]
        self._parameters = [each for each in self._found if isinstance(each, Tensor)]
        self._dropouts = [each for each in self._found if isinstance(each, FairseqDropout)]

    def are_there(self) -> bool:
        """Whether none has been put in the place of another."""
        return all(map(is_, self._found, [dictionary.get(name) for dictionary, name in self._places]))

    def state(self) -> tuple:
        """What changes with anything that packed weights depend on."""
        addresses, versions = tuple(map(Tensor.data_ptr, self._parameters)), tuple(map(attrgetter("_version"), self._parameters))
        return addresses, versions, tuple(active_dropout(each) is None for each in self._dropouts)


class _Known(NamedTuple):
    contents: _Contents
    state: tuple
    weights: InferenceWeights


# By module, and by packing: two generators with different ones may take turns.
_KNOWN: "WeakKeyDictionary[nn.Module, Dict[Packing, _Known]]" = WeakKeyDictionary()


def inference_weights(module: nn.Module, packing: Packing = Packing(), num_updates: int = 0) -> InferenceWeights:
    """The packed weights of an encoder or decoder; packed again only when the module has changed.

    Args:
        num_updates: how many updates the model has been trained for: fairseq's optimisers write through ``.data``, which
            leaves no trace on a parameter.
    """
    by_packing = _KNOWN.setdefault(module, {})
    known = by_packing.get(packing)
    if known is None or not known.contents.are_there() or known.state != (num_updates, known.contents.state()):
        by_packing.pop(packing, None)
        known = None  # old and new weights need not be there at the same time
        contents = _Contents(module)
        state = (num_updates, contents.state())
        with torch.no_grad():
            known = by_packing[packing] = _Known(contents, state, InferenceWeights(module, packing))
    return known.weights


def _self_attention(attention: MultiheadAttention, packing: Packing) -> Tuple[InferenceLinear, InferenceLinear]:
    together = pack_together([attention.q_proj, attention.k_proj, attention.v_proj], packing)
    return together, pack_together([attention.out_proj], packing)
