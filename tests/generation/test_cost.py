"""FLOPs of decoding (appendix B)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_adaptive_fairseq.exits.cost import DecoderSizes, full_depth_flops, sentence_flops
from depth_adaptive_fairseq.exits.registry import POLICIES
from tests.generation.strategies import deterministic
from tests.models_for_tests import ModelOptions, make_model, make_stock_model
from tests.reference.slow_cost import slow_sentence_flops

SIZES = DecoderSizes(num_exits=3, vocabulary=10, decoder_width=4, encoder_width=5, ffn_width=6)


@st.composite
def sentences(draw):
    """Sizes, the exits of a sentence's tokens, and its source length."""
    size = st.integers(1, 600)
    sizes = DecoderSizes(draw(st.integers(1, 12)), draw(size), draw(size), draw(size), draw(size))
    exits = draw(st.lists(st.integers(1, sizes.num_exits), max_size=20))
    return sizes, exits, draw(st.integers(1, 80))


ADAPTIVE = (
    "uniform", "confidence", "sequence", "multinomial", "geometric", "entropy", "margin", "saturation", "patience"
)


def policies_with(exits):
    """The policies that such exits can come from."""
    return [*ADAPTIVE, *(("full", "fixed") if len(set(exits)) <= 1 else ())]


@deterministic(100)
@given(sentences())
def test_equals_a_walk_through_tokens_and_blocks(sentence):
    sizes, exits, source_length = sentence
    for policy in policies_with(exits):
        expected = slow_sentence_flops(*vars(sizes).values(), policy, exits, source_length)
        assert sentence_flops(sizes, POLICIES[policy], exits, source_length) == expected


@pytest.mark.parametrize(
    "policy, exits, expected",
    [
        # a block: 12*16 + 4*6*4 + 4*t*4 + 4*7*4 = 400 + 16t; its first call: 4*7*4*5 = 560; skipped: 64; output: 80
        ("full", [3, 3], 3 * (416 + 560) + 80 + 3 * 432 + 80),
        ("fixed", [2], 2 * (416 + 560) + 80),
        ("uniform", [1, 2], (416 + 560) + 2 * 64 + 80 + 2 * 432 + 560 + 64 + 80),
        ("confidence", [1, 2], (416 + 560) + 2 * 64 + 80 + 2 * 432 + 560 + 64 + 2 * 80),
        ("sequence", [1, 1], (416 + 560) + 2 * 64 + 2 * 3 * 4 + 80 + 432 + 2 * 64 + 80),
        ("multinomial", [2, 1], 2 * (416 + 560) + 64 + 432 + 2 * 64 + 2 * (2 * 3 * 4 + 80)),
        ("geometric", [2], 2 * (416 + 560) + 64 + 2 * 4 * 2 + 80),
        ("confidence", [], 0),
    ],
)
def test_worked_examples(policy, exits, expected):
    assert sentence_flops(SIZES, POLICIES[policy], exits, source_length=7) == expected


@deterministic(40)
@given(sentences())
def test_a_later_exit_never_costs_less(sentence):
    sizes, exits, source_length = sentence
    for policy in ADAPTIVE:
        earlier_cost = sentence_flops(sizes, POLICIES[policy], exits, source_length)
        for position, exit_index in enumerate(exits):
            if exit_index < sizes.num_exits:
                later = exits[:position] + [exit_index + 1] + exits[position + 1 :]
                assert sentence_flops(sizes, POLICIES[policy], later, source_length) > earlier_cost


def test_full_depth_is_the_deepest_fixed_exit():
    assert full_depth_flops(SIZES, 5, 9) == sentence_flops(SIZES, POLICIES["fixed"], [3] * 5, 9)


@pytest.mark.parametrize("make", [make_model, make_stock_model])
def test_sizes_of_a_model(make):
    model = make(
        ModelOptions(
            vocabulary=30, decoder_layers=4, encoder_embed_dim=8, decoder_embed_dim=12, encoder_ffn_embed_dim=20,
            decoder_ffn_embed_dim=24,
        )
    )
    assert DecoderSizes.of(model) == DecoderSizes(4, 30, 12, 8, 24)
