"""The generator against the slow decoder, on many random models, batches and options.

Each test counts differences that rounding explains, and fails if they are more than a few.
"""

import pytest
import torch
from hypothesis import given

from tests.generation.against_slow import compare, decode, decode_slowly
from tests.generation.strategies import Case, cases, deterministic
from tests.models_for_tests import ModelOptions, make_model
from tests.reference.comparison import Comparison

SEARCH = {
    "beam": 2, "max_len_b": 3, "min_len": 1, "lenpen": 1.0, "unnormalized": False, "temperature": 1.0, "unkpen": 0.0,
}  # fmt: skip
# The policies whose exits can differ within a sentence, and for how many sentences they do at least.
STATISTICS_AND_HALTING = {
    "entropy": 0.4,
    "margin": 0.4,
    "saturation": 0.3,
    "patience": 0.15,
    "multinomial": 0.25,
    "geometric": 0.35,
    "auto": 0.25,
}


@pytest.mark.parametrize(
    "policy, examples, least_mixed",
    [
        ("full", 10, 0.0),
        ("fixed", 20, 0.0),
        ("uniform", 40, 0.8),
        ("confidence", 40, 0.5),
        *((policy, 20, least_mixed) for policy, least_mixed in STATISTICS_AND_HALTING.items()),
    ],
)
def test_every_policy(policy, examples, least_mixed):
    comparison = Comparison()

    @deterministic(examples)
    @given(cases(policies=[policy]))
    def run(case):
        compare(case, comparison)

    run()
    comparison.check(least_mixed)


def test_one_exit_for_each_sentence():
    comparison = Comparison()

    @deterministic(20)
    @given(cases(policies=["sequence"]))
    def run(case):
        compare(case, comparison)

    run()
    comparison.check(most_alike=0.7)
    assert comparison.mixed_exits == 0


def test_forced_prefixes():
    comparison = Comparison()

    @deterministic(30)
    @given(cases(prefixes=True, policies=["uniform", "confidence", "full"]))
    def run(case):
        compare(case, comparison)

    run()
    comparison.check(least_mixed=0.4)


def test_ensembles_of_two():
    comparison = Comparison()

    @deterministic(20)
    @given(cases(members=2, policies=["uniform", "confidence", "fixed"]))
    def run(case):
        compare(case, comparison)

    run()
    comparison.check(least_mixed=0.4)


@pytest.mark.parametrize("policy", ["sequence", *STATISTICS_AND_HALTING])
def test_ensembles_have_one_exit_by_the_average(policy):
    """Members have different widths and, with ``geometric``, one classifier for all blocks or one for each."""
    comparison = Comparison()

    @deterministic(8)
    @given(cases(members=2, policies=[policy]))
    def run(case):
        compare(case, comparison)

    run()
    comparison.check(least_mixed=STATISTICS_AND_HALTING.get(policy, 0.0), most_alike=0.8)


def test_ensembles_of_three():
    comparison = Comparison()

    @deterministic(8)
    @given(cases(members=3, policies=["entropy", "patience", "geometric", "multinomial", "sequence"]))
    def run(case):
        compare(case, comparison)

    run()
    comparison.check(least_mixed=0.2)


@pytest.mark.parametrize(
    "exits, halting, taken",
    [
        ({"exit_policy": "sequence"}, "sequence", 1),
        ({"exit_policy": "multinomial"}, "multinomial", 1),
        ({"exit_policy": "geometric", "exit_thresholds": 0.5}, "geometric", 4),  # one half does not exceed it
        ({"exit_policy": "margin", "exit_margin": 0}, "none", 4),
        ({"exit_policy": "entropy", "exit_entropy": 0}, "none", 4),
        ({"exit_policy": "patience", "exit_patience": 3}, "none", 3),  # all of them predict the first token
    ],
    ids=lambda value: value["exit_policy"] if isinstance(value, dict) else None,
)
@pytest.mark.parametrize("members", [1, 2])
def test_where_all_is_equally_probable(exits, halting, taken, members):
    """The lowest exit wins, and a statistic on the threshold is not beyond it."""
    options = [ModelOptions(seed=seed, decoder_layers=4, halting=halting) for seed in range(members)]
    models = [make_model(each) for each in options]
    for model in models:
        for each in (*model.decoder.exit_classifiers, *([model.decoder.halting] if halting != "none" else [])):
            for parameter in each.parameters():
                torch.nn.init.zeros_(parameter)
    case = Case(options, [[5, 6, 2], [2]], "left", exits, SEARCH)
    for sentence, hypotheses in enumerate(decode(case, models)):
        expected = decode_slowly(case, models, sentence)
        for hypothesis in (*hypotheses, *map(vars, expected.hypotheses)):
            assert set(map(int, hypothesis["exits"])) == {taken}
