"""What the benchmarks make of their measurements."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from benchmarking.engines import parse_engine  # noqa: E402
from benchmarking.report import as_table, price_of_deciding, summarise  # noqa: E402


def one_pass(seconds, **changes):
    values = dict(seconds=seconds, processor_seconds=seconds, encoder_seconds=1.0, memory_bytes=2**20, bleu=30.0)
    values.update(average_exit=None, sentences=10, tokens=100, steps=100, block_calls=100, block_rows=500)
    return {**values, **changes}


@pytest.mark.parametrize("given, expected", [("stock", ("stock", "float32")), ("geometric:0.5@int8", ("geometric:0.5", "int8"))])
def test_engines_and_their_precisions(given, expected):
    assert parse_engine(given) == expected


@pytest.mark.parametrize("given, message", [("stock@int8", "the precisions of stock are float32"), ("full:3", "takes no argument")])
def test_engines_that_do_not_exist_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        parse_engine(given)


def test_medians_and_ratios():
    passes = {(1, 32, "stock"): [one_pass(8.0), one_pass(12.0), one_pass(9.0)], (1, 32, "full"): [one_pass(3.0)] * 3}
    stock, full = summarise({key: {"passes": each} for key, each in passes.items()}, "stock")
    assert stock["seconds"] == 9.0 and stock["spread"] == pytest.approx(2 / 9) and stock["speedup"] == 1.0
    assert full["speedup"] == 3.0 and full["speedup_after_encoder"] == 4.0
    assert full["tokens_per_second"] == pytest.approx(100 / 3)
    assert len(as_table([stock, full]).splitlines()) == 4


def test_the_price_of_deciding_is_against_fixed_exits_of_the_same_depth():
    passes = {
        (1, 1, "fixed:1"): one_pass(1.0 + 1.0, block_calls=100),  # 10 ms a call
        (1, 1, "fixed:2"): one_pass(1.0 + 1.6, block_calls=200),  # 8 ms
        (1, 1, "geometric:0.5"): one_pass(1.0 + 1.8, block_calls=150),  # 12 ms against 9
    }
    rows = summarise({key: {"passes": [each]} for key, each in passes.items()}, "fixed:1")
    assert "12.000 ms a block call, 1.33 times that of fixed exits with as many a step (1.50)" in price_of_deciding(rows)
    assert price_of_deciding(rows[1:]) == ""


def test_a_missing_checkpoint_is_said_in_a_sentence(tmp_path):
    command = [sys.executable, SCRIPTS / "benchmark_decoding.py", tmp_path, "--path", tmp_path / "none.pt"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 1 and "none.pt is not a file: give a checkpoint" in done.stderr and "Traceback" not in done.stderr
