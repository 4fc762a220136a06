"""Plot BLEU over the average exit and over FLOPs per token, one curve for each kind of policy and model.

    depth-adaptive plot results.csv --subset test --out tradeoff.png

The CSV is one that depth-adaptive evaluate wrote. The format of the picture follows its name: .png, .svg or .pdf.
"""

import io
from collections import defaultdict
from pathlib import Path
from typing import Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  after the choice of backend

from depth_adaptive_fairseq.commands import command_parser  # noqa: E402
from depth_adaptive_fairseq.commands.evaluation.results import read_results  # noqa: E402
from depth_adaptive_fairseq.compat.whole_files import is_special, new_file  # noqa: E402

MARKERS = "osD^vP*X"


def curves(rows):
    """Group rows by model and policy: label to points, sorted by average exit."""
    groups = defaultdict(list)
    models = {row["model"] for row in rows}
    for row in rows:
        policy = row["policy"].partition(":")[0]
        policy = "fixed" if policy == "full" else policy  # full depth ends the curve of fixed exits
        label = policy if len(models) == 1 else f"{row['model']}: {policy}"
        groups[label].append(row)
    return {label: sorted(points, key=lambda row: float(row["average_exit"])) for label, points in groups.items()}


def plot(rows, metric: str, out: Path) -> None:
    """Write the picture of *rows* to *out*.

    Raises:
        ValueError, OSError: no picture can be written there; the message says why.
    """
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    axes = (("average_exit", 1.0, "average exit"), ("flops_per_token", 1e-6, "decoder MFLOPs per token"))
    for panel, (column, scale, title) in zip(panels, axes):
        for number, (label, points) in enumerate(curves(rows).items()):
            panel.plot(
                [float(point[column]) * scale for point in points],
                [float(point[metric]) for point in points],
                marker=MARKERS[number % len(MARKERS)],
                linestyle="-" if len(points) > 1 else "none",
                label=label,
            )
        panel.set_xlabel(title)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("BLEU" if metric == "bleu" else "sacreBLEU")
    panels[0].legend()
    figure.suptitle(f"{rows[0]['subset']}, {rows[0]['sentences']} sentences, beam {rows[0]['beam']}")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format=out.suffix[1:] or None)
    plt.close(figure)
    with new_file(out, "wb") as file:
        file.write(picture.getvalue())


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("plot", __doc__)
    parser.add_argument("results", type=Path, help="CSV of depth-adaptive evaluate")
    parser.add_argument("--subset", default="test", help="the subset to plot (default: test)")
    parser.add_argument("--metric", choices=("bleu", "sacrebleu"), default="bleu", help="default: bleu, of tokens")
    parser.add_argument("--out", type=Path, default=Path("tradeoff.png"), help="picture to write")
    args = parser.parse_args(arguments)
    rows = [row for row in read_results(args.results) if row["subset"] == args.subset]
    if not rows:
        raise ValueError(
            f"{args.results} has no rows for the subset {args.subset}: run depth-adaptive evaluate with --results {args.results}"
        )
    plot(rows, args.metric, args.out)
    if not is_special(args.out):
        print(f"wrote {args.out}")
