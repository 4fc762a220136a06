"""The benchmarks' commands from beginning to end, on a small model."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest

from depth_adaptive_fairseq.commands import main
from depth_adaptive_fairseq.commands.benchmark import refuse_unequal
from tests.compat import processes

HAS_CTRANSLATE2 = importlib.util.find_spec("ctranslate2") is not None
# With a beam of one the best hypotheses show all that was computed.
SEARCH = ["--beam", "1", "--max-len-b", "12", "--remove-bpe", "subword_nmt"]
ENGINES = ["stock", "fixed:1", "full", "confidence:0.4", "full@int8"] + ["ct2"] * HAS_CTRANSLATE2
BATCH_SIZES = [1, 4]
MEASURED = ("seconds", "processor_seconds", "memory_bytes", "bleu", "sentences_per_second", "tokens_per_second", "speedup")


def command(name, *options):
    """Run a verb in a process of its own."""
    return processes.run("depth-adaptive", name, *options)


def table(text):
    """The cells of a Markdown table among other lines."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


@pytest.fixture
def refused(capsys):
    """``refused(name, *options)``: what a verb says that ends before it measures; in this process, to save its imports."""

    def refused(name, *options):
        try:
            status = main([name, *map(str, options)])
        except SystemExit as ended:  # argparse's own
            status = ended.code
        assert status in (1, 2)
        return capsys.readouterr().err.rstrip()

    return refused


