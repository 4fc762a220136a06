"""``depth-adaptive prepare`` as a user runs it: a program, with fairseq-preprocess behind it."""

import fcntl
import gzip
import json
import lzma
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

TEMPLATE = {
    "name": "tiny",
    "languages": {"source": "de", "target": "en"},
    "source": {"kind": "files", "splits": {"train": "raw/train", "valid": "raw/val", "test": "raw/test"}},
    "tokenize": {"lowercase": True},
    "cut": {"max_ratio": 3},
    "bpe": {"vocabulary_size": 120},
}
GERMAN = [
    "Ein Hund läuft über die Wiese.",
    "Zwei Kinder spielen im Park.",
    "Eine Frau liest »ein Buch«.",
    "Das ist Annas Hut.",
]
ENGLISH = [
    "A dog runs across the meadow.",
    "Two children play in the park.",
    'A woman reads "a book".',
    "That's Anna's hat.",
]


def sentences(language: str, count: int, seed: int) -> list[str]:
    draw = random.Random(seed)  # the same seed gives parallel lines
    return [
        f"{(GERMAN if language == 'de' else ENGLISH)[draw.randrange(4)]} {draw.randrange(1000)}" for _ in range(count)
    ]


def write_raw(folder: Path, suffix: str = "") -> Path:
    opener = {"": open, ".gz": gzip.open, ".xz": lzma.open}[suffix]
    for seed, (split, count) in enumerate({"train": 60, "val": 9, "test": 7}.items()):
        for language in ("de", "en"):
            path = folder / "raw" / f"{split}.{language}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            with opener(path, "wb") as stream:
                stream.write("".join(line + "\n" for line in sentences(language, count, seed)).encode())
    return folder


def write_template(path: Path, **changes) -> Path:
    path.write_text(yaml.safe_dump({**TEMPLATE, **changes}), encoding="utf-8")
    return path


def command(template, out: Path, raw=None, *options: str) -> list[str]:
    raw_option = ["--raw", str(raw)] if raw else []
    return [sys.executable, "-m", "depth_adaptive_fairseq", "prepare", str(template), "--out", str(out), "--workers", "1", *raw_option, *options]


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), capture_output=True, text=True, encoding="utf-8")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def steps_done(output: str) -> dict[str, bool]:
    """From the report: step -> whether it ran (and was not done before)."""
    names = ("obtain", "tokenize", "cut", "learn_bpe", "apply_bpe", "binarize")
    rows = [line.split(maxsplit=1) for line in output.splitlines()]
    return {row[0]: row[1] != "done before" for row in rows if row and row[0] in names}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """An uninterrupted run on plain files: (template, raw folder, out, standard output)."""
    folder = tmp_path_factory.mktemp("prepared")
    template, raw, out = write_template(folder / "tiny.yaml"), write_raw(folder / "given"), folder / "out"
    result = run(template, out, raw)
    assert result.returncode == 0, result.stderr
    return template, raw, out, result.stdout


def test_output_holds_what_training_and_decoding_need(prepared):
    _, raw, out, report = prepared
    files = content(out)
    binarized = {
        f"{split}.de-en.{lang}.{end}"
        for split in ("train", "valid", "test")
        for lang in ("de", "en")
        for end in ("bin", "idx")
    }
    texts = {
        f"{kind}/{split}.{lang}"
        for kind in ("raw", "tokenized")
        for split in ("valid", "test")
        for lang in ("de", "en")
    }
    others = {"dict.de.txt", "dict.en.txt", "sentencepiece.bpe.model", "prepared.json"}
    assert set(files) == binarized | texts | others
    assert files["dict.de.txt"] == files["dict.en.txt"]
    assert files["raw/test.de"] == (raw / "raw" / "test.de").read_bytes()
    assert files["tokenized/valid.en"].decode().count("that &apos;s anna &apos;s hat .") > 1
    manifest = json.loads(files["prepared.json"])
    assert set(manifest["files"]) == set(files) - {"prepared.json"}
    assert manifest["template"]["bpe"] == {"vocabulary_size": 120}
    assert all(step in report for step in ("obtain", "binarize"))


def test_binarised_text_is_the_tokenised_text(prepared):
    from fairseq.data import Dictionary, data_utils

    out = prepared[2]
    for language in ("de", "en"):
        dictionary = Dictionary.load(str(out / f"dict.{language}.txt"))
        data = data_utils.load_indexed_dataset(str(out / f"valid.de-en.{language}"), dictionary)
        decoded = [dictionary.string(data[index], bpe_symbol="sentencepiece") for index in range(len(data))]
        assert decoded == (out / "tokenized" / f"valid.{language}").read_text(encoding="utf-8").splitlines()


