"""Merge the exit logs of shards (fairseq-generate --num-shards) into that of the whole set, and print its summary.

    depth-adaptive merge shard0.jsonl shard1.jsonl shard2.jsonl --exit-log exits.jsonl
"""

import json
import sys
from pathlib import Path
from typing import Dict, List, Sequence

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.exits.exit_log import ExitLog
from depth_adaptive_fairseq.exits.report import ExitSums

NEEDED = {"id": int, "exits": list, "policy": str, "num_exits": int, "flops": int, "full_depth_flops": int}


def main(arguments: Sequence[str]) -> None:
    """Run the command with *arguments*.

    Raises:
        DepthAdaptiveError: a file cannot be read or written, or they are not shards of one run.
    """
    parser = command_parser("merge", __doc__)
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="exit log of a shard")
    parser.add_argument("--exit-log", metavar="FILE", help="write all records to this file, in the order of their ids")
    args = parser.parse_args(arguments)
    records = merged(args.logs)
    if args.exit_log is not None:
        log = ExitLog(args.exit_log)
        for record in records:
            log.write(record)
        log.publish()
    print(f"{len(records)} sentences | {summed(records).describe()}")
    missing = records[-1]["id"] + 1 - len(records)
    if missing:
        print(
            f"{missing} sentences before the last have no record: were they too long and skipped, or is a shard missing?",
            file=sys.stderr,
        )


def merged(paths: Sequence[Path]) -> List[Dict]:
    """The records of the exit logs *paths*, in the order of their ids.

    Raises:
        DepthAdaptiveError: one cannot be read, holds something else, or does not go with the others.
    """
    found: Dict[int, Dict] = {}
    origin: Dict[int, Path] = {}
    for path in paths:
        for record in _read(path):
            identity = record["id"]
            if identity in found:
                raise DepthAdaptiveError(
                    f"{path} has sentence {identity}, and {origin[identity]} has it as well: give each shard of one run once."
                )
            found[identity], origin[identity] = record, path
    if not found:
        raise DepthAdaptiveError(f"no sentence is in {', '.join(map(str, paths))}: give the files that --exit-log has written.")
    for name in ("policy", "num_exits"):
        values = {record[name]: origin[identity] for identity, record in found.items()}
        if len(values) > 1:
            told = ", ".join(f"{value} in {path}" for value, path in values.items())
            raise DepthAdaptiveError(
                f"exit logs of different runs were given, whose {name} is {told}: give the shards of one run."
            )
    return [found[identity] for identity in sorted(found)]


def summed(records: Sequence[Dict]) -> ExitSums:
    """The sums over the *records* of one run, which are not empty."""
    sums = ExitSums(records[0]["policy"], records[0]["num_exits"])
    for record in records:
        sums.count(record["exits"], record["flops"], record["full_depth_flops"])
    return sums


def _read(path: Path) -> List[Dict]:
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
        records = [json.loads(line) for line in lines if line]
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DepthAdaptiveError(
            f"{path} cannot be read as an exit log ({reason}): give a file that --exit-log has written."
        ) from None
    if not all(map(_is_whole, records)):
        raise DepthAdaptiveError(
            f"{path} has a line without {', '.join(NEEDED)}: give a file that --exit-log of this version has written."
        )
    return records


def _is_whole(record) -> bool:
    return (
        isinstance(record, dict)
        and all(type(record.get(name)) is kind for name, kind in NEEDED.items())
        and all(type(exit_index) is int for exit_index in record["exits"])
    )
