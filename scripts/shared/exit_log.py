"""Reads what ``--exit-log`` of fairseq-generate writes."""

import json
from pathlib import Path
from typing import List


def read_exit_records(path: Path, *names: str) -> List[tuple]:
    """The entries *names* of every record of an exit log.

    Raises:
        ValueError: the file is not an exit log.
    """
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            records.append(tuple(record[name] for name in names))
        except (json.JSONDecodeError, KeyError, TypeError):
            raise ValueError(f"line {number} of {path} is not a record of --exit-log") from None
    return records
