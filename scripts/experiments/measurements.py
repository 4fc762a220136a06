"""The numbers that a recipe's CSVs hold for its grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from evaluation.results import read_results

from .grid import Grid, Training, load_grid
from .trainings import is_decoded_alike, is_trained, read_trainings

METHODS = {("sequence", "likelihood"): "Seq-LL", ("sequence", "correctness"): "Seq-C"}
METHODS.update({("multinomial", "likelihood"): "Tok-LL multinomial", ("multinomial", "correctness"): "Tok-C multinomial"})
METHODS.update({("geometric", "likelihood"): "Tok-LL geometric", ("geometric", "correctness"): "Tok-C geometric"})


@dataclass(frozen=True)
class Point:
    """One row of results: what a policy gives on a subset."""

    bleu: float
    average_exit: float
    flops_per_token: float


class Measurements:
    """Results and trainings of a recipe, by training.

    Attributes:
        grid: what was to be measured.
        trainings: the rows of ``trainings.csv`` by name, those of other options than today's left out.
    """

    def __init__(self, recipe: Path):
        self.grid: Grid = load_grid(recipe / "grid.yaml")
        wanted = {training.name: training for training in self.grid.trainings}
        rows = read_trainings(recipe / "trainings.csv")
        self.trainings = {name: row for name, row in rows.items() if name in wanted and is_trained(row, wanted[name])}
        decoded = {name for name, row in self.trainings.items() if is_decoded_alike(row, wanted[name])}
        self._points: Dict[Tuple[str, str, str], Point] = {}
        for row in read_results(recipe / "results.csv"):
            if row["model"] in decoded:
                point = Point(float(row["bleu"]), float(row["average_exit"]), float(row["flops_per_token"]))
                self._points[row["model"], row["subset"], row["policy"]] = point

    def point(self, model: str, subset: str, policy: str) -> Optional[Point]:
        """The row of *model*, *subset* and *policy*, None if it was not measured."""
        return self._points.get((model, subset, policy))

    def measured(self, table: str) -> List[Training]:
        """The trainings of *table* that were trained, in the grid's order."""
        return [training for training in self.grid.trainings if training.table == table and training.name in self.trainings]

    def exits(self, model: str, subset: str, num_exits: int) -> List[Optional[Point]]:
        """The points of fixed exits 1 .. N."""
        policies = [f"fixed:{n}" for n in range(1, num_exits)] + ["full"]
        return [self.point(model, subset, policy) for policy in policies]

    def gain(self, point: Point, model: str, subset: str, num_exits: int) -> Optional[float]:
        """BLEU of *point* above the fixed exits of *model*, interpolated at its average exit."""
        fixed = self.exits(model, subset, num_exits)
        if None in fixed:
            return None
        return point.bleu - float(np.interp(point.average_exit, range(1, num_exits + 1), [each.bleu for each in fixed]))


def method_of(training: Training) -> str:
    """The paper's name of an adaptive method."""
    return METHODS[training.options["halting"], training.options["oracle"]]


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
