"""Reads what ``--exit-log`` of fairseq-generate writes."""

import json
from pathlib import Path
from typing import List

from depth_adaptive_fairseq.commands.shared.text_lines import read_lines


def _list_of(is_one):
    return lambda value: isinstance(value, list) and len(value) > 0 and all(map(is_one, value))


def _is_whole(value) -> bool:
    return type(value) is int and 0 <= value < 10**9  # not a bool, and nothing that arithmetic cannot take


def _is_number(value) -> bool:
    return isinstance(value, float) or type(value) is int and abs(value) < 10**9


# What the entries of a record are.
_KINDS = {
    "id": _is_whole,
    "tokens": _list_of(lambda token: isinstance(token, str)),
    "exits": _list_of(lambda exit_index: _is_whole(exit_index) and exit_index >= 1),
    "scores": _list_of(_is_number),
}


def read_exit_records(path: Path, *names: str) -> List[tuple]:
    """The entries *names* of every record of an exit log.

    Raises:
        ValueError: the file is not an exit log; entries are missing or of another kind, or lists differ in length.
    """
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            record = json.loads(line)
            entries = tuple(record[name] for name in names)
            right = all(_KINDS[name](entry) for name, entry in zip(names, entries))
            right = right and len({len(entry) for entry in entries if isinstance(entry, list)}) <= 1
        except (ValueError, KeyError, TypeError, RecursionError):
            right = False
        if not right:
            raise ValueError(f"line {number} of {path} is not a record of --exit-log")
        records.append(entries)
    return records
