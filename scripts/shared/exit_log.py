"""Reads what ``--exit-log`` of fairseq-generate writes."""

import json
from pathlib import Path
from typing import List

from shared.text_lines import read_lines


def read_exit_records(path: Path, *names: str) -> List[tuple]:
    """The entries *names* of every record of an exit log.

    Raises:
        ValueError: the file is not an exit log.
    """
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            record = json.loads(line)
            records.append(tuple(record[name] for name in names))
        except (json.JSONDecodeError, KeyError, TypeError):
            raise ValueError(f"line {number} of {path} is not a record of --exit-log") from None
    return records
