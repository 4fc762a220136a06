"""What a comparison says of a finding, where each number comes from one training."""

from typing import Callable, List, NamedTuple, Optional, Sequence

from .measurements import Measurements

# BLEU. One seed, and subsets of about 1,000 sentences: the six baselines, where one expects a steady rise, go up and down by
# 0.4 from one depth to the next. The means that are compared rest on several such numbers, hence a little less.
NOISE_MARGIN = 0.3
# Blocks. A method whose average exits differ by less has one point and no curve.
EXIT_MARGIN = 0.05
# Mean probabilities of thousands of tokens each.
PROBABILITY_MARGIN = 0.05

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
WITHIN_NOISE = "within noise"
CANNOT_BE_JUDGED = "cannot be judged"
NOT_MEASURED = "not measured"


class Answer(NamedTuple):
    """Whether a finding holds here, and the numbers."""

    verdict: str
    numbers: str


Check = Callable[[Measurements], Optional[Answer]]  # None: not all of what it needs is measured


def all_exceed(differences: Sequence[float], margin: float = NOISE_MARGIN) -> str:
    """The verdict on a claim that all *differences* are positive: one that is clearly negative refutes it."""
    if any(each <= -margin for each in differences):
        return NOT_REPRODUCED
    return REPRODUCED if all(each >= margin for each in differences) else WITHIN_NOISE


def no_worse(difference: float, margin: float = NOISE_MARGIN) -> str:
    """The verdict on a claim of "as good as": nothing has to be gained, so not being behind is enough."""
    if difference <= -margin:
        return NOT_REPRODUCED
    return REPRODUCED if difference >= 0 else WITHIN_NOISE


def rises(series: Sequence[float], margin: float = EXIT_MARGIN) -> Optional[str]:
    """The verdict on a claim that *series* rises, None if it is constant.

    Steps the other way are forgiven where they are smaller than *margin*; from end to end it has to rise by more.
    """
    if max(series) - min(series) < margin:
        return None
    if any(later - earlier <= -margin for earlier, later in zip(series, series[1:])):
        return NOT_REPRODUCED
    return REPRODUCED if series[-1] - series[0] >= margin else WITHIN_NOISE


def falls(series: Sequence[float], margin: float = EXIT_MARGIN) -> Optional[str]:
    """The same for a claim that it falls."""
    return rises([-value for value in series], margin)


def together(verdicts: Sequence[Optional[str]]) -> str:
    """One verdict of several on the same claim: it has to hold for each of them; those that say nothing are left out."""
    given: List[str] = [verdict for verdict in verdicts if verdict is not None]
    for verdict in (NOT_REPRODUCED, WITHIN_NOISE, REPRODUCED):
        if verdict in given:
            return verdict
    return CANNOT_BE_JUDGED
