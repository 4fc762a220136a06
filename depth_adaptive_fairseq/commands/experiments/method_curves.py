"""Adaptive methods as curves of BLEU over the average exit, and two of them side by side (Figure 3)."""

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from .grid import Training
from .measurements import Measurements, mean, method_of
from .verdicts import CANNOT_BE_JUDGED, EXIT_MARGIN, Answer, all_exceed


@dataclass(frozen=True)
class CurvePoint:
    """A policy of a training, as a mean over the subsets.

    Attributes:
        gain: BLEU above the reference's fixed exits at the same average exit.
    """

    training: str
    policy: str
    average_exit: float
    gain: float


def trainings_of(measurements: Measurements, method: str, table: str = "halting") -> List[Training]:
    """All that the grid lists for *method*, trained or not."""
    trainings = (training for training in measurements.grid.trainings if training.table == table)
    return [training for training in trainings if method_of(training) == method]


def curve(measurements: Measurements, method: str) -> Optional[List[CurvePoint]]:
    """Every policy of every training of *method*, by average exit; None unless all of them were measured."""
    points = []
    reference = measurements.reference()
    for training in trainings_of(measurements, method):
        for policy in training.policies:
            pooled = measurements.pooled(training.name, training.subsets, policy)
            if pooled is None:
                return None
            rows = [(subset, measurements.point(training.name, subset, policy)) for subset in training.subsets]
            gains = [measurements.gain(point, reference, subset) for subset, point in rows]
            if None in gains:
                return None
            points.append(CurvePoint(training.name, policy, pooled.average_exit, mean(gains)))
    return sorted(points, key=lambda point: point.average_exit) or None


def compare(measurements: Measurements, better: str, worse: str) -> Optional[Answer]:
    """Whether *better* has more BLEU at the same average exits, over the range that both methods reach.

    Gains over fixed exits are interpolated between a method's points and averaged over that range. Gains and not BLEU,
    since BLEU over the average exit is bent and its interpolation would favour the method with more points.
    """
    curves = {method: curve(measurements, method) for method in (better, worse)}
    if None in curves.values():
        return None
    for method, points in curves.items():
        low, high = _range(points)
        if high - low < EXIT_MARGIN:
            return Answer(
                CANNOT_BE_JUDGED,
                f"All {len(points)} points of {method} have average exits from {low:.2f} to {high:.2f}: that is no curve.",
            )
    ranges = [_range(points) for points in curves.values()]
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    described = ", ".join(f"{method} {low:.2f} to {high:.2f}" for method, (low, high) in zip(curves, ranges))
    if high - low < EXIT_MARGIN:
        return Answer(CANNOT_BE_JUDGED, f"The methods have no average exits in common: {described}.")
    gains = [_mean_gain(points, low, high) for points in curves.values()]
    numbers = (
        f"Mean gain over the fixed exits of `{measurements.reference()}` at average exits {low:.2f} to {high:.2f}, "
        f"validation and test: {better} {gains[0]:+.2f}, {worse} {gains[1]:+.2f}."
    )
    return Answer(all_exceed([gains[0] - gains[1]]), numbers)


def _range(points: Sequence[CurvePoint]) -> Tuple[float, float]:
    return points[0].average_exit, points[-1].average_exit


def _mean_gain(points: Sequence[CurvePoint], low: float, high: float) -> float:
    """The mean of the broken line through *points* between two average exits."""
    groups: Dict[float, List[float]] = {}
    for point in points:  # those in one place count as one: a line through them would be vertical
        groups.setdefault(round(point.average_exit, 2), []).append(point.gain)
    places = np.linspace(low, high, 101)
    return mean(np.interp(places, list(groups), [mean(gains) for gains in groups.values()]))
