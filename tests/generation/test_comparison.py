"""The comparison itself: a decoder with a plausible mistake must not pass it."""

import pytest

from tests.generation.against_slow import compare
from tests.generation.strategies import Case
from tests.models_for_tests import ModelOptions, random_sources
from tests.reference.comparison import Comparison
from tests.reference.slow_decoder import SlowDecoder
from tests.reference.slow_layers import layer_norm

CASE = Case(
    models=[ModelOptions(seed=5, decoder_layers=3, decoder_normalize_before=True)],
    sources=random_sources(7, [3, 6]),
    padding="left",
    exits={"exit_policy": "uniform", "exit_seed": 3},
    search={
        "beam": 2,
        "max_len_b": 6,
        "min_len": 3,
        "lenpen": 1.0,
        "unnormalized": False,
        "temperature": 1.5,
        "unkpen": 0.0,
    },
)


class WithoutCopies(SlowDecoder):
    """Runs the skipped blocks of earlier tokens after all."""

    def carry(self, has_left, below, above):
        return above


class CopiesNormed(SlowDecoder):
    """Copies the state as the exit's classifier sees it, behind the final norm."""

    def carry(self, has_left, below, above):
        norm = self.members[0].decoder.exit_classifiers[0].layer_norm
        return super().carry(has_left, layer_norm(norm, below), above)


class CopiesProjectedBelow(SlowDecoder):
    """Projects what a block sees of tokens that left right below it with that lower block's keys and values."""

    def predict(self, tokens, exits):
        layers = self.members[0].decoder.layers
        if not exits or exits[-1] == len(layers):
            return super().predict(tokens, exits)
        wrong, right = layers[exits[-1] - 1].self_attn, layers[exits[-1]].self_attn
        kept = right.k_proj, right.v_proj
        right.k_proj, right.v_proj = wrong.k_proj, wrong.v_proj
        try:
            return super().predict(tokens, exits)
        finally:
            right.k_proj, right.v_proj = kept


class ExitsOneLate(SlowDecoder):
    """Takes the exit of each position for that of the position before."""

    def predict(self, tokens, exits):
        return super().predict(tokens, (exits[1:] + exits[-1:]) if exits else exits)


def test_the_right_decoder_passes():
    comparison = Comparison()
    compare(CASE, comparison)
    comparison.check(least_mixed=1.0)
    assert comparison.ties == 0


@pytest.mark.parametrize("wrong", [WithoutCopies, CopiesNormed, CopiesProjectedBelow, ExitsOneLate])
def test_a_wrong_decoder_fails(wrong):
    with pytest.raises(AssertionError, match="of hypothesis"):
        compare(CASE, Comparison(), wrong)
