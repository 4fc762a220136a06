"""What will run a model while decoding, and why: the only place that decides it.

The native kernels are fastest where they can do the work; whatever they cannot is PyTorch's. A plan is made from the models as
they are (their device, precision, kinds of blocks) and what the user asked for, and says the outcome in a line.
"""

from dataclasses import dataclass
from typing import NamedTuple, Optional, Sequence

import torch
from fairseq.models.transformer import TransformerEncoderBase
from torch import nn

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.exits.policy import ExitRule
from depth_adaptive_fairseq.inference.embedding import InferenceEmbedding
from depth_adaptive_fairseq.inference.linear import QUANTIZATIONS, LinearFormat
from depth_adaptive_fairseq.inference.native_backend import statistic_number
from depth_adaptive_fairseq.modules.block_parts import active_dropout
from depth_adaptive_fairseq.modules.derived_state import KeepsDerivedState
from depth_adaptive_fairseq.native import kernels

KERNELS = ("auto", "native", "torch")


class Request(NamedTuple):
    """What the user asked for: ``--quantize`` and ``--decoding-kernels``."""

    quantize: str = "none"
    kernels: str = "auto"


class Choice(NamedTuple):
    """Whether the fast way was taken, and if not, why."""

    fast: bool
    reason: str = ""

    @classmethod
    def unless(cls, reason: str) -> "Choice":
        """The fast way, unless there is a *reason* against it."""
        return cls(not reason, reason)


@dataclass(frozen=True)
class Plan:
    """What runs the models.

    Attributes:
        form: how the weights of linear layers are kept, and by what they are multiplied.
        precision: of the weights, in words.
        encoder, blocks: whether the kernels run the blocks of encoders and decoders.
        whole_steps: whether the kernels run whole steps of the search, from the newest tokens to the best continuations.
        search: whether the lean beam search is used, or fairseq's.
    """

    form: LinearFormat
    precision: str
    encoder: Choice
    blocks: Choice
    whole_steps: Choice
    search: Choice

    def describe(self) -> str:
        """One line for people."""
        parts = [f"weights {self.precision}", _by("encoder", self.encoder), _by("blocks", self.blocks)]
        if self.blocks.fast:
            parts.append("whole steps" if self.whole_steps.fast else f"block by block: {self.whole_steps.reason}")
        if not self.search.fast:
            parts.append(f"fairseq's search: {self.search.reason}")
        return "run by | " + " | ".join(parts)


def _by(what: str, choice: Choice) -> str:
    return f"{what} in kernels ({kernels.instruction_set()})" if choice.fast else f"{what} in PyTorch: {choice.reason}"


def make_plan(models: Sequence[nn.Module], request: Request = Request(), rule: Optional[ExitRule] = None, search: str = "") -> Plan:
    """Decide what runs *models*, an ensemble, which all run alike.

    Args:
        rule: how exits are chosen.
        search: why fairseq's search is needed; "" if it is not.

    Raises:
        DepthAdaptiveError: an unknown request, or one that the models do not go with.
    """
    for option, given, choices in (("quantize", request.quantize, QUANTIZATIONS), ("decoding-kernels", request.kernels, KERNELS)):
        if given not in choices:
            raise DepthAdaptiveError(f"--{option} {given} was given; choose one of {', '.join(choices)}.")
    weight = next(models[0].parameters())
    no_kernels = _why_no_kernels(request, weight)
    form = LinearFormat(request.quantize, native=not no_kernels)
    encoder = no_kernels or _first(_why_encoder_is_not_native(model.encoder) for model in models)
    blocks = no_kernels or _first(why_not_native(layer) for model in models for layer in model.decoder.layers)
    if request.kernels == "native" and blocks:
        raise DepthAdaptiveError(
            f"--decoding-kernels native was given, and the kernels cannot run the decoder's blocks: {blocks}; give --decoding-kernels auto."
        )
    if request.quantize != "none" and (weight.device.type != "cpu" or weight.dtype != torch.float32):
        raise DepthAdaptiveError(
            f"--quantize {request.quantize} was given for a model in {_kind(weight)}; it packs float32 weights for a CPU: "
            "leave it out, or give --cpu without --fp16 and --bf16."
        )
    precision = str(weight.dtype).removeprefix("torch.") if request.quantize == "none" else request.quantize
    steps = search or blocks or _why_no_whole_steps(models, rule)
    return Plan(form, precision, Choice.unless(encoder), Choice.unless(blocks), Choice.unless(steps), Choice.unless(search))


def _first(reasons) -> str:
    return next((reason for reason in reasons if reason), "")


def _kind(weight: torch.Tensor) -> str:
    return f"{str(weight.dtype).removeprefix('torch.')} on {weight.device.type}"


def _why_no_kernels(request: Request, weight: torch.Tensor) -> str:
    if request.kernels == "torch":
        return "--decoding-kernels torch"
    if request.quantize == "float16":
        return "--quantize float16 is PyTorch's"
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return f"the model is in {_kind(weight)}, the kernels take float32 on a CPU"
    return "" if kernels.library() is not None else kernels.reason() or "there are no kernels"


def _why_encoder_is_not_native(encoder: nn.Module) -> str:
    if not is_fairseqs(encoder):
        return f"{type(encoder).__name__} has a forward pass of its own"
    return _first(map(why_not_native, encoder.layers))


def is_fairseqs(encoder: nn.Module) -> bool:
    """Whether *encoder* computes what fairseq's Transformer encoder does: no subclass changed its forward pass."""
    return isinstance(encoder, KeepsDerivedState) and all(
        getattr(type(encoder), name, None) is getattr(TransformerEncoderBase, name)
        for name in ("forward", "forward_scriptable", "forward_embedding")
    )


def why_not_native(layer: nn.Module) -> str:
    """What *layer*, a block, has that the kernels do not know; "" for nothing."""
    attentions = [each for each in (layer.self_attn, getattr(layer, "encoder_attn", None)) if each is not None]
    if getattr(layer, "cross_self_attention", False):
        return "--cross-self-attention is not known to the kernels"
    if layer.activation_fn is not torch.nn.functional.relu:
        return f"activation {layer.activation_fn.__name__} is not known to the kernels"
    if any(attention.bias_k is not None or attention.add_zero_attn for attention in attentions):
        return "--add-bias-kv and --add-zero-attn are not known to the kernels"
    dropouts = [layer.dropout_module, layer.activation_dropout_module, *(attention.dropout_module for attention in attentions)]
    if any(active_dropout(each) is not None for each in dropouts):
        return "--retain-dropout is not known to the kernels"
    return ""


def _why_no_whole_steps(models: Sequence[nn.Module], rule: Optional[ExitRule]) -> str:
    if len(models) > 1:
        return "an ensemble"
    decoder = models[0].decoder
    embedding = InferenceEmbedding.of(decoder)
    if embedding is None or embedding.tokens.dtype != torch.float32:
        return "the decoder's embedding is not known to the kernels"
    if any(classifier.project_out is not None for classifier in decoder.exit_classifiers):
        return "--decoder-output-dim is not known to the kernels"
    if rule is None:
        return "no exit policy"
    statistic = rule.policy.statistic
    if statistic is not None and statistic_number(statistic) is None:
        return f"statistic '{statistic.name}' is not known to the kernels"
    if any(next(classifier.parameters()).dtype != torch.float32 for classifier in rule.halting):
        return "the halting classifier is not in float32"
    return ""
