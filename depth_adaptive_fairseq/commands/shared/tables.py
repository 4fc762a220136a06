"""CSV files with a header, read whole and written whole, and Markdown tables."""

import csv
from pathlib import Path
from typing import Dict, Iterable, List, Sequence

from tabulate import tabulate

from depth_adaptive_fairseq.compat.whole_files import new_file


def read_table(path: Path) -> List[Dict[str, str]]:
    """The rows of *path* by column, none if it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Dict[str, object]]) -> None:
    """Write *rows*, which have all *columns*; the file is renamed into place, and a missing folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path, newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table whose first *texts* columns are text, and the others numbers as they are written."""
    aligned = ["left"] * texts + ["right"] * (len(header) - texts)
    return tabulate(rows, header, tablefmt="github", disable_numparse=True, colalign=aligned if rows else None)
