"""The exit log's file: complete, or not there."""

import errno
import json
import os
import stat

import pytest

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.exits.exit_log import ExitLog

RECORDS = [
    {"id": 1, "tokens": ["größer", "</s>"], "exits": [2, 1], "scores": [-0.5, -0.25], "average_exit": 1.5},
    {"id": 0},
]


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_one_object_a_line_renamed_at_the_end(tmp_path):
    target = tmp_path / "exits.jsonl"
    target.write_text("an older run\n")
    log = ExitLog(str(target))
    for record in RECORDS:
        log.write(record)
        assert target.read_text() == "an older run\n"
    assert read(tmp_path / "exits.jsonl.partial") == RECORDS  # each line is written at once
    log.publish()
    assert read(target) == RECORDS
    assert os.listdir(tmp_path) == ["exits.jsonl"]
    assert "größer" in target.read_text(encoding="utf-8")


def test_goes_on_behind_the_rename(tmp_path):
    target = tmp_path / "exits.jsonl"
    log = ExitLog(str(target))
    log.write(RECORDS[0])
    log.publish()
    log.write(RECORDS[1])
    log.publish()
    assert read(target) == RECORDS
    assert os.listdir(tmp_path) == ["exits.jsonl"]


def test_an_empty_run_leaves_an_empty_file(tmp_path):
    ExitLog(str(tmp_path / "log")).publish()
    assert (tmp_path / "log").read_text() == ""


def test_missing_folder(tmp_path):
    with pytest.raises(DepthAdaptiveError, match=r"--exit-log .*not a folder that exists"):
        ExitLog(str(tmp_path / "missing" / "log"))


def test_a_folder_is_no_target(tmp_path):
    with pytest.raises(DepthAdaptiveError, match="not a regular file"):
        ExitLog(str(tmp_path))
    assert not os.path.exists(f"{tmp_path}.partial")


def test_a_device_is_no_target():
    with pytest.raises(DepthAdaptiveError, match="not a regular file"):
        ExitLog(os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(tmp_path):
    target = tmp_path / "log"
    target.write_text("an older run\n")
    (tmp_path / "log.partial").symlink_to("/dev/full")
    log = ExitLog(str(target))
    with pytest.raises(DepthAdaptiveError, match="No space left on device.*free some space"):
        log.write(RECORDS[0])
    assert os.listdir(tmp_path) == ["log"]
    assert target.read_text() == "an older run\n"


def test_a_disk_that_is_full_at_the_end(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = ExitLog(str(tmp_path / "log"))
    log.write(RECORDS[0])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DepthAdaptiveError, match="No space left on device"):
        log.publish()
    assert os.listdir(tmp_path) == []
