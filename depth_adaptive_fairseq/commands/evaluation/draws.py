"""Drawn exit thresholds, and the CSV of what decoding with each of them gave."""

import csv
import random
from pathlib import Path
from typing import Dict, Tuple

from depth_adaptive_fairseq.commands.evaluation.results import read_results
from depth_adaptive_fairseq.compat.whole_files import refuse_special

DIGITS = 4  # so that what is measured is what one can read and give back
COLUMNS = (
    "policy",
    "subset",
    "beam",
    "checkpoint_sha256",
    "decoding_sha256",
    "draw_seed",
    "draw",
    "thresholds",
    "bleu",
    "sacrebleu",
    "average_exit",
    "flops_per_token",
    "seconds",
)
# Rows that agree in these are draws of one tuning.
KEY = ("policy", "subset", "beam", "checkpoint_sha256", "decoding_sha256", "draw_seed")
_HEADER = ",".join(COLUMNS) + "\n"


def draw_thresholds(seed: int, draw: int, count: int) -> Tuple[float, ...]:
    """tau_1 .. tau_count of draw number *draw*, each uniform on 0..1.

    They depend on nothing else: not on how many draws there are, nor on which have been made.
    """
    # A text as seed is hashed, so that neighbouring numbers give unrelated draws, the same in every version of Python.
    generator = random.Random(f"{seed} {draw}")
    return tuple(round(generator.random(), DIGITS) for _ in range(count))


def as_option(thresholds: Tuple[float, ...]) -> str:
    """*thresholds* as ``--exit-thresholds`` takes them."""
    return ",".join(f"{each:.{DIGITS}f}" for each in thresholds)


class DrawLog:
    """The draws of one tuning in a CSV that may hold those of others, too. A row is written as soon as it is known.

    Args:
        path: the CSV, made with the first row.
        key: the tuning's values for the columns :data:`KEY`.

    Attributes:
        rows: the rows of this tuning by the number of their draw.

    Raises:
        ValueError: *path* is another kind of file.
    """

    def __init__(self, path: Path, key: Dict[str, object]):
        self.path = path
        self.key = {name: str(key[name]) for name in KEY}
        self._drop_half_a_row()
        self.rows: Dict[int, Dict[str, str]] = {}
        for row in read_results(path, COLUMNS):
            if all(row[name] == value for name, value in self.key.items()):
                self.rows[int(row["draw"])] = row

    def add(self, draw: int, thresholds: str, measured: Dict[str, object]) -> None:
        """Append a row: *measured* has the values of the remaining columns, and perhaps others."""
        values = {**measured, **self.key, "draw": draw, "thresholds": thresholds}
        row = {name: str(values[name]) for name in COLUMNS}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        self.rows[draw] = row

    def _drop_half_a_row(self) -> None:
        """Cut off what a killed run did not finish writing."""
        refuse_special(self.path)
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            content = file.read()
            header = _HEADER.encode()
            if content.startswith(header) or header.startswith(content):
                file.truncate(content.rfind(b"\n") + 1)
