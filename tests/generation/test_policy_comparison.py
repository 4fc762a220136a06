"""The comparison of policies: one with a plausible mistake must not pass it."""

import math
from dataclasses import replace

import pytest

from tests.generation import against_slow
from tests.generation.against_slow import compare, with_thresholds
from tests.generation.test_comparison import CASE
from tests.models_for_tests import ModelOptions, make_model, random_sources
from tests.reference.comparison import Comparison
from tests.reference.scalar_equations import dot
from tests.reference.slow_policies import (
    SlowEntropy,
    SlowGeometric,
    SlowMargin,
    SlowMultinomial,
    SlowPatience,
    SlowPolicy,
    SlowSaturation,
    SlowSequence,
    SlowThreshold,
    linear,
    softmax,
)

SOURCES = random_sources(7, [3, 6, 2, 5])
SEED = 13  # one whose exits are diverse, so that mistakes show
EXITS = {
    "entropy": {"quantiles": [0.5]},
    "margin": {"quantiles": [0.5]},
    "saturation": {"quantiles": [0.6]},
    "patience": {"exit_patience": 2},
    "sequence": {},
    "multinomial": {},
    "geometric": {"quantiles": [0.7, 0.6, 0.6, 0.6]},
}


class EntropyInBits(SlowEntropy):
    def statistic(self, exit_index, position, member):
        return super().statistic(exit_index, position, member) / math.log(2)


class MarginToTheMean(SlowMargin):
    def statistic(self, exit_index, position, member):
        probabilities = position.probabilities(exit_index, member)
        return max(probabilities) - 1 / len(probabilities)


class SaturationSinceTheFirstBlock(SlowSaturation):
    def statistic(self, exit_index, position, member):
        state, first = position.state(exit_index, member), position.state(1, member)
        return dot(state, first) / math.sqrt(dot(state, state) * dot(first, first))


class SaturationOfNormedStates(SlowSaturation):
    """Compares what the exits' classifiers see."""

    def statistic(self, exit_index, position, member):
        states = []
        for n in (exit_index - 1, exit_index):
            state = position.state(n, member)
            mean = sum(state) / len(state)
            states.append([value - mean for value in state])
        return dot(*states) / math.sqrt(dot(states[0], states[0]) * dot(states[1], states[1]))


class PatienceOfOneMore(SlowPatience):
    def __init__(self, patience):
        super().__init__(patience + 1)


class PatienceWithPauses(SlowPatience):
    """Counts exits that predict the same, but not in a row."""

    def leaves(self, exit_index, position):
        predicted = [self.most_probable(position.probabilities(n, 0)) for n in range(1, exit_index + 1)]
        return predicted.count(predicted[-1]) >= self.patience


class SequenceByTheFirstWord(SlowSequence):
    def leaves(self, exit_index, position):
        first = position.members[0].source[0].tolist()
        return exit_index == self.most_probable(softmax(linear(position.halting(0).projection, first)))


class MultinomialByTheNewestState(SlowMultinomial):
    """Asks again behind every block."""

    def leaves(self, exit_index, position):
        newest = position.state(exit_index, 0)
        return exit_index == self.most_probable(softmax(linear(position.halting(0).projection, newest)))


class GeometricByWhatIsLeft(SlowGeometric):
    """Takes q(n), which is chi^n times what is left, for chi^n."""

    def statistic(self, exit_index, position, member):
        left = 1.0
        for n in range(1, exit_index):
            left *= 1.0 - super().statistic(n, position, member)
        return left * super().statistic(exit_index, position, member)


class GeometricOneBlockLate(SlowGeometric):
    """Reads the state of the block below."""

    def statistic(self, exit_index, position, member):
        return super().statistic(max(1, exit_index - 1), position, member)


def make_case(name: str, members: int = 1):
    halting = name if name in ("sequence", "multinomial", "geometric") else "none"
    options = ModelOptions(
        seed=SEED,
        decoder_layers=5,
        decoder_normalize_before=True,
        share_exit_classifiers=name == "patience",
        halting=halting,
        halting_per_block=name == "geometric",
    )
    models = [replace(options, seed=SEED + member) for member in range(members)]
    case = replace(CASE, models=models, sources=SOURCES, exits={"exit_policy": name, **EXITS[name]})
    return with_thresholds(case, [make_model(each) for each in models])


def put_in_place(monkeypatch, name: str, wrong) -> None:
    """Make *wrong* the slow policy *name*."""
    if issubclass(wrong, SlowThreshold):
        monkeypatch.setitem(against_slow.THRESHOLDS, name, (wrong, against_slow.THRESHOLDS[name][1]))
    else:
        monkeypatch.setitem(against_slow.OTHERS, name, lambda exits: wrong(*list(exits.values())[1:]))


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("name", EXITS)
def test_the_right_policy_passes(name, members):
    comparison = Comparison()
    compare(make_case(name, members), comparison)
    comparison.check(**({"most_alike": 0.8} if name == "sequence" else {"least_mixed": 0.5}))
    assert comparison.ties == 0


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("entropy", EntropyInBits),
        ("margin", MarginToTheMean),
        ("saturation", SaturationSinceTheFirstBlock),
        ("saturation", SaturationOfNormedStates),
        ("patience", PatienceOfOneMore),
        ("patience", PatienceWithPauses),
        ("sequence", SequenceByTheFirstWord),
        ("multinomial", MultinomialByTheNewestState),
        ("geometric", GeometricByWhatIsLeft),
        ("geometric", GeometricOneBlockLate),
    ],
)
def test_a_wrong_policy_fails(monkeypatch, name, wrong):
    case = make_case(name)
    put_in_place(monkeypatch, name, wrong)
    with pytest.raises(AssertionError, match="of hypothesis"):
        compare(case, Comparison())


@pytest.mark.parametrize("name", EXITS)
def test_a_policy_that_asks_one_member_only_fails(monkeypatch, name):
    case = make_case(name, members=2)

    class OneMember(SlowPolicy):
        """The right policy, given a look at the first member alone."""

        def leaves(self, exit_index, position):
            position.members, kept = position.members[:1], position.members
            try:
                return right.leaves(exit_index, position)
            finally:
                position.members = kept

    right = against_slow.slow_policy(case.exits, make_model(case.models[0]), case.sources[0])
    monkeypatch.setattr(against_slow, "slow_policy", lambda *arguments: OneMember())
    with pytest.raises(AssertionError, match="of hypothesis"):
        compare(case, Comparison())
