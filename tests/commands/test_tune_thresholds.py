"""Drawn thresholds, the CSV that a tuning goes on from, the choice in each segment. A whole run is in ``end_to_end``."""

import copy
import hashlib
import json

import pytest
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

from depth_adaptive_fairseq.commands import tune
from depth_adaptive_fairseq.commands.evaluation.decoding_digest import decoding_digest
from depth_adaptive_fairseq.commands.evaluation.draws import COLUMNS, DrawLog, as_option, draw_thresholds
from depth_adaptive_fairseq.commands.evaluation.segments import as_json, as_markdown, best_of_segments
from depth_adaptive_fairseq.exits.options import read_thresholds
from tests.compat import processes

TUNING = {
    "policy": "confidence", "subset": "valid", "beam": 5, "checkpoint_sha256": "abc", "decoding_sha256": "def", "draw_seed": 1,
}  # fmt: skip
EXITS = 4


def measured(thresholds: str) -> dict:
    """What decoding might give: a deeper exit for higher thresholds, a BLEU that is another function of them."""
    values = [float(each) for each in thresholds.split(",")]
    return {
        "bleu": round(30 + 10 * values[0] * values[-1], 4), "sacrebleu": 29.5, "average_exit": round(1 + sum(values), 4),
        "flops_per_token": round(1e6 * (2 + sum(values))), "seconds": 0.5, "signature": "not a column",
    }  # fmt: skip


@pytest.fixture
def decoded(monkeypatch):
    """Takes the place of decoding: what was decoded with, and the function, whose ``limit`` interrupts it."""
    specifications = []

    def measure(loaded, specification, progress):
        if len(specifications) == measure.limit:
            raise KeyboardInterrupt
        specifications.append(specification)
        return measured(specification.partition(":")[2])

    measure.limit = None
    monkeypatch.setattr(tune, "measure", measure)
    return specifications, measure


# Draws


def test_a_draw_depends_on_its_seed_and_number_only():
    draws = [draw_thresholds(1, draw, 5) for draw in range(1, 200)]
    assert draws == [draw_thresholds(1, draw, 5) for draw in range(1, 200)]
    assert len(set(draws)) == len(draws) and not set(draws) & {draw_thresholds(2, draw, 5) for draw in range(1, 200)}
    assert draw_thresholds(1, 7, 3) == draws[6][:3]
    assert as_option(draw_thresholds(1, 1, 5)) == "0.5867,0.2795,0.9105,0.5131,0.0848"
    assert as_option(draw_thresholds(2, 10000, 2)) == "0.0630,0.4399"


def test_draws_are_uniform():
    values = sorted(value for draw in range(2000) for value in draw_thresholds(3, draw, 5))
    assert 0 <= values[0] and values[-1] <= 1
    for n in range(1, 10):
        assert values[n * 1000] == pytest.approx(n / 10, abs=0.02)


def test_the_option_is_the_draw():
    for draw in range(100):
        thresholds = draw_thresholds(1, draw, 5)
        assert tuple(read_thresholds(as_option(thresholds), 6)) == thresholds
    assert as_option((0.0, 0.00001, 1.0)) == "0.0000,0.0000,1.0000"


# The CSV


def test_each_draw_is_measured_once(tmp_path, decoded):
    specifications, measure = decoded
    whole, path = DrawLog(tmp_path / "whole.csv", TUNING), tmp_path / "sub" / "draws.csv"
    tune.measure_draws(None, whole, EXITS, 8)
    assert len(specifications) == 8 and all(each.startswith("confidence:0.") for each in specifications)
    specifications.clear()
    for limit, draws in ((3, 6), (5, 6), (None, 6), (None, 4), (None, 8)):
        measure.limit = limit
        try:
            tune.measure_draws(None, DrawLog(path, TUNING), EXITS, draws)
        except KeyboardInterrupt:
            assert len(DrawLog(path, TUNING).rows) == limit
    assert len(specifications) == 8
    assert path.read_text() == (tmp_path / "whole.csv").read_text()


