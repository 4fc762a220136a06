"""Numbers that must not be computed in half precision."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


def widen(tensor: Tensor) -> Tensor:
    """*tensor* in float32 if it is in half precision, and as it is otherwise."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def wide_linear(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """*layer* of *inputs*, ``(..., inputs)``, computed in float32 or wider, autocast or not: ``(..., outputs)``."""
    return wide_affine(inputs, layer.weight, layer.bias)


def wide_affine(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same of a *weight*, ``(outputs, inputs)``, and a *bias*, ``(outputs,)``."""
    device = inputs.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return wide_affine(inputs, weight, bias)
    return linear(widen(inputs), widen(weight), widen(bias))
