"""Halting classifiers (Eqs. 8 and 11 to 13) against the paper's formulas, and at the edges of what numbers can hold."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from depth_adaptive_fairseq.modules.halting import build_halting, geometric_log_distribution
from tests.reference import scalar_equations as paper
from tests.small_models import random_sample, small_dictionary, small_model, small_task

property_test = settings(max_examples=40, deadline=None, derandomize=True)
cases = dict(
    num_exits=st.integers(1, 6),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    scale=st.sampled_from([0.3, 1.0, 4.0]),
    seed=st.integers(0, 10**6),
)
WIDTH, ENCODER_WIDTH = 3, 5
KINDS = [("sequence", False), ("multinomial", False), ("geometric", False), ("geometric", True)]


def random_halting(kind, num_exits, per_block, scale, seed):
    torch.manual_seed(seed)
    halting = build_halting(kind, ENCODER_WIDTH, WIDTH, num_exits, per_block).double()
    with torch.no_grad():
        for parameter in halting.parameters():
            parameter.normal_(std=scale)
    return halting


def random_states(num_exits, lengths):
    """h^1 .. h^N, the same for every sentence's length: the padding behind it holds states too."""
    return [torch.randn(len(lengths), max(lengths), WIDTH, dtype=torch.float64) for _ in range(num_exits)]


def random_encoder_out(lengths):
    """fairseq's encoder output, padded on the left and on the right by turns; rubbish at padding."""
    source = max(lengths)
    padding = torch.zeros(len(lengths), source, dtype=torch.bool)
    for row, length in enumerate(lengths):
        if row % 2:
            padding[row, length:] = True
        else:
            padding[row, : source - length] = True
    states = torch.randn(source, len(lengths), ENCODER_WIDTH, dtype=torch.float64)
    states[padding.t()] = 1e3
    return {"encoder_out": [states], "encoder_padding_mask": [padding]}


def close(found, expected):
    assert [float(x) for x in found] == pytest.approx([float(x) for x in expected], rel=1e-5, abs=1e-5)


@property_test
@given(**cases)
def test_sequence_distribution_equals_the_paper(num_exits, lengths, scale, seed):
    halting = random_halting("sequence", num_exits, False, scale, seed)
    encoder_out = random_encoder_out(lengths)
    logits = halting(random_states(num_exits, lengths), encoder_out)
    found = halting.log_distribution(logits)
    assert found.shape == (len(lengths), 1, num_exits)
    padding = encoder_out["encoder_padding_mask"][0]
    for row in range(len(lengths)):
        state = paper.mean_state(encoder_out["encoder_out"][0][:, row][~padding[row]])
        expected = paper.multinomial_log_distribution(halting.projection.weight, halting.projection.bias, state)
        close(found[row, 0], expected)
        assert halting.predict(logits)[row, 0] == paper.multinomial_exit(expected)


def test_sequence_distribution_without_a_padding_mask():
    halting = random_halting("sequence", 4, False, 1.0, seed=0)
    encoder_out = random_encoder_out([3, 3])
    expected = halting([], encoder_out)
    torch.testing.assert_close(halting([], {**encoder_out, "encoder_padding_mask": []}), expected)


@property_test
@given(**cases)
def test_multinomial_distribution_equals_the_paper(num_exits, lengths, scale, seed):
    halting = random_halting("multinomial", num_exits, False, scale, seed)
    hidden = random_states(num_exits, lengths)
    logits = halting(hidden, {})
    found = halting.log_distribution(logits)
    assert found.shape == (len(lengths), max(lengths), num_exits)
    for row, length in enumerate(lengths):
        for t in range(length):
            layer = halting.projection
            expected = paper.multinomial_log_distribution(layer.weight, layer.bias, hidden[0][row, t])
            close(found[row, t], expected)
            assert halting.predict(logits)[row, t] == paper.multinomial_exit(expected)


@property_test
@given(per_block=st.booleans(), **cases)
def test_geometric_distribution_equals_the_paper(per_block, num_exits, lengths, scale, seed):
    halting = random_halting("geometric", num_exits, per_block, scale, seed)
    assert len(halting.projections) == (max(num_exits - 1, 0) if per_block else 1)
    hidden = random_states(num_exits, lengths)
    logits = halting(hidden, {})
    found = halting.log_distribution(logits)
    assert found.shape == (len(lengths), max(lengths), num_exits)
    layers = [halting.projections[n if per_block else 0] for n in range(num_exits - 1)]
    weights, biases = [layer.weight[0] for layer in layers], [layer.bias[0] for layer in layers]
    for row, length in enumerate(lengths):
        for t in range(length):
            states = [state[row, t] for state in hidden[:-1]]
            close(found[row, t].exp(), [q.exp() for q in paper.geometric_log_distribution(weights, biases, states)])
            expected = [paper.dot(w, h) + b for w, b, h in zip(weights, biases, states)]
            close(found[row, t], paper.exact_geometric_log_distribution(expected))
            assert halting.predict(logits)[row, t] == paper.geometric_exit(expected)


