"""Linear layers and the choice of the best tokens."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.native import kernels

PROPERTIES = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
sizes = st.integers(1, 100)


def test_the_installation_compiled_them():
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    assert kernels.available()[0] == "baseline" and kernels.library() is not None


@PROPERTIES
@given(
    rows=st.integers(1, 30), inputs=sizes, outputs=sizes, bias=st.booleans(), threads=st.integers(1, 2), seed=st.integers(0, 10**6)
)
def test_float32_layer(library, rows, inputs, outputs, bias, threads, seed):
    generator = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(outputs, inputs, generator=generator), torch.randn(rows, inputs, generator=generator)
    added = torch.randn(outputs, generator=generator) if bias else None
    library.set_threads(threads)
    found = kernels.Linear(weight, added, False, library)(x)
    torch.testing.assert_close(found, torch.nn.functional.linear(x, weight, added), atol=1e-4, rtol=1e-5)


@PROPERTIES
@given(
    rows=st.integers(1, 70), inputs=sizes, outputs=sizes, bias=st.booleans(), threads=st.integers(1, 2), seed=st.integers(0, 10**6)
)
def test_int8_layer(library, rows, inputs, outputs, bias, threads, seed):
    """Against the same rounding, written out in float64."""
    generator = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(outputs, inputs, generator=generator), torch.randn(rows, inputs, generator=generator)
    added = torch.randn(outputs, generator=generator) if bias else torch.zeros(outputs)
    library.set_threads(threads)
    found = kernels.Linear(weight, added if bias else None, True, library)(x)

    def rounded(values, limit):
        scale = values.abs().amax(dim=1, keepdim=True) / limit
        return (values / scale).round() * scale

    wide = kernels.INSTRUCTION_SETS[1] not in str(library)
    expected = rounded(x.double(), 127 if wide else 63) @ rounded(weight.double(), 127).T + added
    # A value halfway between two steps may be rounded either way: one step of one input, and of one weight.
    step = (x.abs().max() / (127 if wide else 63)) * weight.abs().max() + (weight.abs().max() / 127) * x.abs().max()
    assert (found - expected).abs().max() <= 1e-4 + 0.51 * step
    exact = (found - expected).abs() <= 1e-4 + 1e-5 * expected.abs()
    assert exact.float().mean() > 0.9 or exact.numel() < 20


def test_int8_layer_does_not_overflow(library):
    """The largest sums that eight-bit numbers can make."""
    weight, x = torch.ones(40, 1024), torch.ones(3, 1024)
    assert torch.allclose(kernels.Linear(weight, None, True, library)(x), torch.tensor(1024.0), rtol=1e-6)
    assert torch.allclose(kernels.Linear(-weight, None, True, library)(x), torch.tensor(-1024.0), rtol=1e-6)
    assert torch.allclose(kernels.Linear(-weight, None, True, library)(-x), torch.tensor(1024.0), rtol=1e-6)


def test_zeros(library):
    layer = kernels.Linear(torch.zeros(5, 8), torch.ones(5), True, library)
    assert layer(torch.randn(3, 8)).eq(1).all() and layer(torch.zeros(3, 8)).eq(1).all()


@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_stays_none(library, rows, value):
    """A row with such an input has no sensible output; the others are as before."""
    torch.manual_seed(1)
    layer, x = kernels.Linear(torch.randn(20, 70), None, True, library), torch.randn(rows, 70)
    expected = layer(x)
    x[1, 5] = value
    found = layer(x)
    others = [row for row in range(rows) if row != 1]
    assert not found[1].isfinite().any() and found[others].equal(expected[others])


def test_int8_layer_of_numbers_without_an_inverse(library):
    assert kernels.Linear(torch.full((5, 8), 1e-40), None, True, library)(torch.full((3, 8), 1e-40)).abs().max() < 1e-30
    assert kernels.Linear(torch.ones(5, 8), None, True, library)(torch.full((20, 8), 1e-40)).abs().max() < 1e-30


def test_other_users_of_the_matrix_unit_are_not_disturbed(library):
    """PyTorch's own products of bfloat16 and int8 configure it, too."""
    torch.manual_seed(1)
    a, b = torch.randn(64, 64).bfloat16(), torch.randn(64, 64).bfloat16()
    layer, x = kernels.Linear(torch.randn(96, 64), None, True, library), torch.randn(50, 64)
    expected, found = a @ b, layer(x)
    for _ in range(3):
        assert (a @ b).equal(expected) and layer(x).equal(found)


