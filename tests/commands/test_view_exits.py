"""The page of exits: every token by sentence id, large logs in seconds, and a sentence for what cannot be shown."""

import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

from depth_adaptive_fairseq.commands import main

RECORD = {"id": 0, "tokens": ["▁a", "</s>"], "exits": [1, 2], "scores": [-0.1, -0.2], "average_exit": 1.5}


@pytest.fixture
def view(capsys):
    """``view(*arguments)``: run the command in this process; what it complained of (None: nothing), and what it printed."""

    def view(*arguments):
        try:
            status = main(["view", *map(str, arguments)])
        except SystemExit as error:  # argparse's own
            status = error.code
        said = capsys.readouterr()
        assert bool(status) == bool(said.err)
        return said.err.removeprefix("python -m depth_adaptive_fairseq view: ").rstrip("\n") or None, said.out

    return view


def write_log(path, *records):
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return path


def test_page_shows_every_token_with_its_exit(view, tmp_path):
    log = tmp_path / "exits.jsonl"
    records = [
        {"id": 1, "tokens": ["▁<b>", "x", "</s>"], "exits": [3, 1, 2], "scores": [-0.1, -0.2, -0.3], "average_exit": 2.0},
        {"id": 0, "tokens": ["▁first", "</s>"], "exits": [1, 1], "scores": [-0.1, -0.2], "average_exit": 1.0},
    ]
    log.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    assert view(log, "--out", tmp_path / "exits.html")[0] is None
    page = (tmp_path / "exits.html").read_text(encoding="utf-8")
    assert len(re.findall('class="token[ "]', page)) == 5 and "<b>3</b>&lt;b&gt;" in page
    assert page.index("first") < page.index("&lt;b&gt;")


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0"}, {"id": 0.5}, {"id": None}, {"id": True}, {"id": -1}, {"id": [0]}, {"id": 10**30},
        {"tokens": "ab"}, {"tokens": [1, 2]}, {"tokens": ["a"]}, {"tokens": [], "exits": [], "scores": []},
        {"exits": [0, 1]}, {"exits": ["1", "2"]}, {"exits": [1.0, 2.0]}, {"exits": [1, 10**400]}, {"exits": {}},
        {"scores": [None, 0]}, {"scores": [-0.1]}, {"scores": [10**400, 0]},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_of_another_kind_is_named(view, tmp_path, change):
    log = write_log(tmp_path / "log.jsonl", RECORD, {**RECORD, **change})
    ended, _ = view(log, "--out", tmp_path / "page.html")
    assert ended == f"error: line 2 of {log} is not a record of --exit-log"
    assert os.listdir(tmp_path) == ["log.jsonl"]


@pytest.mark.parametrize("line", [b'{"a": 1}', b"[]", b"3", b"{", b"", b"[" * 100_000, b"9" * 5000])
def test_something_else_is_named(view, tmp_path, line):
    (tmp_path / "log.jsonl").write_bytes(line + b"\n")
    assert view(tmp_path / "log.jsonl", "--out", tmp_path / "page.html")[0].endswith("log.jsonl is not a record of --exit-log")


