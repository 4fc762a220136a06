"""The weightings of aligned training (Table 2)."""

import math

import pytest

from depth_adaptive_fairseq.criterions.exit_weights import EXIT_WEIGHTS, normalised_exit_weights


@pytest.mark.parametrize(
    "weighting, expected",
    [
        ("uniform", [1, 1, 1, 1]),
        ("linear", [1, 2, 3, 4]),
        ("sqrt", [1, math.sqrt(2), math.sqrt(3), 2]),
        ("inverse-sqrt", [1, 1 / math.sqrt(2), 1 / math.sqrt(3), 1 / 2]),
        ("inverse", [1, 1 / 2, 1 / 3, 1 / 4]),
    ],
)
def test_weights_are_the_papers_divided_by_their_sum(weighting, expected):
    assert normalised_exit_weights(weighting, 4) == pytest.approx([w / sum(expected) for w in expected])


def test_all_weightings_of_the_paper_are_there():
    assert set(EXIT_WEIGHTS) == {"uniform", "linear", "sqrt", "inverse-sqrt", "inverse"}