@pytest.mark.parametrize("num_exits", [2, 3, 6, 24])
@pytest.mark.parametrize("size", [0.0, 1.0, 20.0, 1e3, 6e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_geometric_distribution_is_exact_at_both_ends(num_exits, size, dtype):
    """chi within a rounding error of 0 and 1, and of one half, in all orders; logits as large as float16 holds."""
    torch.manual_seed(num_exits)
    logits = (size * torch.randn(16, num_exits - 1).sign()).to(dtype).float().requires_grad_()
    found = geometric_log_distribution(logits)
    for row in range(len(logits)):
        expected = paper.exact_geometric_log_distribution(logits[row])
        assert found[row].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    torch.testing.assert_close(found.logsumexp(dim=-1), torch.zeros(16), atol=1e-5, rtol=0)
    for exit_index in range(num_exits):  # what the exit loss sends back, whichever exit the oracle names
        gradient = torch.autograd.grad(-found[:, exit_index].sum(), logits, retain_graph=True)[0]
        assert gradient.isfinite().all() and gradient.abs().max() <= 1


@pytest.mark.parametrize("num_exits", [2, 3, 6, 24])
def test_prediction_is_the_rule_on_the_threshold_itself(num_exits):
    """chi = 0.5 does not exceed the threshold of 0.5, what is barely above does."""
    halting = build_halting("geometric", ENCODER_WIDTH, WIDTH, num_exits, False)
    for logit in (0.0, 1e-3, -1e-3, 1e-30):
        logits = torch.full((1, num_exits - 1), logit)
        found = halting.predict(logits)
        assert found.tolist() == [paper.geometric_exit(logits[0].tolist())], logit


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("num_exits", [2, 24])
@pytest.mark.parametrize("kind, per_block", KINDS)
def test_half_precision_models_have_finite_losses_and_gradients(kind, per_block, num_exits, dtype):
    dictionary = small_dictionary(8)
    model = small_model(
        dictionary, halting=kind, halting_per_block=per_block, decoder_layers=num_exits, encoder_layers=1
    )
    with torch.no_grad():  # chi near 0 and 1
        for index, (_, parameter) in enumerate(model.decoder.halting.named_parameters()):
            parameter.mul_(300).add_(3e3 * (-1) ** index)
    model = model.to(dtype)
    sample = random_sample(dictionary, [(3, 4), (1, 2)])
    criterion = DepthAdaptiveCrossEntropy(small_task(dictionary), False, exit_loss_weight=1.0)
    loss, _, log = criterion(model, sample)
    loss.backward()
    assert loss.isfinite() and log["exit_loss"].isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    _, extra = model(**sample["net_input"])
    total = model.decoder.halting.log_distribution(extra["halting_logits"]).logsumexp(dim=-1)
    assert total.dtype == torch.float32 and math.isclose(total.abs().max().item(), 0.0, abs_tol=1e-4)


def logits_of(halting, states, encoder_out):
    """The logits of all decisions, ``(..., decisions)``."""
    if halting.kind == "sequence":
        return halting.logits(encoder_out)
    if halting.kind == "multinomial":
        return halting.logits(states[0])
    return torch.stack([halting.logits(n, state) for n, state in enumerate(states[:-1], start=1)], dim=-1)


def at_the_edge(kind, per_block, num_exits, dtype):
    """A classifier and states whose products float16 cannot hold, and the same numbers in float64."""
    halting = random_halting(kind, num_exits, per_block, 30.0, seed=0).to(dtype)
    lengths = [3, 2]
    encoder_out = random_encoder_out(lengths)
    states = [(3e4 * state).clamp(-6e4, 6e4).to(dtype) for state in random_states(num_exits, lengths)]
    encoder_out["encoder_out"] = [(3e4 * encoder_out["encoder_out"][0]).clamp(-6e4, 6e4).to(dtype)]
    wide = copy.deepcopy(halting).double()
    expected = logits_of(
        wide, [state.double() for state in states], {**encoder_out, "encoder_out": [encoder_out["encoder_out"][0].double()]}
    )
    return halting, states, encoder_out, expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("num_exits", [2, 24])
@pytest.mark.parametrize("kind, per_block", KINDS)
def test_logits_are_computed_in_float32(kind, per_block, num_exits, dtype):
    halting, states, encoder_out, expected = at_the_edge(kind, per_block, num_exits, dtype)
    found = logits_of(halting, states, encoder_out)
    assert expected.abs().max() > torch.finfo(torch.float16).max
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1.0)  # the difference of terms of up to 1e7
    assert halting.log_distribution(halting(states, encoder_out)).isfinite().all()


@pytest.mark.parametrize("autocast", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind, per_block", KINDS)
def test_autocast_changes_nothing(kind, per_block, autocast):
    halting, states, encoder_out, _ = at_the_edge(kind, per_block, 4, torch.float32)
    expected = halting(states, encoder_out)
    with torch.autocast("cpu", dtype=autocast):
        assert torch.equal(halting(states, encoder_out), expected)
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == autocast, "autocast was not left as it was"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("training_mode", ["aligned", "mixed"])
@pytest.mark.parametrize("kind, per_block", KINDS)
def test_an_untrained_classifier_adds_nothing_however_large_it_is(kind, per_block, training_mode, dtype):
    """Neither an infinite exit loss nor an infinite sum of its parameters; each still has a gradient, of zero."""
    dictionary = small_dictionary(8)
    sample = random_sample(dictionary, [(3, 4)])
    criterion = DepthAdaptiveCrossEntropy(small_task(dictionary), False, 0.1, training_mode)
    losses = []
    for options in ({}, dict(halting=kind, halting_per_block=per_block)):
        model = small_model(dictionary, **options)
        model.load_state_dict(small_model(dictionary, seed=1).state_dict())
        model = model.to(dtype).train()
        for parameter in [] if model.decoder.halting is None else model.decoder.halting.parameters():
            parameter.data.fill_(torch.finfo(dtype).max)
        losses.append(criterion(model, sample)[0])
    losses[-1].backward()
    assert losses[-1].isfinite() and torch.equal(*losses)
    for parameter in model.decoder.halting.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


def test_unknown_kind_is_an_error():
    with pytest.raises(KeyError):
        build_halting("sometimes", ENCODER_WIDTH, WIDTH, 3, False)
