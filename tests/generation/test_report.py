"""The summary of a decoding run."""

import math

from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from depth_adaptive_fairseq.exits.cost import DecoderSizes
from depth_adaptive_fairseq.exits.registry import POLICIES
from depth_adaptive_fairseq.exits.report import ExitStatistics
from tests.generation.strategies import deterministic
from tests.reference.slow_cost import slow_sentence_flops

SIZES = DecoderSizes(num_exits=4, vocabulary=50, decoder_width=16, encoder_width=8, ffn_width=32)
WIDER = DecoderSizes(num_exits=4, vocabulary=50, decoder_width=32, encoder_width=8, ffn_width=64)


@deterministic(30)
@given(st.lists(st.tuples(st.lists(st.integers(1, 4), min_size=1, max_size=9), st.integers(1, 20)), min_size=1))
def test_sums_over_tokens_and_members(sentences):
    statistics = ExitStatistics(POLICIES["confidence"], [SIZES, WIDER])
    for exits, source_length in sentences:
        statistics.add(exits, source_length)
    tokens = [exit_index for exits, _ in sentences for exit_index in exits]
    assert statistics.tokens == len(tokens)
    assert statistics.average_exit == approx(sum(tokens) / len(tokens))
    assert [statistics.histogram[n] for n in range(1, 5)] == [tokens.count(n) for n in range(1, 5)]
    members = [list(vars(sizes).values()) for sizes in (SIZES, WIDER)]
    assert statistics.flops == sum(
        slow_sentence_flops(*sizes, "confidence", *sentence) for sizes in members for sentence in sentences
    )
    assert statistics.full_flops == sum(
        slow_sentence_flops(*sizes, "full", [4] * len(exits), source_length)
        for sizes in members
        for exits, source_length in sentences
    )


def test_describes_itself():
    statistics = ExitStatistics(POLICIES["uniform"], [SIZES])
    statistics.add([1, 2, 4, 1], source_length=5)
    line = statistics.describe()
    assert "uniform" in line and "average exit 2.000 of 4" in line
    assert "1:50.0% 2:25.0% 3:0.0% 4:25.0%" in line
    assert f"({statistics.flops / statistics.full_flops:.1%} of full depth)" in line
    assert "\n" not in line


def test_full_depth_is_all_of_the_flops():
    statistics = ExitStatistics(POLICIES["full"], [SIZES])
    statistics.add([4, 4, 4], source_length=5)
    assert "(100.0% of full depth)" in statistics.describe()


def test_before_the_first_token():
    statistics = ExitStatistics(POLICIES["full"], [SIZES])
    assert math.isnan(statistics.average_exit)
    assert "no tokens" in statistics.describe()