def test_second_run_does_nothing(prepared):
    template, raw, out, _ = prepared
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    result = run(template, out, raw)
    assert result.returncode == 0 and steps_done(result.stdout) == {} and "up to date" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_changed_setting_redoes_only_what_depends_on_it(prepared, tmp_path):
    _, raw, out, _ = prepared
    mine = tmp_path / "out"
    before = content(out)
    # the finished folder and its steps, moved to a place of this test's own
    subprocess.run(["cp", "-r", str(out), str(mine)], check=True)
    subprocess.run(["cp", "-r", f"{out}.work", f"{mine}.work"], check=True)
    result = run(write_template(tmp_path / "t.yaml", bpe={"vocabulary_size": 100}), mine, raw)
    assert result.returncode == 0, result.stderr
    again = {"obtain": False, "tokenize": False, "cut": False, "learn_bpe": True, "apply_bpe": True, "binarize": True}
    assert steps_done(result.stdout) == again
    after = content(mine)
    assert after["tokenized/test.en"] == before["tokenized/test.en"]
    assert after["sentencepiece.bpe.model"] != before["sentencepiece.bpe.model"]


def test_killed_again_and_again_gives_the_same_bytes_in_the_end(prepared, tmp_path):
    """Also: gzip files, another folder and other working directories make no difference to the output."""
    template, _, out, _ = prepared
    raw, mine = write_raw(tmp_path / "packed", ".gz"), tmp_path / "mine"
    draw = random.Random(time.time_ns())
    kills = 0
    for attempt in range(3):
        process = subprocess.Popen(
            command(template, mine, raw), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(draw.uniform(0.2, 0.8) + attempt)
        if process.poll() is None:
            kills += 1
            assert not mine.exists()
        # fairseq-preprocess is left behind by every second kill, as by a user who kills only the script
        os.kill(process.pid, signal.SIGKILL) if attempt % 2 else os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert kills
    result = run(template, mine, raw, "--clean")
    assert result.returncode == 0, result.stderr
    assert content(mine) == content(out)
    assert not Path(f"{mine}.work").exists()


@pytest.fixture
def given(tmp_path):
    return write_raw(tmp_path / "given")


def refused(tmp_path, template, raw, *needles: str) -> None:
    result = run(template, tmp_path / "out", raw)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr and not (tmp_path / "out").exists()
    for needle in needles:
        assert needle in result.stderr


def test_missing_file_lists_what_was_looked_for(tmp_path, given):
    (given / "raw" / "val.en").unlink()
    places = [str(given / place) for place in ("raw/val.en", "raw/val.en.gz", "raw/val.en.xz", "val.en", "val.en.xz")]
    refused(tmp_path, write_template(tmp_path / "t.yaml"), given, "val.en is missing", *places)


def test_wrong_checksum(tmp_path, given):
    source = {**TEMPLATE["source"], "sha256": {"test.de": "0" * 64}}
    template = write_template(tmp_path / "t.yaml", source=source)
    refused(tmp_path, template, given, "test.de has a wrong checksum", "0" * 64)


def test_line_counts_differ(tmp_path, given):
    with open(given / "raw" / "train.en", "a") as stream:
        stream.write("One more.\n")
    refused(tmp_path, write_template(tmp_path / "t.yaml"), given, "train.de has 60 lines", "train.en has 61 lines")


def test_invalid_utf8_names_the_line(tmp_path, given):
    with open(given / "raw" / "train.en", "r+b") as stream:
        stream.readline()
        stream.write(b"\xff")
    refused(tmp_path, write_template(tmp_path / "t.yaml"), given, "train.en is not valid UTF-8: line 2, byte 1 is 0xff")


def test_truncated_archive(tmp_path):
    raw = write_raw(tmp_path / "packed", ".xz")
    path = raw / "raw" / "train.de.xz"
    path.write_bytes(path.read_bytes()[:-20])
    refused(tmp_path, write_template(tmp_path / "t.yaml"), raw, "train.de.xz cannot be unpacked")


def test_unknown_template_lists_the_available_ones(tmp_path):
    refused(tmp_path, "no-such-corpus", None, "no-such-corpus", "multi30k.de-en", "phrases.de-en")


def test_no_raw_folder_says_what_is_needed(tmp_path):
    refused(tmp_path, "multi30k.de-en", None, "--raw FOLDER", "raw/train.de", "multi30k/dataset")


def test_raw_folder_with_generated_corpus(tmp_path, given):
    refused(tmp_path, "phrases.de-en", given, "leave --raw")


def test_vocabulary_too_large(tmp_path, given):
    refused(
        tmp_path, write_template(tmp_path / "t.yaml", bpe={"vocabulary_size": 5000}), given, "bpe.vocabulary_size: 5000"
    )


def test_foreign_files_are_not_overwritten(tmp_path, given):
    out = tmp_path / "out"
    out.mkdir()
    (out / "checkpoint.pt").write_text("precious")
    result = run(write_template(tmp_path / "t.yaml"), out, given)
    assert result.returncode == 1 and "checkpoint.pt" in result.stderr
    assert content(out) == {"checkpoint.pt": b"precious"}


def test_two_runs_at_once(tmp_path, given):
    work = tmp_path / "out.work"
    work.mkdir()
    with open(work / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        refused(tmp_path, write_template(tmp_path / "t.yaml"), given, "Another run is working")