def test_other_logs(view, tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").touch()
    for name, message in (("binary", "is not UTF-8"), ("empty", "has no sentences"), ("missing", "No such file"), (".", "Is a directory")):
        ended, _ = view(tmp_path / name, "--out", tmp_path / "page.html")
        assert ended.startswith("error: ") and message in ended
    assert "error: --sentences 0 was given; give 1 or more" in view(tmp_path / "empty", "--sentences", 0)[0]


def test_half_a_character_is_shown_as_unknown(view, tmp_path):
    """As JSON can have it, and a file name that is not UTF-8."""
    log = write_log(Path(os.fsdecode(os.fsencode(tmp_path) + b"/log\xff.jsonl")), {**RECORD, "tokens": ["▁\ud83d", "ü"]})
    ended, said = view(log, "--out", f"{tmp_path}/page\udcff.html")
    assert ended is None and said == f"wrote {tmp_path}/page\\udcff.html\n"
    assert "&#55357;</span>" in Path(f"{tmp_path}/page\udcff.html").read_text(encoding="utf-8")


def test_where_nothing_can_be_written(view, tmp_path):
    log = write_log(tmp_path / "log.jsonl", RECORD)
    (tmp_path / "folder").mkdir()
    (tmp_path / "page.html").write_text("older")
    (tmp_path / "page.html.partial").symlink_to("/dev/full")  # takes the place of the disk
    for out, reason in (("folder", "Is a directory"), ("nowhere/page.html", "No such file"), ("page.html", "No space left")):
        assert view(log, "--out", tmp_path / out)[0].startswith(f"error: cannot write {tmp_path / out}: {reason}")
    assert sorted(os.listdir(tmp_path)) == ["folder", "log.jsonl", "page.html"] and (tmp_path / "page.html").read_text() == "older"


def test_a_pipe_gets_the_page_and_nothing_else(view, tmp_path):
    log = write_log(tmp_path / "log.jsonl", RECORD)
    os.mkfifo(tmp_path / "pipe")
    read = []
    thread = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text(encoding="utf-8")), daemon=True)
    thread.start()
    assert view(log, "--out", tmp_path / "pipe") == (None, "")
    thread.join(timeout=20)
    assert read[0].startswith("<!doctype html>") and read[0].endswith("</div></div>\n")
    assert (tmp_path / "pipe").is_fifo()


def test_a_large_log_takes_seconds(view, tmp_path):
    """Each token's colour used to be worked out anew: 50,000 sentences took a quarter of an hour."""
    tokens = ["▁word"] * 15
    record = {"tokens": tokens, "exits": [1 + number % 6 for number in range(15)], "scores": [-0.5] * 15}
    log = write_log(tmp_path / "log.jsonl", *({"id": number, **record} for number in range(5000)))
    started = time.process_time()
    assert view(log, "--sentences", 5000, "--out", tmp_path / "page.html")[0] is None
    assert time.process_time() - started < 5  # half a second; before, more than a minute
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('<div class="sentence">') == 5000 and len(re.findall(r"\.e\d \{", page)) == 6


@pytest.fixture
def prepared(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "prepared.json").write_text(json.dumps({"template": {"languages": {"source": "de", "target": "en"}}}))
    for language in ("de", "en"):
        lines = [f"{language}{number} \u2028\u0085\x0c\r and on\n" for number in range(3)]
        (tmp_path / "raw" / f"test.{language}").write_text("".join(lines), encoding="utf-8", newline="\n")
    return tmp_path


def test_texts_go_by_sentence_id(view, prepared):
    """Whatever the text holds that Unicode takes for the end of a line, and whichever sentences are there."""
    log = write_log(prepared / "log.jsonl", {**RECORD, "id": 2}, RECORD)
    assert view(log, "--data", prepared, "--out", prepared / "page.html")[0] is None
    texts = re.findall(r"</span>(de|en)(\d) ", (prepared / "page.html").read_text(encoding="utf-8"))
    assert texts == [("de", "0"), ("en", "0"), ("de", "2"), ("en", "2")]


def test_texts_of_something_else_are_refused(view, prepared):
    def refused(*options):
        return view(log, "--out", prepared / "page.html", *options)[0]

    log = write_log(prepared / "log.jsonl", {**RECORD, "id": 3})
    assert "the log has sentence 3, but test of" in refused("--data", prepared) and "give the --subset" in refused("--data", prepared)
    log = write_log(prepared / "log.jsonl", RECORD)
    assert "No such file" in refused("--data", prepared, "--subset", "valid")
    (prepared / "raw" / "test.en").write_text("one\n")
    assert "has 3 sentences and 1 references of test" in refused("--data", prepared)
    (prepared / "prepared.json").write_text("[]")
    for data in (prepared, prepared / "nowhere", log):
        assert "is not a folder that depth-adaptive prepare made" in refused("--data", data)
    assert not (prepared / "page.html").exists()
