"""The draws of ``uniform``; what the other policies decide is shown by the generator's tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_adaptive_fairseq.exits.known_exits import SourceBatch, drawn_exits
from depth_adaptive_fairseq.exits.policy import ExitRule
from depth_adaptive_fairseq.exits.registry import POLICIES
from tests.generation.against_slow import drawn_exit
from tests.generation.strategies import deterministic
from tests.models_for_tests import EOS, PAD, make_sample

TOKENS = st.lists(st.integers(2, 50_000), max_size=12)
SOURCES = TOKENS.map(lambda tokens: tokens + [EOS])
PREFIXES = TOKENS.map(lambda tokens: [EOS] + tokens)


def draw_batch(num_exits, seed, sources, prefixes, padding="left"):
    """The exits of several rows in one batch; their *prefixes* are equally long."""
    source = SourceBatch(make_sample(sources, padding)["net_input"]["src_tokens"].numpy(), PAD)
    exits = drawn_exits(ExitRule(POLICIES["uniform"], num_exits, seed), source)(np.array(prefixes), np.arange(len(prefixes)))
    assert exits.min() >= 1 and exits.max() <= num_exits
    return exits.tolist()


@deterministic(100)
@given(st.integers(1, 12), st.integers(-(2**63), 2**64), SOURCES, PREFIXES)
def test_one_exit_within_range(num_exits, seed, source, prefix):
    assert 1 <= drawn_exit(num_exits, seed, source, prefix) <= num_exits


@deterministic(50)
@given(st.lists(SOURCES, min_size=2, max_size=5), st.data(), st.sampled_from(["left", "right", "mixed"]))
def test_independent_of_batch_and_padding(sources, data, padding):
    length = data.draw(st.integers(0, 5))
    word = st.integers(2, 50_000)
    prefixes = [[EOS] + data.draw(st.lists(word, min_size=length, max_size=length)) for _ in sources]
    alone = [drawn_exit(6, 9, source, prefix) for source, prefix in zip(sources, prefixes)]
    assert draw_batch(6, 9, sources, prefixes, padding) == alone


def chi_squared(counts, expected):
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.parametrize("num_exits", [2, 3, 6, 7])
@pytest.mark.parametrize("varied", ["source", "prefix", "length", "seed"])
def test_roughly_uniform(num_exits, varied):
    """Small changes of any part of the key are enough: counts are as even as those of a fair die."""
    source, prefix = [5, 6, EOS], [EOS, 7, 8]
    if varied == "source":
        exits = draw_batch(num_exits, 1, [[4 + i % 40, 4 + i // 40, EOS] for i in range(600)], [prefix] * 600)
    elif varied == "prefix":
        exits = draw_batch(num_exits, 1, [source] * 600, [[EOS, 4 + i % 40, 4 + i // 40] for i in range(600)])
    elif varied == "length":
        exits = [drawn_exit(num_exits, 1, source, [EOS] + [4 + i % 5] * (i // 5)) for i in range(600)]
    else:
        exits = [drawn_exit(num_exits, seed, source, prefix) for seed in range(600)]
    counts = [exits.count(n) for n in range(1, num_exits + 1)]
    expected = 600 / num_exits
    chi_squared = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_squared < 26, counts  # p < 0.0003 even with 6 degrees of freedom


@pytest.mark.parametrize("changed", ["source", "prefix", "longer prefix", "seed", "order"])
def test_draws_are_unrelated(changed):
    """Pairs of draws with keys that differ in one place only agree as often as chance lets them."""

    def draw(source=0, prefix=0, longer=(), seed=0, turned=False):
        sources = [[4 + i % 30 + source, 40 + i // 30] for i in range(600)]
        prefixes = [[5, 4 + i + prefix] for i in range(600)]
        if turned:
            sources, prefixes = [row[::-1] for row in sources], [row[::-1] for row in prefixes]
        return draw_batch(
            4, seed, [row + [EOS] for row in sources], [[EOS, *row, *longer] for row in prefixes]
        )

    change = {"source": 1, "prefix": 1, "longer prefix": [9], "seed": 1, "order": True}[changed]
    other = draw(**{{"longer prefix": "longer", "order": "turned"}.get(changed, changed): change})
    agree = sum(ours == theirs for ours, theirs in zip(draw(), other))
    assert 100 < agree < 200, agree  # 150 expected, standard deviation 11
