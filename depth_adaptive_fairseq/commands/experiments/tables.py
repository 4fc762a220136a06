"""The tables of RESULTS.md."""

from typing import List, Optional, Sequence

from depth_adaptive_fairseq.commands.shared.tables import markdown

from .grid import Training
from .measurements import ALIGNED, BASELINES, NUM_EXITS, Measurements, Point, mean, method_of


def exits_table(measurements: Measurements, trainings: Sequence[Training], subset: str, baselines: bool) -> str:
    """BLEU with drawn exits and at each exit, a line a training: the form of the paper's Tables 1 to 3."""
    rows: List[List[str]] = []
    if baselines:
        points = [measurements.point(name, subset, "stock") for name in BASELINES]
        rows.append(["six baselines, N = 1..6", "-", *_cells(points)])
    for training in trainings:
        points = measurements.exits(training.name, subset)
        uniform = measurements.point(training.name, subset, "uniform")
        if any(points):
            rows.append([training.name, *_bleu([uniform]), *_cells(points)])
    header = ["training", "uniform", *(f"n={n}" for n in range(1, NUM_EXITS + 1)), "mean"]
    return markdown(header, rows)


def adaptive_table(measurements: Measurements, trainings: Sequence[Training]) -> str:
    """BLEU and average exit of each adaptive point, and its gain over fixed exits of that depth.

    Those of the reference for phase 2; for confidence those of the aligned model, whose weights it decodes with.
    """
    rows = []
    reference = measurements.reference()
    for training in trainings:
        for policy in training.policies:
            row = _adaptive_row(measurements, training.name, policy, reference)
            if row is None:
                continue
            log = measurements.trainings[training.name]
            width = training.options.get("oracle-kernel-width", 0)
            settings = [method_of(training), f"{training.options['oracle-penalty']:g}", f"{width:g}", _threshold(policy)]
            rows.append([*settings, *row, log["oracle_exit"], log["exit_agreement"]])
    aligned = next(training for training in measurements.grid.trainings if training.name == ALIGNED)
    for policy in (policy for policy in aligned.policies if policy.startswith("confidence")):
        row = _adaptive_row(measurements, ALIGNED, policy, ALIGNED)
        if row is not None:
            rows.append(["confidence", "-", "-", _threshold(policy), *row, "-", "-"])
    header = ["method", "lambda", "sigma", "threshold"]
    for subset in ("valid", "test"):
        header += [f"{subset} BLEU", "average exit", "over fixed exits"]
    return markdown([*header, "test MFLOPs/token", "oracle's average exit", "agreement"], rows)


def trainings_table(measurements: Measurements) -> str:
    """What was trained: updates, seed, size, time and last validation loss."""
    columns = ("updates", "seed", "parameters", "seconds", "valid_nll")
    rows = [[name, *(row[column] for column in columns)] for name, row in measurements.trainings.items()]
    return markdown(["training", *columns], rows)


def _adaptive_row(measurements: Measurements, model: str, policy: str, reference: str) -> Optional[List[str]]:
    cells: List[str] = []
    test = measurements.point(model, "test", policy)
    for subset in ("valid", "test"):
        point = measurements.point(model, subset, policy)
        if point is None:
            return None
        gain = measurements.gain(point, reference, subset)
        cells += [f"{point.bleu:.2f}", f"{point.average_exit:.2f}", "-" if gain is None else f"{gain:+.2f}"]
    return [*cells, f"{test.flops_per_token / 1e6:.3f}"]


def _threshold(policy: str) -> str:
    return policy.partition(":")[2] or "-"


def _bleu(points: Sequence[Optional[Point]]) -> List[str]:
    return ["-" if point is None else f"{point.bleu:.2f}" for point in points]


def _cells(points: Sequence[Optional[Point]]) -> List[str]:
    complete = "-" if None in points else f"{mean([point.bleu for point in points]):.2f}"
    return [*_bleu(points), complete]
