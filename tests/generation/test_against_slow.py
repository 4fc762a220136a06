"""The generator against the slow decoder, on many random models, batches and options.

Each test counts differences that rounding explains, and fails if they are more than a few.
"""

import pytest
from hypothesis import given

from tests.generation.against_slow import compare
from tests.generation.strategies import cases, deterministic
from tests.reference.comparison import Comparison


@pytest.mark.parametrize(
    "policy, examples, least_mixed",
    [("full", 10, 0.0), ("fixed", 20, 0.0), ("uniform", 40, 0.8), ("confidence", 40, 0.5)],
)
def test_every_policy(policy, examples, least_mixed):
    comparison = Comparison()

    @deterministic(examples)
    @given(cases(policies=[policy]))
    def run(case):
        compare(case, comparison)

    run()
    comparison.check(least_mixed)


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