def test_no_rows(library):
    assert kernels.Linear(torch.ones(5, 8), None, False, library)(torch.empty(0, 8)).shape == (0, 5)


@PROPERTIES
@given(
    rows=st.integers(1, 6), vocabulary=st.integers(12, 700), width=st.integers(1, 10), spread=st.floats(0.01, 60),
    penalty=st.floats(0, 9), ties=st.booleans(), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_best_tokens(library, rows, vocabulary, width, spread, penalty, ties, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(rows, vocabulary, generator=generator)
    if ties:
        logits = logits.round()
    suppressed, penalized = np.array([1, vocabulary - 1]), 3
    expected = logits.double().log_softmax(dim=-1)
    expected[:, suppressed] = -torch.inf
    expected[:, penalized] -= penalty
    scores, tokens = kernels.candidates_of_logits(library, logits.clone(), kernels.CandidateOptions.of(width, suppressed, penalized, penalty))
    torch.testing.assert_close(torch.from_numpy(scores).double(), expected.topk(width).values, atol=1e-4, rtol=1e-5)
    for row, best, found in zip(expected, scores, tokens):
        assert len(set(found.tolist())) == width
        torch.testing.assert_close(row[found], torch.from_numpy(best).double(), atol=1e-4, rtol=1e-5)


def test_best_tokens_of_equals_come_by_number(library):
    suppressed = np.array([0, 2])
    _, tokens = kernels.candidates_of_logits(library, torch.zeros(2, 300), kernels.CandidateOptions.of(8, suppressed, 5, 1.0))
    assert tokens.tolist() == [[1, 3, 4, 6, 7, 8, 9, 10]] * 2


def test_fewer_tokens_than_wanted(library):
    suppressed = np.arange(9)
    scores, _ = kernels.candidates_of_logits(library, torch.zeros(1, 12), kernels.CandidateOptions.of(5, suppressed, 9, 0.0))
    assert np.isfinite(scores[0, :3]).all() and (scores[0, 3:] == -np.inf).all()


@pytest.mark.parametrize("rows", [7, 230])
@pytest.mark.parametrize("norm", [True, False])
def test_classifier_and_best_tokens_in_one(library, norm, rows):
    torch.manual_seed(1)
    states, layer = torch.randn(rows, 20), torch.nn.Linear(20, 90, bias=False)
    layer_norm = torch.nn.LayerNorm(20) if norm else None
    if norm:
        torch.nn.init.normal_(layer_norm.weight), torch.nn.init.normal_(layer_norm.bias)
    packed = kernels.Linear(layer.weight, None, False, library)
    suppressed = np.array([1])
    choice = kernels.CandidateOptions.of(6, suppressed, 3, 0.5)
    scores, tokens = kernels.candidates_of_states(library, kernels.classifier(layer_norm, packed), states, choice)
    with torch.no_grad():
        logits = layer(layer_norm(states) if norm else states)
    expected_scores, expected_tokens = kernels.candidates_of_logits(library, logits, choice)
    assert (tokens == expected_tokens).all()
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


def test_logits_that_are_no_numbers(library):
    """As PyTorch's path: what is not a number is never among the best."""
    logits = torch.randn(2, 100)
    logits[0, 7] = torch.nan
    scores, _ = kernels.candidates_of_logits(library, logits, kernels.CandidateOptions.of(5, np.array([1]), 3, 0.0))
    assert (scores[0] == -np.inf).all() and np.isfinite(scores[1]).all()
