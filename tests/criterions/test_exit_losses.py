"""One exit's loss and gradient against fairseq's label-smoothed loss and plain autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from depth_adaptive_fairseq.criterions.exit_losses import classifier_loss


def by_hand(classifier, hidden, target, label_smoothing, weight):
    """fairseq's definition, one position and one vocabulary entry at a time."""
    total, nlls = 0.0, []
    for state, gold in zip(hidden, target.tolist()):
        log_probabilities = torch.log_softmax(classifier(state), dim=-1)
        vocabulary = len(log_probabilities)
        epsilon = label_smoothing / (vocabulary - 1)
        loss = -(1.0 - label_smoothing - epsilon) * log_probabilities[gold]
        for entry in range(vocabulary):
            loss = loss - epsilon * log_probabilities[entry]
        total = total + weight * loss
        nlls.append(-log_probabilities[gold].item())
    return total, nlls


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    positions=st.integers(1, 9),
    width=st.integers(2, 6),
    vocabulary=st.integers(2, 12),
    label_smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    weight=st.floats(0.01, 3.0),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 10**6),
)
def test_loss_and_gradients_equal_the_definition(positions, width, vocabulary, label_smoothing, weight, scale, seed):
    torch.manual_seed(seed)
    classifier = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)).double()
    classifier[1].weight.data *= scale
    hidden = torch.randn(positions, width, dtype=torch.double, requires_grad=True)
    target = torch.randint(vocabulary, (positions,))

    result = classifier_loss(classifier, hidden, target, label_smoothing, weight)
    expected, nlls = by_hand(classifier, hidden, target, label_smoothing, weight)

    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)
    assert result.nll.tolist() == pytest.approx(nlls, rel=1e-9, abs=1e-9)
    assert result.correct.tolist() == classifier(hidden).argmax(-1).eq(target).tolist()
    variables = [hidden, *classifier.parameters()]
    for ours, reference in zip(torch.autograd.grad(3 * result.loss, variables), torch.autograd.grad(3 * expected, variables)):
        torch.testing.assert_close(ours, reference, rtol=1e-8, atol=1e-10)


def test_no_gradient_is_computed_where_none_is_asked_for():
    classifier = nn.Linear(4, 7)
    with torch.no_grad():
        result = classifier_loss(classifier, torch.randn(3, 4, requires_grad=True), torch.tensor([0, 1, 2]))
    assert not result.loss.requires_grad


def test_frozen_classifier_still_passes_the_gradient_to_the_states():
    classifier = nn.Linear(4, 7).requires_grad_(False)
    hidden = torch.randn(3, 4, requires_grad=True)
    target = torch.tensor([0, 1, 2])
    classifier_loss(classifier, hidden, target).loss.backward()
    expected = torch.autograd.grad(nn.functional.cross_entropy(classifier(hidden), target, reduction="sum"), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected)


def test_float16_gradients_are_taken_behind_the_loss_scale():
    """A gradient that vanishes in float16 unless the loss is scaled first must survive."""
    classifier = nn.Linear(2, 2, bias=False)
    classifier.weight.data = torch.tensor([[17.5, 0.0], [0.0, 0.0]])
    hidden = torch.tensor([[1.0, 0.0]])
    target = torch.tensor([0])
    scale = 2.0**12

    (classifier_loss(classifier.half(), hidden.half().requires_grad_(), target).loss * scale).backward()
    half = classifier.weight.grad[1, 0].item()
    wide = torch.softmax(torch.tensor([17.5, 0.0], dtype=torch.double), dim=0)[1].item()
    assert torch.tensor(wide).half() == 0.0
    assert half == pytest.approx(wide * scale, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_states_give_a_float32_loss(dtype):
    classifier = nn.Linear(8, 50).to(dtype)
    hidden = torch.randn(6, 8).to(dtype).requires_grad_()
    result = classifier_loss(classifier, hidden, torch.randint(50, (6,)), 0.1)
    assert result.loss.dtype == torch.float32
    result.loss.backward()
    assert hidden.grad.dtype == dtype and torch.isfinite(hidden.grad).all()
    assert classifier.weight.grad.dtype == dtype
