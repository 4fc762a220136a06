"""The CSV of results: one row for each model, subset and exit policy; a row that is there is not measured again."""

import csv
from pathlib import Path
from typing import Dict, List, Sequence

from depth_adaptive_fairseq.commands.shared.tables import markdown, write_table
from depth_adaptive_fairseq.compat.whole_files import refuse_special

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
    "decoding_sha256",
)
KEY = ("model", "subset", "policy", "beam", "checkpoint_sha256")
# Of all options of decoding. Files of earlier versions do not have it, so their rows count whatever they were decoded with.
DECODING = "decoding_sha256"


def read_results(path: Path, columns: Sequence[str] = COLUMNS) -> List[Dict[str, str]]:
    """The rows of *path*, none if it does not exist or is empty.

    Raises:
        ValueError: the file is not such a CSV, or no file: what is added to it must be there to be read.
    """
    refuse_special(path)
    if not path.exists() or not path.stat().st_size:
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        found = tuple(reader.fieldnames or ())
        if found != tuple(columns) and (columns is not COLUMNS or found != COLUMNS[:-1]):
            raise ValueError(f"{path} is not a file of results: its columns are {reader.fieldnames}, not {list(columns)}")
        return [{DECODING: "", **row} if columns is COLUMNS else row for row in reader]


def add_result(path: Path, row: Dict[str, object]) -> None:
    """Append *row*, replacing an older one of the same model, subset and policy; the file is renamed into place."""
    identity = ("model", "subset", "policy")
    kept = [old for old in read_results(path) if any(old[name] != str(row[name]) for name in identity)]
    write_table(path, COLUMNS, [*kept, row])


def has_result(rows: Sequence[Dict[str, str]], key: Dict[str, object]) -> bool:
    """Whether one of *rows* was measured for *key* (the columns :data:`KEY` and :data:`DECODING`)."""
    return any(all(row[name] == str(key[name]) for name in KEY) and row[DECODING] in ("", str(key[DECODING])) for row in rows)


def as_table(rows: Sequence[Dict[str, str]]) -> str:
    """The rows as a Markdown table for people."""
    header = ("model", "policy", "BLEU", "sacreBLEU", "average exit", "MFLOPs per token", "tokens per second")
    cells = [
        [
            row["model"],
            row["policy"],
            *(f"{float(row[name]):.2f}" for name in ("bleu", "sacrebleu", "average_exit")),
            f"{float(row['flops_per_token']) / 1e6:.3f}",
            f"{float(row['tokens_per_second']):.0f}",
        ]
        for row in rows
    ]
    return markdown(header, cells, texts=2)
