"""The loss of one exit's classifier, with at most one exit's logits in memory.

N classifiers over a large vocabulary are what training exits costs. The loss of an exit depends only on its own
state, so :func:`classifier_loss` computes an exit's loss *and* its gradient in one visit, and keeps the gradient
with respect to the state and the classifier's parameters instead of the logits.
"""

from typing import NamedTuple

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from depth_adaptive_fairseq.modules.precision import widen


class ExitLoss(NamedTuple):
    """What one visit to an exit's classifier gives.

    Attributes:
        loss: the label-smoothed loss, weighted and summed over the positions, in nats; the only entry with a gradient.
        nll: -LL_t^n of each position, in nats, ``(positions,)``.
        correct: C_t^n, whether the target is the most probable token, ``(positions,)`` booleans.
    """

    loss: Tensor
    nll: Tensor
    correct: Tensor


def classifier_loss(
    classifier: nn.Module, hidden: Tensor, target: Tensor, label_smoothing: float = 0.0, weight: float = 1.0
) -> ExitLoss:
    """Score *target* under the exit *classifier* of the states *hidden*.

    Label smoothing follows fairseq: with epsilon spread over the other V - 1 tokens,
    ``(1 - eps - eps/(V-1)) * nll + eps/(V-1) * sum_y nll(y)``.

    Args:
        classifier: C_n, from states to logits.
        hidden: h^n of the positions that count (no padding), ``(positions, width)``.
        target: ``(positions,)``.
        weight: factor of the loss.
    """
    parameters = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    keep_gradient = torch.is_grad_enabled() and (hidden.requires_grad or bool(parameters))
    if keep_gradient and hidden.dtype == torch.float16:
        # Gradients taken before fairseq's loss scaling would underflow in float16.
        loss, nll, correct = torch.utils.checkpoint.checkpoint(
            _plain_loss, classifier, hidden, target, label_smoothing, weight, use_reentrant=False
        )
        return ExitLoss(loss, nll.detach(), correct)
    return ExitLoss(
        *_LossWithGradient.apply(classifier, target, label_smoothing, weight, keep_gradient, hidden, *parameters)
    )


class _LossWithGradient(torch.autograd.Function):
    """Computes the gradient in the forward pass; the backward pass only scales it."""

    @staticmethod
    def forward(ctx, classifier, target, label_smoothing, weight, keep_gradient, hidden, *parameters):
        with torch.set_grad_enabled(keep_gradient):
            hidden = hidden.detach().requires_grad_(keep_gradient)
            output = classifier(hidden)
        logits = widen(output.detach())  # (positions, V)
        loss, nll, correct, log_normaliser = _losses(logits, target, label_smoothing)
        if keep_gradient:
            epsilon = label_smoothing / (logits.size(-1) - 1)
            # d loss / d logits = p - (1 - eps - eps/(V-1)) onehot(target) - eps/(V-1), over the memory of the logits.
            gradient = logits.sub_(log_normaliser.unsqueeze(-1)).exp_()
            if label_smoothing > 0:
                gradient.sub_(epsilon)
            confidence = torch.full_like(target, 1.0 - label_smoothing - epsilon, dtype=gradient.dtype)
            gradient.scatter_add_(-1, target.unsqueeze(-1), -confidence.unsqueeze(-1))
            gradient = gradient.mul_(weight).to(output.dtype)
            ctx.gradients = torch.autograd.grad(output, (hidden, *parameters), gradient, allow_unused=True)
        ctx.mark_non_differentiable(nll, correct)
        return loss.sum() * weight, nll, correct

    @staticmethod
    def backward(ctx, grad_loss, _grad_nll, _grad_correct):
        gradients = [None if each is None else each * grad_loss.to(each.dtype) for each in ctx.gradients]
        return (None, None, None, None, None, *gradients)


def _plain_loss(classifier, hidden, target, label_smoothing, weight):
    loss, nll, correct, _ = _losses(widen(classifier(hidden)), target, label_smoothing)
    return loss.sum() * weight, nll, correct


def _losses(logits: Tensor, target: Tensor, label_smoothing: float):
    log_normaliser = logits.logsumexp(dim=-1)  # (positions,)
    nll = log_normaliser - logits.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    loss = nll
    if label_smoothing > 0:
        vocabulary = logits.size(-1)
        epsilon = label_smoothing / (vocabulary - 1)
        # vocabulary * log_normaliser - sum(logits) is the sum over y of -log p(y).
        everywhere = vocabulary * log_normaliser - logits.sum(dim=-1)
        loss = (1.0 - label_smoothing - epsilon) * nll + epsilon * everywhere
    return loss, nll, logits.argmax(dim=-1).eq(target), log_normaliser
