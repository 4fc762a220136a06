"""The CSV of results: one row for each model, subset and exit policy; a row that is there is not measured again."""

import csv
from pathlib import Path
from typing import Dict, List, Sequence

from shared.whole_files import new_file

COLUMNS = (
    "model",
    "subset",
    "policy",
    "bleu",
    "sacrebleu",
    "average_exit",
    "flops_per_token",
    "tokens_per_second",
    "sentences",
    "tokens",
    "seconds",
    "exits",
    "beam",
    "checkpoint_sha256",
    "signature",
)
KEY = ("model", "subset", "policy", "beam", "checkpoint_sha256")


def read_results(path: Path, columns: Sequence[str] = COLUMNS) -> List[Dict[str, str]]:
    """The rows of *path*, none if it does not exist or is empty.

    Raises:
        ValueError: the file is not such a CSV.
    """
    if not path.exists() or not path.stat().st_size:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != tuple(columns):
            raise ValueError(f"{path} is not a file of results: its columns are {reader.fieldnames}, not {list(columns)}")
        return list(reader)


def add_result(path: Path, row: Dict[str, object]) -> None:
    """Append *row*, replacing an older one of the same model, subset and policy; the file is renamed into place."""
    identity = ("model", "subset", "policy")
    kept = [old for old in read_results(path) if any(old[name] != str(row[name]) for name in identity)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path, newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, row])


def has_result(rows: Sequence[Dict[str, str]], key: Dict[str, object]) -> bool:
    """Whether one of *rows* was measured for *key* (the columns :data:`KEY`)."""
    return any(all(row[name] == str(key[name]) for name in KEY) for row in rows)


def as_table(rows: Sequence[Dict[str, str]]) -> str:
    """The rows as a Markdown table for people."""
    lines = [
        "| model | policy | BLEU | sacreBLEU | average exit | MFLOPs per token | tokens per second |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['model']} | {row['policy']} | {float(row['bleu']):.2f} | {float(row['sacrebleu']):.2f} "
            f"| {float(row['average_exit']):.2f} | {float(row['flops_per_token']) / 1e6:.3f} "
            f"| {float(row['tokens_per_second']):.0f} |"
        )
    return "\n".join(lines)