@pytest.fixture(scope="module")
def benchmark(data, trained, tmp_path_factory):
    """What ``benchmark`` wrote and printed."""
    out = tmp_path_factory.mktemp("benchmark") / "new" / "benchmark.json"
    done = command(
        "benchmark", data, "--path", trained.checkpoint, "--engines", *ENGINES, "--batch-sizes", *BATCH_SIZES,
        "--repetitions", 1, "--gen-subset", "valid", "--out", out, "--options", *SEARCH,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert [each.name for each in out.parent.iterdir()] == [out.name]  # nothing half-written
    rows = json.loads(out.read_text())["rows"]
    by_engine = {(row["engine"], row["batch_size"]): row for row in rows}
    return SimpleNamespace(rows=rows, by_engine=by_engine, out=out, stdout=done.stdout)


def test_all_engines_and_batch_sizes_are_measured(benchmark):
    assert list(benchmark.by_engine) == [(engine, size) for size in BATCH_SIZES for engine in ENGINES]
    assert len(benchmark.rows) == len(benchmark.by_engine)
    for row in benchmark.rows:
        assert row["threads"] == 1 and row["sentences"] == 30 and len(row["passes"]) == 1
        assert all(row[name] >= 0 for name in MEASURED) and row["seconds"] > 0 and 0 <= row["bleu"] <= 100
        if row["engine"] == "ct2":
            assert row["encoder_seconds"] is row["speedup_after_encoder"] is None
        else:
            assert 0 < row["encoder_seconds"] < row["seconds"] and row["speedup_after_encoder"] > 0
    assert all(benchmark.by_engine["stock", size]["speedup"] == 1 for size in BATCH_SIZES)


def test_engines_of_equal_depth_translate_alike(benchmark):
    for size in BATCH_SIZES:
        others = [benchmark.by_engine[engine, size] for engine in ENGINES if engine in ("full", "ct2")]
        stock = benchmark.by_engine["stock", size]
        assert stock["bleu"] > 0
        assert [(row["bleu"], row["tokens"]) for row in others] == [(stock["bleu"], stock["tokens"])] * len(others)


def test_counted_work_is_what_the_exits_say(benchmark):
    for (engine, size), row in benchmark.by_engine.items():
        if engine in ("stock", "ct2"):
            assert row["average_exit"] is row["steps"] is row["block_calls"] is row["block_rows"] is None
            continue
        assert row["block_rows"] == pytest.approx(row["average_exit"] * row["tokens"])
        if size == 1:
            assert row["steps"] == row["tokens"] and row["block_calls"] == row["block_rows"]
        for name, exit_index in (("fixed:1", 1), ("full", 3)):
            if engine.partition("@")[0] == name:
                assert row["average_exit"] == exit_index and row["block_rows"] == exit_index * row["tokens"]
                assert row["block_calls"] == exit_index * row["steps"]
    average_exits = [benchmark.by_engine["confidence:0.4", size]["average_exit"] for size in BATCH_SIZES]
    assert average_exits[0] == average_exits[1] and 1 < average_exits[0] < 3


def test_the_table_is_printed_and_again_from_its_file(benchmark, capsys):
    lines = table(benchmark.stdout)
    assert lines[0][:4] == ["threads", "batch", "engine", "BLEU"]
    assert [line[1:3] for line in lines[2:]] == [[str(size), engine] for size in BATCH_SIZES for engine in ENGINES]
    sentences = [line for line in benchmark.stdout.splitlines() if not line.startswith("|")]
    assert len(sentences) == 2
    assert sentences[0].startswith("confidence:0.4, batch 1, 1 threads") and " ms a block call, " in sentences[0]
    assert sentences[1].startswith("confidence:0.4, batch 4, 1 threads") and " ms a row and block, " in sentences[1]

    assert main(["benchmark", "--table", str(benchmark.out)]) == 0
    assert capsys.readouterr().out == benchmark.stdout


@pytest.mark.parametrize(
    "engine, sentence",
    [
        ("deep", "'deep' was given; the policies are auto, full, fixed"),
        ("deep@int3", "'deep' was given; the policies are auto, full, fixed"),
        ("full:3", "full takes no value"),
        ("stock:3", "stock takes no value"),
        ("full@int3", "the precisions of full are float32, float16, int8"),
        ("stock@int8", "the precisions of stock are float32"),
        ("ct2@float16", "the precisions of ct2 are float32, int8"),
    ],
)
def test_an_engine_that_does_not_exist(engine, sentence, refused, data, trained, tmp_path):
    options = ("--path", trained.checkpoint, "--engines", "full", engine, "--out", tmp_path / "b.json")
    message = refused("benchmark", data, *options)
    assert "benchmark: error: " in message and sentence in message and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_a_folder_is_refused_before_anything_is_measured(refused, data, trained, tmp_path):
    sentence = f"--out {tmp_path} was given, which is a folder: name a file"
    assert sentence in refused("benchmark", data, "--path", trained.checkpoint, "--out", tmp_path)
    assert sentence in refused("benchmark-training", "--out", tmp_path)


def test_engines_that_skip_different_sentences_are_not_compared():
    rows = {(1, size, engine): {"passes": [{"sentences": 30}]} for size in (1, 4) for engine in ("stock", "full")}
    refuse_unequal(rows)
    rows[1, 4, "full"] = {"passes": [{"sentences": 29}]}
    with pytest.raises(ValueError, match="full decoded 29 sentences and stock 30"):
        refuse_unequal(rows)


def test_ctranslate2_has_to_be_installed(refused, data, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    options = ("--path", trained.checkpoint, "--engines", "full", "ct2", "--out", tmp_path / "b.json")
    message = refused("benchmark", data, *options)
    assert "benchmark: error: --engines ct2 was given" in message and "pip install '.[benchmark]'" in message
    assert not list(tmp_path.iterdir())


def test_what_the_model_cannot_do_is_said_in_a_sentence(refused, data, trained, tmp_path):
    options = ("--path", trained.checkpoint, "--engines", "fixed:9", "--out", tmp_path / "b.json")
    message = refused("benchmark", data, *options)
    assert "benchmark: error: engine fixed:9 failed: --exit-at 9 was given" in message and "\n" not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", [None, "{", "[]", '{"results": []}'])
def test_a_file_that_holds_no_measurements(text, refused, tmp_path):
    file = tmp_path / "other.json"
    if text is not None:
        file.write_text(text)
    assert "other.json is not a file of depth-adaptive benchmark:" in refused("benchmark", "--table", file)
    if text is None or "results" not in text:
        assert "other.json is not a file of depth-adaptive benchmark-training:" in refused("benchmark-training", "--show", file)


@pytest.mark.parametrize("kernels, part", [("auto", "native blocks"), ("torch", "self-attention")])
def test_profile_by_part(kernels, part, data, trained):
    policies = ["fixed:2", "full@int8"]
    done = command(
        "profile", data, "--path", trained.checkpoint, "--policies", *policies, "--batch-size", 2,
        "--sentences", 6, "--options", *SEARCH, "--decoding-kernels", kernels,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = table(done.stdout)
    assert lines[0] == ["ms a step", *policies]
    parts = {line[0]: [float(cell) for cell in line[1:]] for line in lines[2:]}
    totals = parts.pop("all")
    for column, total in enumerate(totals):
        parts_together = sum(times[column] for times in parts.values())
        assert total > 0 and total == pytest.approx(parts_together, abs=0.005 * (len(parts) + 2))  # each is rounded
    assert {"encoder", "best tokens", "packing of rows", "beam search and bookkeeping"} < parts.keys()
    assert part in parts and ("native blocks" in parts) != ("cross-attention" in parts)


@pytest.mark.parametrize(
    "options, sentence",
    [
        (("--policies", "stock"), "--policies stock was given, which has none of these parts"),
        (("--policies", "full@int3"), "the precisions of full are"),
        (("--batch-size", 0), "--batch-size 0 was given; give 1 or more"),
        (("--path", "none.pt"), "none.pt is not a file: give a checkpoint"),
    ],
)
def test_a_profile_that_cannot_be_made(options, sentence, refused, data, trained):
    assert sentence in refused("profile", data, "--path", trained.checkpoint, *options)


def test_training_steps_side_by_side(tmp_path):
    sizes = ["--encoder-layers", 1, "--decoder-layers", 2, "--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 16]
    sizes += ["--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 16]
    out = tmp_path / "new" / "training.json"
    options = ("--settings", "untied", "--max-tokens", 64, "--steps", 1, "--repetitions", 1, "--out", out)
    done = command("benchmark-training", *options, "--options", *sizes)
    assert done.returncode == 0, done.stderr[-3000:]
    (result,) = json.loads(out.read_text())["results"]
    for kind in ("stock", "adaptive"):
        assert all(result[kind][name] > 0 for name in ("wall", "processor", "peak_bytes", "flops", "state_bytes"))
        assert len(result["runs"][kind]) == 1
    # The second exit's classifier and its products come on top of an equal model.
    assert result["ratios"]["flops"] > 1 and result["ratios"]["state_bytes"] > 1
    lines = table(done.stdout)
    assert [line[1] for line in lines[2:]] == ["stock", "adaptive", "ratio", "ratio / FLOPs' ratio"]


def test_training_batches_hold_a_sentence_or_more(refused):
    assert "--max-tokens 31 was given; give 32 or more" in refused("benchmark-training", "--max-tokens", 31)