@pytest.mark.parametrize("cut", [1, 30, 90])
def test_half_a_row_is_measured_again(tmp_path, decoded, cut):
    """*cut*: how many characters of the end a killed run has not written: of the last row, or more."""
    specifications, _ = decoded
    path = tmp_path / "draws.csv"
    tune.measure_draws(None, DrawLog(path, TUNING), EXITS, 3)
    whole = path.read_text()
    path.write_text(whole[:-cut])
    log = DrawLog(path, TUNING)
    assert len(log.rows) < 3
    tune.measure_draws(None, log, EXITS, 3)
    assert path.read_text() == whole and len(specifications) == 3 + whole[-cut:].count("\n")


def test_half_a_header_is_written_again(tmp_path):
    path = tmp_path / "draws.csv"
    path.write_text("policy,sub")
    DrawLog(path, TUNING).add(1, "0.5,0.5,0.5", measured("0.5,0.5,0.5"))
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS) and len(DrawLog(path, TUNING).rows) == 1


@pytest.mark.parametrize("name", TUNING)
def test_rows_of_another_tuning_are_left_alone(tmp_path, name):
    path = tmp_path / "draws.csv"
    DrawLog(path, {**TUNING, name: 7}).add(1, "0.5,0.5,0.5", measured("0.5,0.5,0.5"))
    log = DrawLog(path, TUNING)
    assert not log.rows
    log.add(1, "0.2,0.2,0.2", measured("0.2,0.2,0.2"))
    assert [row["thresholds"] for row in DrawLog(path, TUNING).rows.values()] == ["0.2,0.2,0.2"]
    assert len(path.read_text().splitlines()) == 3


