"""Numbers that must not be computed in half precision."""

import torch
from torch import Tensor


def widen(tensor: Tensor) -> Tensor:
    """*tensor* in float32 if it is in half precision, and as it is otherwise."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
