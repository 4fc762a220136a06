"""Linear layers for inference: a weight matrix kept in the form in which it is multiplied fastest.

At batch 1 a layer costs what reading its weights costs, so half the bytes are half the time. Packed forms are copies: they
belong to one decoding and not to the model.
"""

import warnings
from typing import NamedTuple, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from depth_adaptive_fairseq.native import kernels

QUANTIZATIONS = ("none", "float16", "int8")


class LinearFormat(NamedTuple):
    """How the weights of linear layers are kept and multiplied.

    Attributes:
        quantization: one of ``QUANTIZATIONS``; none: as the model has them.
        native: by the native kernels, which know float32 and int8, or by PyTorch's operators.
    """

    quantization: str = "none"
    native: bool = False


class InferenceLinear:
    """``x W^T + b`` with the weights as they are.

    Args:
        weight: ``(outputs, inputs)``.
        bias: ``(outputs,)``, or None.
    """

    def __init__(self, weight: Tensor, bias: Optional[Tensor]):
        self.weight = weight
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        """From ``(..., inputs)`` to ``(..., outputs)``."""
        return linear(x, self.weight, self.bias)

    def outputs_from(self, x: Tensor, first: int) -> Tensor:
        """The outputs from number *first* on."""
        return linear(x, self.weight[first:], None if self.bias is None else self.bias[first:])


class _Packed(InferenceLinear):
    """One of PyTorch's packed forms, which cannot be cut."""

    def outputs_from(self, x, first):
        return self(x)[..., first:]


class NativeLinear(_Packed):
    """float32 or int8 weights in the order in which the native kernels read them."""

    def __init__(self, weight, bias, int8: bool):
        self.packed = kernels.Linear(weight, bias, int8, kernels.library())

    def __call__(self, x):
        return self.packed(x)


class Float16WeightLinear(_Packed):
    """Weights rounded to float16 (FBGEMM), activations and sums in float32."""

    def __init__(self, weight, bias):
        with _without_deprecation_warnings():
            self.packed = torch.ops.quantized.linear_prepack_fp16(weight.detach().contiguous(), bias)

    def __call__(self, x):
        return torch.ops.quantized.linear_dynamic_fp16(x.float(), self.packed)  # autocast may have made x something else


class Int8Linear(_Packed):
    """Symmetric int8 weights, one scale for each output; activations quantised as they come, one scale a call."""

    def __init__(self, weight, bias):
        weight = weight.detach().contiguous()
        scales = (weight.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny).double()
        zeros = torch.zeros(weight.size(0), dtype=torch.long)
        with _without_deprecation_warnings():
            quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(quantized, bias)

    def __call__(self, x):
        # Seven bits for activations: pairs of products must not overflow 16 bits before AVX-512 VNNI.
        return torch.ops.quantized.linear_dynamic(x.float(), self.packed, reduce_range=True)


class OneDnnLinear(_Packed):
    """float32 weights in oneDNN's blocked layout: a wide matrix times few rows reads it once, in order."""

    def __init__(self, weight, bias):
        self.bias = bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), 8)

    def __call__(self, x):
        return torch.ops.mkldnn._linear_pointwise(x.float(), self.packed, self.bias, "none", [], "")

    @staticmethod
    def can_pack(weight: Tensor) -> bool:
        """Whether this PyTorch has the operators, for a weight of this kind."""
        operators = torch.ops.mkldnn
        available = hasattr(operators, "_reorder_linear_weight") and hasattr(operators, "_linear_pointwise")
        return available and weight.device.type == "cpu" and weight.dtype == torch.float32


_QUANTIZED = {"float16": Float16WeightLinear, "int8": Int8Linear}


def pack_linear(weight: Tensor, bias: Optional[Tensor], form: LinearFormat = LinearFormat(), wide: bool = False) -> InferenceLinear:
    """The layer in the form *form*.

    Args:
        wide: it has many more outputs than inputs, like an output classifier.
    """
    if form.native:
        return NativeLinear(weight, bias, form.quantization == "int8")
    if form.quantization != "none":
        return _QUANTIZED[form.quantization](weight.float(), None if bias is None else bias.detach().float())
    if wide and OneDnnLinear.can_pack(weight):
        return OneDnnLinear(weight, bias)
    return InferenceLinear(weight.detach(), None if bias is None else bias.detach())


def pack_together(layers: Sequence[nn.Linear], form: LinearFormat, wide: bool = False) -> InferenceLinear:
    """Several layers of the same input as one."""
    if len(layers) == 1:
        return pack_linear(layers[0].weight, layers[0].bias, form, wide)
    weight = torch.cat([layer.weight for layer in layers])
    biases = [layer.bias for layer in layers]
    return pack_linear(weight, None if biases[0] is None else torch.cat(biases), form, wide)


class _without_deprecation_warnings(warnings.catch_warnings):
    """PyTorch announces a successor of these operators; until it serves FBGEMM's packed weights, they are the ones there are."""

    def __enter__(self):
        super().__enter__()
        warnings.simplefilter("ignore")
