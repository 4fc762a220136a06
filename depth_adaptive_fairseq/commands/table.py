"""Print a file of results as a Markdown table, validation and test side by side.

    depth-adaptive table scripts/recipes/multi30k.de-en/results.csv

The CSV is one that depth-adaptive evaluate wrote. Speed is left out: compare it within one run only.
"""

from pathlib import Path
from typing import Dict, List, Sequence

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.evaluation.results import read_results

SUBSETS = ("valid", "test")
HEADER = (
    "model",
    "policy",
    *(f"{subset} {column}" for subset in SUBSETS for column in ("BLEU", "sacreBLEU", "average exit", "MFLOPs/token")),
)


def side_by_side(rows: List[Dict[str, str]]) -> str:
    """A line for each model and policy, in the order of the file; a dash where a subset was not measured."""
    found = {(row["model"], row["policy"], row["subset"]): row for row in rows}
    lines = ["| " + " | ".join(HEADER) + " |", "|---|---|" + "---:|" * (len(HEADER) - 2)]
    for model, policy in dict.fromkeys((row["model"], row["policy"]) for row in rows):
        cells = [model, policy]
        for subset in SUBSETS:
            row = found.get((model, policy, subset))
            cells += _cells(row) if row else ["-"] * 4
        lines.append("| " + " | ".join(cells) + " |")
    signatures = sorted({row["signature"] for row in rows})
    return "\n".join([*lines, "", *(f"sacreBLEU signature: `{signature}`" for signature in signatures)])


def _cells(row: Dict[str, str]) -> List[str]:
    return [
        f"{float(row['bleu']):.2f}",
        f"{float(row['sacrebleu']):.2f}",
        f"{float(row['average_exit']):.2f}",
        f"{float(row['flops_per_token']) / 1e6:.2f}",
    ]


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("table", __doc__)
    parser.add_argument("results", type=Path, help="CSV of depth-adaptive evaluate")
    args = parser.parse_args(arguments)
    rows = read_results(args.results)
    if not rows:
        raise ValueError(f"{args.results} has no rows: write some with depth-adaptive evaluate --results {args.results}")
    print(side_by_side(rows))
