"""The benchmarks' commands from beginning to end."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SEARCH = ("--max-len-a", 0, "--max-len-b", 8)


@pytest.fixture
def script(data, tmp_path):
    """``script(name, *options)``: run it on the corpus, in the test's own folder."""

    def script(name, *options):
        command = [sys.executable, SCRIPTS / name, data, *options]
        return subprocess.run([str(each) for each in command], cwd=tmp_path, capture_output=True, text=True)

    return script


def test_engines_side_by_side(script, trained, tmp_path):
    engines = ["stock", "full", "full@int8", "fixed:1", "fixed:2", "confidence:0.5", "uniform"]
    done = script(
        "benchmark_decoding.py", "--path", trained.checkpoint, "--engines", *engines, "--batch-sizes", 1, 4, "--threads", 1,
        "--repetitions", 1, "--sentences", 8, "--out", "benchmark.json", "--options", "--num-workers", 0, *SEARCH,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    assert [(row["engine"], row["batch_size"]) for row in rows] == [(engine, size) for size in (1, 4) for engine in engines]
    by_engine = {(row["engine"], row["batch_size"]): row for row in rows}
    for row in rows:
        assert row["sentences"] == 8 and 0 < row["encoder_seconds"] < row["seconds"] and row["memory_bytes"] >= 0
        assert f"| {row['engine']}" in done.stdout
    for size in (1, 4):
        assert by_engine["full", size]["bleu"] == by_engine["stock", size]["bleu"]  # the same translations
        one, two, full = (by_engine[engine, size] for engine in ("fixed:1", "fixed:2", "full"))
        assert one["average_exit"] == 1 and one["block_calls"] == one["steps"]
        assert two["block_calls"] == 2 * two["steps"] and full["block_calls"] == 3 * full["steps"]
        assert one["block_rows"] >= one["tokens"]
        assert 1 <= by_engine["confidence:0.5", size]["average_exit"] <= 3
        assert by_engine["stock", size]["steps"] is None


def test_ctranslate2_takes_part_where_it_is_installed(script, trained, tmp_path):
    done = script(
        "benchmark_decoding.py", "--path", trained.checkpoint, "--engines", "full", "ct2", "--batch-sizes", 4, "--threads", 1,
        "--repetitions", 1, "--sentences", 4, "--out", "benchmark.json", "--options", "--num-workers", 0, *SEARCH,
    )  # fmt: skip
    if importlib.util.find_spec("ctranslate2") is None:
        assert done.returncode != 0 and "ctranslate2" in done.stderr and not (tmp_path / "benchmark.json").exists()
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "engine, sentence",
    [("full@int3", "the precisions of full are"), ("deep", "the policies are"), ("full:2", "full takes no argument")],
)
def test_an_engine_that_does_not_exist(script, trained, tmp_path, engine, sentence):
    done = script("benchmark_decoding.py", "--path", trained.checkpoint, "--engines", engine, "--out", "benchmark.json")
    assert done.returncode != 0 and sentence in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "benchmark.json").exists()


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_profile_by_part(script, trained, kernels):
    done = script(
        "profile_decoding.py", "--path", trained.checkpoint, "--policies", "fixed:2", "full@int8", "--batch-size", 2, "--sentences", 4,
        "--options", "--num-workers", 0, "--decoding-kernels", kernels, *SEARCH,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("|")]
    assert table[0] == ["ms a step", "fixed:2", "full@int8"]
    parts = {row[0]: [float(cell) for cell in row[1:]] for row in table[2:]}
    for column, total in enumerate(parts.pop("all")):
        assert total > 0 and sum(times[column] for times in parts.values()) == pytest.approx(total, abs=0.005 * (len(parts) + 1))
    assert ("native blocks" in parts) == (kernels == "auto") and ("self-attention" in parts) == (kernels == "torch")
