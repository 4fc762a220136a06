"""The numbers that a recipe's CSVs hold for its grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from depth_adaptive_fairseq.commands.evaluation.comparison import gain_over_fixed
from depth_adaptive_fairseq.commands.evaluation.results import read_results
from depth_adaptive_fairseq.commands.shared.tables import read_table

from .grid import Grid, Training, load_grid
from .trainings import is_decoded_alike, is_trained, read_trainings

NUM_EXITS = 6
EXIT_POLICIES = [*(f"fixed:{n}" for n in range(1, NUM_EXITS)), "full"]
BASELINES = [f"baseline-{n}" for n in range(1, NUM_EXITS + 1)]
ALIGNED = "aligned"
CONTROL = "aligned-continued"  # the aligned model after the updates of phase 2, without a halting classifier

METHODS = {("sequence", "likelihood"): "Seq-LL", ("sequence", "correctness"): "Seq-C"}
METHODS.update({("multinomial", "likelihood"): "Tok-LL multinomial", ("multinomial", "correctness"): "Tok-C multinomial"})
METHODS.update({("geometric", "likelihood"): "Tok-LL geometric", ("geometric", "correctness"): "Tok-C geometric"})


@dataclass(frozen=True)
class Point:
    """One row of results: what a policy gives on a subset, or on several, as a mean."""

    bleu: float
    average_exit: float
    flops_per_token: float


class Measurements:
    """Results and trainings of a recipe, by training.

    Attributes:
        grid: what was to be measured.
        trainings: the rows of ``trainings.csv`` by name, those of other options than today's left out.
        positions: the rows of ``exit_positions.csv`` of these trainings.
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
        self.positions = [row for row in read_table(recipe / "exit_positions.csv") if row["training"] in decoded]

    def point(self, model: str, subset: str, policy: str) -> Optional[Point]:
        """The row of *model*, *subset* and *policy*, None if it was not measured."""
        return self._points.get((model, subset, policy))

    def pooled(self, model: str, subsets: Sequence[str], policy: str) -> Optional[Point]:
        """The mean over *subsets*, None if one of them was not measured."""
        points = [self.point(model, subset, policy) for subset in subsets]
        if not points or None in points:
            return None
        columns = ("bleu", "average_exit", "flops_per_token")
        return Point(*(mean([getattr(point, column) for point in points]) for column in columns))

    def measured(self, table: str) -> List[Training]:
        """The trainings of *table* that were trained, in the grid's order."""
        return [training for training in self.grid.trainings if training.table == table and training.name in self.trainings]

    def common_subsets(self, names: Sequence[str]) -> List[str]:
        """The subsets that the grid decodes with each of the trainings *names*; none if it does not have all of these."""
        subsets = [training.subsets for training in self.grid.trainings if training.name in names]
        if len(subsets) != len(names):
            return []
        return [subset for subset in subsets[0] if all(subset in others for others in subsets)]

    def exits(self, model: str, subset: str) -> List[Optional[Point]]:
        """The points of fixed exits 1 .. N."""
        return [self.point(model, subset, policy) for policy in EXIT_POLICIES]

    def reference(self) -> str:
        """Whose fixed exits a phase-2 model is held against: the control's where it is measured, else the aligned model's."""
        points = [point for subset in self.common_subsets([CONTROL]) for point in self.exits(CONTROL, subset)]
        return CONTROL if points and None not in points else ALIGNED

    def gain(self, point: Point, model: str, subset: str) -> Optional[float]:
        """BLEU of *point* above the fixed exits of *model*, interpolated at its average exit."""
        fixed = self.exits(model, subset)
        if None in fixed:
            return None
        return gain_over_fixed(point.bleu, point.average_exit, [(n, each.bleu) for n, each in enumerate(fixed, start=1)])


def method_of(training: Training) -> Optional[str]:
    """The paper's name of an adaptive method, None for a training that has none."""
    return METHODS.get((training.options.get("halting"), training.options.get("oracle")))


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
