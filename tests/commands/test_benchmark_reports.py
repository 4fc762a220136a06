"""What the benchmarks make of their measurements."""

import pytest

from depth_adaptive_fairseq.commands.benchmarking.engines import parse_engine
from depth_adaptive_fairseq.commands.benchmarking.report import as_table, price_of_deciding, summarise
from tests.compat import processes


def one_pass(seconds, **changes):
    values = dict(seconds=seconds, processor_seconds=seconds, encoder_seconds=1.0, memory_bytes=2**20, bleu=30.0)
    values.update(average_exit=None, sentences=10, tokens=100, steps=100, block_calls=100, block_rows=500)
    return {**values, **changes}


@pytest.mark.parametrize("given, expected", [("stock", ("stock", "float32")), ("geometric:0.5@int8", ("geometric:0.5", "int8"))])
def test_engines_and_their_precisions(given, expected):
    assert parse_engine(given) == expected


@pytest.mark.parametrize("given, message", [("stock@int8", "the precisions of stock are float32"), ("full:3", "takes no value")])
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


def price(*engines, batch_size=1):
    """What is said of each engine, from (engine, seconds after the encoder, block calls, block rows), all of 100 steps."""
    passes = {}
    for engine, seconds, calls, rows in engines:
        steps = None if calls is None else 100
        found = one_pass(1.0 + seconds, steps=steps, block_calls=calls, block_rows=rows)
        passes[1, batch_size, engine] = {"passes": [found]}
    lines = price_of_deciding(summarise(passes, engines[0][0])).splitlines()
    return dict(line.split(", batch ", 1) for line in lines)


# 10, 8 and 6 ms a block call; 2.5, 2 and 1.5 ms a row and block.
FIXED = [("fixed:1", 1.0, 100, 400), ("fixed:2", 1.6, 200, 800), ("full", 1.8, 300, 1200)]


def test_every_engine_that_decides_has_a_price_and_no_other():
    adaptive = ["geometric:0.5", "confidence:0.9,0.8", "uniform:7", "sequence", "patience:2", "margin:0.5@float32"]
    others = [("stock", 3.0, None, None), ("ct2", 3.0, None, None), ("ct2@int8", 3.0, None, None)]
    found = price(*others, *FIXED, *((name, 2.8, 250, 900) for name in adaptive))
    assert list(found) == adaptive
    for line in found.values():  # 11.2 against 7
        assert "11.200 ms a block call, 1.60 times that of fixed exits with as many a step (2.50)" in line


def test_larger_batches_are_compared_by_rows_and_blocks():
    # Far more calls than any fixed exit: rows that leave at different exits need them. 2.1 ms against 1.75.
    (line,) = price(*FIXED, ("geometric:0.5", 2.1, 290, 1000), batch_size=4).values()
    assert "classifiers" not in line  # nobody counted them
    assert "2.100 ms a row and block, 1.20 times that of fixed exits with as many a step (10.00)" in line


def test_prices_are_of_equal_precision():
    int8 = [("fixed:1@int8", 0.5, 100, 400), ("full@int8", 0.9, 300, 1200)]  # 5 and 3 ms a block call
    adaptive = [(f"geometric:0.5{precision}", 1.6, 200, 800) for precision in ("", "@int8", "@float16")]
    found = price(*FIXED, *int8, *adaptive)
    assert list(found) == ["geometric:0.5", "geometric:0.5@int8"]
    assert "8.000 ms a block call, 1.00 times" in found["geometric:0.5"]
    assert "8.000 ms a block call, 2.00 times" in found["geometric:0.5@int8"]


def test_no_price_without_fixed_exits_on_either_side():
    deeper, less_deep = ("geometric:0.5", 1.0, 350, 1400), ("confidence:0.5", 1.0, 90, 360)
    assert not price(*FIXED, deeper, less_deep)
    same_depth = [("full", 1.8, 300, 1200), ("fixed:3", 1.8, 300, 1200)]
    assert not price(*same_depth, ("confidence:1", 1.8, 300, 1200))
    assert not price(*FIXED[:1], ("geometric:0.5", 1.0, 100, 400))
    assert "1.00 times" in price(*FIXED, same_depth[1], ("confidence:1", 1.8, 300, 1200))["confidence:1"]


def test_a_missing_checkpoint_is_said_in_a_sentence(tmp_path):
    done = processes.run("depth-adaptive", "benchmark", tmp_path, "--path", tmp_path / "none.pt")
    assert done.returncode == 1 and "none.pt is not a file: give a checkpoint" in done.stderr and "Traceback" not in done.stderr


def test_what_else_deciding_costs_is_named():
    passes = {
        (1, 1, f"fixed:{n}"): one_pass(1.0 + 0.4 + 0.6 * n, block_calls=100 * n, classifier_calls=100, average_exit=n) for n in (1, 2)
    }  # 10 and 8 ms a call; 9.5 at an exit of 1.25
    passes[1, 1, "geometric:0.5"] = one_pass(1.0 + 1.425, block_calls=150, classifier_calls=130, copied_states=100, average_exit=1.25)
    rows = summarise({key: {"passes": [each]} for key, each in passes.items()}, "fixed:1")
    assert price_of_deciding(rows).endswith(
        "with as many a step (1.50), 1.00 times at its average exit; 1.30 classifiers a step, theirs are 1, and 0.20 copied states a row and block, theirs are 0"
    )
