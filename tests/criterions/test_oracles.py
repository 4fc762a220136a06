"""Oracles (Eqs. 9, 10 and 14 to 17) against loops over positions and exits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.criterions.oracles import rbf_kernel, sequence_oracle, token_oracle
from tests.reference import scalar_equations as paper

property_test = settings(max_examples=150, deadline=None, derandomize=True)
batches = dict(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    exits=st.integers(1, 6),
    penalty=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0]),
    seed=st.integers(0, 10**6),
)
widths = st.sampled_from([0.0, 0.2, 1.0, 4.0, 30.0])


def random_scores(kind, lengths, exits, seed):
    """Scores with rubbish at padding, what is not padding, and each sentence's own scores."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths), exits)
    if kind == "likelihood":
        scores = -5 * torch.rand(shape, generator=generator, dtype=torch.float64)
    elif kind == "correctness":
        scores = torch.randint(0, 2, shape, generator=generator).double()
    else:  # steps between exits that the penalty makes up for exactly
        scores = torch.randint(-3, 1, shape, generator=generator).double() / 2
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    rubbish = torch.tensor([math.nan, math.inf, -math.inf, 1e9], dtype=torch.float64)
    scores[~real] = rubbish[torch.randint(0, 4, shape, generator=generator)][~real]
    sentences = [row[:length].tolist() for row, length in zip(scores, lengths)]
    return scores, real, sentences


kinds = st.sampled_from(["likelihood", "correctness", "ties"])


@property_test
@given(kind=kinds, **batches)
def test_sequence_oracle_equals_the_loop(kind, lengths, exits, penalty, seed):
    scores, real, sentences = random_scores(kind, lengths, exits, seed)
    found = sequence_oracle(scores, real, penalty)
    assert found.shape == (len(lengths), 1)
    assert found.flatten().tolist() == [paper.sequence_oracle(values, penalty) for values in sentences]


@property_test
@given(kind=kinds, width=widths, **batches)
def test_token_oracle_equals_the_loop(kind, lengths, exits, penalty, width, seed):
    scores, real, sentences = random_scores(kind, lengths, exits, seed)
    found = token_oracle(scores, real, penalty, width)
    assert found.shape == real.shape
    expected = [paper.token_oracle(values, penalty, width) for values in sentences]
    assert [row[:length].tolist() for row, length in zip(found, lengths)] == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(width=st.sampled_from([1.0, 4.0, 30.0]), exits=st.integers(2, 6), seed=st.integers(0, 10**6))
def test_equal_sums_are_ties_in_single_precision_too(width, exits, seed):
    """Every exit is right at the same distances from the middle, on either side of it: all sums are equal there."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.randint(0, 2, (exits, 6), generator=generator)
    scores = torch.zeros(1, 13, exits)
    for n in range(exits):
        for distance, side in enumerate(sides[n].tolist(), start=1):
            scores[0, 6 + (distance if side else -distance), n] = 1
    found = token_oracle(scores, torch.ones(1, 13, dtype=torch.bool), 0.0, width)
    assert found[0, 6] == 1


@property_test
@given(kind=kinds, width=widths, **batches)
def test_padding_and_the_batch_change_nothing(kind, lengths, exits, penalty, width, seed):
    scores, real, _ = random_scores(kind, lengths, exits, seed)
    tokens, sentences = token_oracle(scores, real, penalty, width), sequence_oracle(scores, real, penalty)
    for row, length in enumerate(lengths):
        alone, every = scores[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool)
        assert torch.equal(token_oracle(alone, every, penalty, width)[0], tokens[row, :length])
        assert torch.equal(sequence_oracle(alone, every, penalty)[0], sentences[row])


def test_a_wide_kernel_sees_the_whole_sentence():
    scores, real, _ = random_scores("correctness", [7, 4, 9], 4, seed=3)
    found = token_oracle(scores, real, 0.1, 1e12)
    assert torch.equal(found[real], sequence_oracle(scores, real, 0.1).expand_as(found)[real])


def test_a_narrow_kernel_is_none():
    assert torch.equal(rbf_kernel(5, 0.0), torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(rbf_kernel(5, 1e-3), rbf_kernel(5, 0.0))


@pytest.mark.parametrize("width", [0.3, 1.0, 50.0])
def test_kernel_equals_the_formula(width):
    expected = [[paper.kernel(t, other, width) for other in range(6)] for t in range(6)]
    torch.testing.assert_close(rbf_kernel(6, width), torch.tensor(expected, dtype=torch.float64))


def test_negative_width_is_refused():
    with pytest.raises(ValueError, match="-0.5.*0 or more"):
        rbf_kernel(3, -0.5)
    with pytest.raises(ValueError, match="-0.5.*0 or more"):
        token_oracle(torch.zeros(1, 3, 2), torch.ones(1, 3, dtype=torch.bool), 0.0, -0.5)


def test_no_gradient_flows_through_an_oracle():
    scores = torch.zeros(1, 3, 2, requires_grad=True)
    real = torch.ones(1, 3, dtype=torch.bool)
    assert not token_oracle(scores, real, 0.1, 1.0).requires_grad
    assert not sequence_oracle(scores, real, 0.1).requires_grad
