"""One exit's loss and gradient against fairseq's label-smoothed loss and plain autograd."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from depth_adaptive_fairseq.criterions.classifier_loss import classifier_loss


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


def confident_case(margin, vocabulary=300, width=8, positions=6):
    """A classifier whose logits of the targets are about *margin* above the others."""
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(positions)
    hidden = torch.eye(positions, width) + 0.1 * torch.randn(positions, width, generator=generator)
    classifier = nn.Linear(width, vocabulary, bias=False)
    classifier.weight.data = 0.3 * torch.randn(vocabulary, width, generator=generator)
    classifier.weight.data[:positions] += margin * torch.linalg.pinv(hidden).t()
    # Rounded, so that half precision starts from the same numbers.
    classifier.weight.data, hidden = classifier.weight.data.half().float(), hidden.half().float()
    return classifier, hidden, target


def gradients(classifier, hidden, target, scale, autocast=False):
    hidden = hidden.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.float16, enabled=autocast):
        loss = classifier_loss(classifier, hidden, target, weight=0.5).loss
    (loss * scale).backward()
    return classifier.weight.grad.double() / scale, hidden.grad.double() / scale


@pytest.mark.parametrize("kind", ["half", "autocast"])
def test_float16_gradients_are_taken_behind_the_loss_scale(kind):
    """Gradients that vanish in float16 unless the loss is scaled first must survive."""
    classifier, hidden, target = confident_case(margin=21.0)
    expected = gradients(copy.deepcopy(classifier).double(), hidden.double(), target, 1.0)
    improbable = torch.softmax(classifier(hidden), dim=-1)[:, len(target) :]
    assert improbable.max().half() == 0.0
    if kind == "half":
        found = gradients(classifier.half(), hidden.half(), target, 2.0**15)
    else:
        found = gradients(classifier, hidden, target, 2.0**15, autocast=True)
    rows, expected_rows = found[0][len(target) :], expected[0][len(target) :]
    assert (rows.abs().amax(dim=1) > 0).all()
    assert (rows - expected_rows).norm() < 0.05 * expected_rows.norm()


@pytest.mark.parametrize("kind", ["half", "autocast"])
@pytest.mark.parametrize("margin", [2.0, 8.0])
def test_float16_gradients_are_near_those_of_float32(kind, margin):
    classifier, hidden, target = confident_case(margin)
    expected = gradients(copy.deepcopy(classifier), hidden, target, 1.0)
    if kind == "half":
        found = gradients(classifier.half(), hidden.half(), target, 2.0**10)
    else:
        found = gradients(classifier, hidden, target, 2.0**10, autocast=True)
    for ours, reference in zip(found, expected):
        assert (ours - reference).norm() < 0.02 * reference.norm()


@pytest.mark.parametrize("kind", ["half", "autocast"])
def test_a_loss_scale_that_is_too_large_for_float16_shows(kind):
    """fairseq then skips the update and lowers the scale."""
    classifier, hidden, target = nn.Linear(4, 6), torch.randn(3, 4), torch.tensor([0, 1, 2])
    if kind == "half":
        classifier, hidden = classifier.half(), hidden.half()
    assert not gradients(classifier, hidden, target, 2.0**20, autocast=kind == "autocast")[0].isfinite().all()
    classifier.weight.grad = None
    assert gradients(classifier, hidden, target, 2.0**10, autocast=kind == "autocast")[0].isfinite().all()


def test_bfloat16_gradients_are_scaled_in_float32():
    """By a factor that bfloat16 would round."""
    classifier, hidden = nn.Linear(4, 6).bfloat16(), torch.randn(3, 4).bfloat16()
    target, factor = torch.tensor([0, 1, 2]), 1.0 + 2.0**-8
    plain, _ = gradients(classifier, hidden, target, 1.0)
    classifier.weight.grad = None
    scaled, _ = gradients(classifier, hidden, target, factor)
    assert torch.equal((plain.float() * factor).bfloat16(), (scaled * factor).bfloat16())
    assert not torch.equal(plain, scaled * factor)


def test_a_target_that_ties_with_another_token_is_correct():
    """As y_t = argmax p reads: the target is one of the most probable tokens."""
    classifier = nn.Linear(1, 4, bias=False)
    classifier.weight.data = torch.tensor([[2.0], [3.0], [3.0], [1.0]])
    found = classifier_loss(classifier, torch.ones(4, 1), torch.arange(4))
    assert found.correct.tolist() == [False, True, True, False]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_large_logits_cost_no_digits(label_smoothing):
    """The loss of a sure prediction among large logits, to float32's digits of itself."""
    classifier = nn.Linear(1, 3, bias=False)
    classifier.weight.data = torch.tensor([[1000.0], [993.0], [990.0]])
    target = torch.tensor([0])
    found = classifier_loss(classifier, torch.ones(1, 1), target, label_smoothing)
    expected, [nll] = by_hand(classifier.double(), torch.ones(1, 1).double(), target, label_smoothing, 1.0)
    assert found.nll.item() == pytest.approx(nll, rel=1e-3)
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_states_give_a_float32_loss(dtype):
    classifier = nn.Linear(8, 50).to(dtype)
    hidden = torch.randn(6, 8).to(dtype).requires_grad_()
    result = classifier_loss(classifier, hidden, torch.randint(50, (6,)), 0.1)
    assert result.loss.dtype == torch.float32
    result.loss.backward()
    assert hidden.grad.dtype == dtype and torch.isfinite(hidden.grad).all()
    assert classifier.weight.grad.dtype == dtype
