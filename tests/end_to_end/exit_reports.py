"""Reading and checking what a decoding run reports about its exits."""

import json
import math
import re
from pathlib import Path
from typing import Dict, Set

import pytest

from tests.end_to_end.commands import Finished

FIELDS = ["id", "tokens", "exits", "scores", "average_exit", "policy", "num_exits", "flops", "full_depth_flops"]


def read_log(path: Path) -> Dict[int, dict]:
    """The exit log's records by sentence; fails where a sentence is there twice."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == len(records)
    return by_id


def exits_of(records: Dict[int, dict]) -> Set[int]:
    """The exits that were taken at all."""
    return {n for record in records.values() for n in record["exits"]}


def check_records(done: Finished, records: Dict[int, dict], sentences: int) -> None:
    """The exit log tells the best translations that were printed, and their scores; one exit for each token."""
    assert set(records) == set(done.hypotheses()) == set(range(sentences))
    for i, record in records.items():
        assert list(record) == FIELDS
        assert record["tokens"] == done.hypotheses()[i][0].split() + ["</s>"]
        assert len(record["exits"]) == len(record["tokens"]) == len(record["scores"])
        assert record["average_exit"] == pytest.approx(sum(record["exits"]) / len(record["exits"]))
        in_bits = [float(score) for score in done.lines("P")[i][0].split()]
        assert [score / math.log(2) for score in record["scores"]] == pytest.approx(in_bits, abs=2e-4)


def check_summary(done: Finished, records: Dict[int, dict]) -> None:
    """The one summary at the end holds the log's average and histogram, of a model with 3 exits."""
    exits = [n for record in records.values() for n in record["exits"]]
    (summary,) = re.findall(r"exit policy .*", done.output)
    assert f"average exit {sum(exits) / len(exits):.3f} of 3" in summary
    for n in (1, 2, 3):
        assert f"{n}:{exits.count(n) / len(exits):.1%}" in summary
