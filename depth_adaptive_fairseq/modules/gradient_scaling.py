"""Gradient scaling (appendix A, algorithm 1): balances the gradients of N exits on their way down.

The factor between two blocks meets every gradient that passes there, not those of predictions alone. A halting classifier
reads h^n as the exits do, as it leaves block n: what the exit loss sends into h^n reaches block k <= n multiplied by
1 / gamma_{k+1} ... 1 / gamma_n, and by no gamma_n at its start, which is for predictions. A geometric-like classifier reads
h^1 .. h^{N-1}, a multinomial one h^1, into which no factor leads; a sequence-specific one reads the encoder's output, which
it reaches unscaled. Its own parameters get their gradients as they are.
"""

import torch
from torch import Tensor, nn


class _ScaleGradient(torch.autograd.Function):
    """Leaves values as they are to the last bit, which the formula g x + (1 - g) x does not in half precision."""

    @staticmethod
    def forward(ctx, tensor, factor):
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


def scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """SCALE(x, g) = g x + (1 - g) stopgrad(x): the value of *tensor*, its gradient times *factor*."""
    return tensor if factor == 1.0 else _ScaleGradient.apply(tensor, factor)


def exit_gamma(gamma: float, exit_index: int, num_exits: int) -> float:
    """gamma_n = gamma (N - n), and 1 for the last exit, which has nothing above it to be balanced against."""
    return 1.0 if exit_index == num_exits else gamma * (num_exits - exit_index)


def scale_gradients_between_blocks(layers: nn.ModuleList, gamma: float) -> None:
    """Make every block above the first take SCALE(h^n, 1 / gamma_{n+1}) in the place of h^n.

    What the exits see of h^n stays as it is. Done by hooks on the blocks, so that fairseq's loop over them needs no
    change.
    """
    num_exits = len(layers)
    for exit_index, layer in enumerate(layers[1:], start=2):
        layer.register_forward_pre_hook(_ScaleInput(1.0 / exit_gamma(gamma, exit_index, num_exits)))


class _ScaleInput:
    def __init__(self, factor: float):
        self.factor = factor

    def __call__(self, module: nn.Module, arguments: tuple) -> tuple:
        return (scale_gradient(arguments[0], self.factor), *arguments[1:])