def test_another_kind_of_file_stays_as_it_is(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("a,b\n1,")
    with pytest.raises(ValueError, match="not a file of results"):
        DrawLog(path, TUNING)
    assert path.read_text() == "a,b\n1,"


# The choice


def row(draw, bleu, average_exit, flops=2e6):
    values = dict(draw=draw, bleu=bleu, sacrebleu=-bleu, average_exit=average_exit, flops_per_token=flops)
    return {**{name: str(value) for name, value in values.items()}, "thresholds": f"0.{draw}"}


def chosen(rows, cost="average_exit", span=(1.0, 4.0), count=3, metric="bleu"):
    segments = best_of_segments(rows, cost, span, count, metric)
    return [(segment.low, segment.high, segment.draws, int(segment.best["draw"])) for segment in segments]


def test_the_best_of_each_segment_is_kept():
    rows = [row(1, 10, 1.2), row(2, 12, 1.9), row(3, 11, 1.5), row(4, 30, 3.1), row(5, 9, 4.0)]
    assert chosen(rows) == [(1.0, 2.0, 3, 2), (3.0, 4.0, 2, 4)]
    assert chosen(rows, count=1) == [(1.0, 4.0, 5, 4)]
    assert chosen(rows, metric="sacrebleu") == [(1.0, 2.0, 3, 1), (3.0, 4.0, 2, 5)]


def test_a_row_on_a_border_belongs_to_the_higher_segment():
    assert chosen([row(1, 10, 1.0), row(2, 10, 2.0), row(3, 10, 4.0)]) == [(1.0, 2.0, 1, 1), (2.0, 3.0, 1, 2), (3.0, 4.0, 1, 3)]


def test_of_equally_good_ones_the_cheaper_and_then_the_earlier_is_kept():
    assert chosen([row(1, 10, 1.8), row(2, 10, 1.3), row(3, 10, 1.3), row(4, 10, 1.9)])[0][-1] == 2


def test_numbers_are_compared_as_numbers():
    assert chosen([row(1, 9.5, 1.1), row(2, 10.5, 1.2)])[0][-1] == 2


def test_segments_of_the_flops():
    rows = [row(1, 10, 1.0, 2e6), row(2, 11, 3.0, 2.4e6), row(3, 12, 2.0, 3e6)]
    assert chosen(rows, cost="flops_per_token", span=(2e6, 3e6), count=2) == [(2e6, 2.5e6, 2, 2), (2.5e6, 3e6, 1, 3)]
    assert chosen(rows[:1], cost="flops_per_token", span=(2e6, 2e6), count=2) == [(2e6, 2e6, 1, 1)]


def test_every_row_of_the_tables_is_a_ready_option():
    segments = best_of_segments([row(1, 10, 1.2), row(2, 12, 3.9)], "average_exit", (1.0, 4.0), 3, "bleu")
    table = [[cell.strip() for cell in line.split("|")] for line in as_markdown(segments, "average_exit").splitlines()]
    assert len(table) == 4 and table[2][1] == "1.00 to 2.00" and table[2][3:5] == ["1", "10.00"]
    assert table[3][2] == "`--exit-thresholds 0.2`"
    kept = json.loads(as_json(segments, {"policy": "confidence"}))
    assert kept["policy"] == "confidence" and [each["exit_thresholds"] for each in kept["kept"]] == ["0.1", "0.2"]


# Options


@pytest.mark.parametrize(
    "options, hint",
    [
        ([], "--exit-policy auto has no thresholds to tune: give confidence or geometric"),
        (["--exit-policy", "uniform"], "--exit-policy uniform"),
        (["--task", "translation"], "--task translation"),
        (["--exit-policy", "confidence", "--exit-thresholds", "0.3"], "--exit-thresholds 0.3 was given, but they are drawn"),
        (["--exit-policy", "confidence", "--exit-log", "exits.jsonl"], "--exit-log exits.jsonl"),
        (["--exit-policy", "confidence", "--draws", "0"], "--draws 0 was given; it must be 1 or more"),
        (["--exit-policy", "confidence", "--segments", "-2"], "--segments -2"),
        (["--exit-policy", "confidence", "--out", "tuned.csv"], "--out tuned.csv .* .md or .json"),
        (["--exit-policy", "confidence", "--out", "nowhere/tuned.md"], "nowhere is not a folder"),
        (["--exit-policy", "confidence", "--results", "."], "--results . was given, which exists and is not a regular file"),
        (["--exit-policy", "confidence", "--print-alignment"], "--print-alignment hard was given, but translations are scored"),
    ],
    ids=str,
)
def test_senseless_options_are_refused_before_anything_is_loaded(options, hint):
    with pytest.raises(ValueError, match=hint):
        tune.parse_arguments(["no-such-folder", "--path", "no-such.pt", *options])


def test_fairseqs_options_hold_and_the_validation_set_is_the_default():
    given = ["folder", "--path", "a.pt", "--exit-policy", "geometric"]
    args = tune.parse_arguments(given)
    assert (args.gen_subset, args.beam, args.draws, args.max_tokens) == ("valid", 5, 10000, 4096)
    args = tune.parse_arguments([*given, "--gen-subset", "test", "--beam", "2", "--lenpen", "0.6"])
    assert (args.gen_subset, args.beam, args.lenpen) == ("test", 2, 0.6)


def test_what_changes_translations_changes_their_digest():
    args = tune.parse_arguments(["folder", "--path", "a.pt", "--exit-policy", "geometric"])
    usual = convert_namespace_to_omegaconf(args)

    def digest(**entries):
        configuration = copy.deepcopy(usual)
        for name, value in entries.items():
            group, _, option = name.partition("__")
            assert option in configuration[group]
            OmegaConf.update(configuration, f"{group}.{option}", value)
        return decoding_digest(configuration)

    # Files of results of earlier versions stay valid: what they had no digest of is not in it unless it is given.
    decisive = [OmegaConf.to_container(usual.generation, resolve=True, enum_to_str=True), "sentencepiece", False]
    assert digest() == hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:16]
    assert digest() == digest(dataset__batch_size=3) == digest(task__exit_policy="confidence") == digest(common__seed=2)
    changes = [
        dict(generation__prefix_size=1), dict(generation__lenpen=0.5), dict(task__quantize="int8"), dict(common__fp16=True),
        dict(common_eval__model_overrides="{'a': 1}"), dict(common_eval__post_process=None), dict(generation__sampling=True),
        dict(dataset__skip_invalid_size_inputs_valid_test=True), dict(generation__sampling=True, common__seed=2),
    ]  # fmt: skip
    assert len({digest(), *(digest(**change) for change in changes)}) == 1 + len(changes)


def test_help():
    done = processes.run("depth-adaptive", "tune", "--help")
    assert done.returncode == 0 and "--draw-seed" in done.stdout and "--beam" in done.stdout
