"""The loss of one exit's classifier, with at most one exit's logits in memory.

N classifiers over a large vocabulary are what training exits costs. The loss of an exit depends only on its own
state, so :func:`classifier_loss` computes an exit's loss *and* its gradient in one visit, and keeps the gradient
with respect to the state and the classifier's parameters instead of the logits.

Where logits are float16, the gradient waits for the backward pass and costs a second visit: only then is the loss scale
known, without which the gradients of improbable tokens are too small for float16.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from depth_adaptive_fairseq.modules.precision import widen


class ClassifierLoss(NamedTuple):
    """What one visit to an exit's classifier gives.

    Attributes:
        loss: the label-smoothed loss, weighted and summed over the positions, in nats; the only entry with a gradient.
        nll: -LL_t^n of each position, in nats, ``(positions,)``.
        correct: C_t^n, whether no token is more probable than the target, ``(positions,)`` booleans.
    """

    loss: Tensor
    nll: Tensor
    correct: Tensor


def classifier_loss(
    classifier: nn.Module, hidden: Tensor, target: Tensor, label_smoothing: float = 0.0, weight: float = 1.0
) -> ClassifierLoss:
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
    return ClassifierLoss(
        *_ClassifierLoss.apply(classifier, target, label_smoothing, weight, keep_gradient, hidden, *parameters)
    )


class _ClassifierLoss(torch.autograd.Function):
    """Computes the gradient in the forward pass, which the backward pass only scales; with float16 logits, in the latter."""

    @staticmethod
    def forward(ctx, classifier, target, label_smoothing, weight, keep_gradient, hidden, *parameters):
        # With gradients also where they are computed later: autocast keeps its copy of a weight for the next use.
        with torch.set_grad_enabled(keep_gradient):
            state = hidden.detach().requires_grad_(keep_gradient)
            output = classifier(state)
        logits = widen(output.detach())  # (positions, V)
        loss, nll, correct, normaliser = _losses_in_place(logits, target, label_smoothing)
        ctx.later = None
        if keep_gradient and output.dtype == torch.float16:
            device = hidden.device.type
            autocast = (device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
            ctx.later = (classifier, target, label_smoothing, weight, autocast)
            ctx.save_for_backward(hidden, *parameters)
        elif keep_gradient:
            gradient = _logit_gradient_in_place(logits, normaliser, target, label_smoothing, weight)
            gradients = torch.autograd.grad(output, (state, *parameters), gradient.to(output.dtype), allow_unused=True)
            ctx.save_for_backward(*gradients)  # autograd frees them behind the backward pass
        ctx.mark_non_differentiable(nll, correct)
        return loss.sum() * weight, nll, correct

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss, _grad_nll, _grad_correct):
        if ctx.later is None:
            gradients = [None if each is None else (widen(each) * grad_loss).to(each.dtype) for each in ctx.saved_tensors]
        else:
            gradients = _scaled_gradients(*ctx.later, grad_loss, *ctx.saved_tensors)
        return (None, None, None, None, None, *gradients)


def _scaled_gradients(classifier, target, label_smoothing, weight, autocast, grad_loss, hidden, *parameters):
    """The gradients with respect to *hidden* and *parameters*; the loss scale is in *grad_loss*."""
    device, dtype, enabled = autocast
    with torch.enable_grad(), torch.autocast(device, dtype=dtype, enabled=enabled):
        state = hidden.detach().requires_grad_()
        output = classifier(state)
    logits = widen(output.detach())  # (positions, V)
    *_, normaliser = _losses_in_place(logits, target, label_smoothing)
    gradient = _logit_gradient_in_place(logits, normaliser, target, label_smoothing, weight * grad_loss)
    return torch.autograd.grad(output, (state, *parameters), gradient.to(output.dtype), allow_unused=True)


def _losses_in_place(logits: Tensor, target: Tensor, label_smoothing: float):
    """The loss, -log p(target) and correctness of each position, ``(positions,)``; leaves exp(x - max x) in *logits* x.

    Returns:
        these three, and the sum of what is left in *logits*, ``(positions, 1)``.
    """
    largest = logits.amax(dim=-1, keepdim=True)  # (positions, 1)
    below = logits.gather(-1, target.unsqueeze(-1)) - largest  # (positions, 1)
    logits.sub_(largest)
    if label_smoothing > 0:
        total = logits.sum(dim=-1)
    normaliser = logits.exp_().sum(dim=-1, keepdim=True)  # (positions, 1)
    log_normaliser = normaliser.log().squeeze(-1)
    nll = log_normaliser - below.squeeze(-1)
    loss = nll
    if label_smoothing > 0:
        vocabulary = logits.size(-1)
        epsilon = label_smoothing / (vocabulary - 1)
        # vocabulary * log_normaliser - total is the sum over y of -log p(y).
        loss = (1.0 - label_smoothing - epsilon) * nll + epsilon * (vocabulary * log_normaliser - total)
    return loss, nll, below.squeeze(-1) >= 0, normaliser


def _logit_gradient_in_place(exponentials: Tensor, normaliser: Tensor, target: Tensor, label_smoothing: float, factor):
    """*factor* times d loss / d logits = p - (1 - eps - eps/(V-1)) onehot(target) - eps/(V-1), over *exponentials*.

    Args:
        exponentials, normaliser: as :func:`_losses_in_place` leaves and returns them.
    """
    epsilon = label_smoothing / (exponentials.size(-1) - 1)
    gradient = exponentials.mul_(factor / normaliser)
    if label_smoothing > 0:
        gradient.sub_(epsilon * factor)
    confidence = torch.zeros_like(normaliser) + (1.0 - label_smoothing - epsilon) * factor
    return gradient.scatter_add_(-1, target.unsqueeze(-1), -confidence)
