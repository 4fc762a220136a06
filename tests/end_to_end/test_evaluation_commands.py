"""``evaluate`` and ``tune`` from beginning to end, beside fairseq-generate."""

import csv
import json
import re

import pytest

from tests.compat.processes import run
from tests.end_to_end.prepared import prepared_folder


@pytest.fixture
def prepared(data, tmp_path):
    return prepared_folder(data, tmp_path / "prepared")


@pytest.fixture
def script(prepared, tmp_path):
    """``script(name, checkpoint, *options)``: run it in the test's own folder."""

    def script(name, checkpoint, *options):
        usual = ("--path", checkpoint, "--beam", 2, "--num-workers", 0, "--remove-bpe", "subword_nmt")
        return run("depth-adaptive", name, prepared, *usual, *options, cwd=tmp_path)

    return script


@pytest.fixture
def tune(script):
    return lambda checkpoint, *options: script("tune", checkpoint, *options)


@pytest.fixture
def check(decode, trained):
    """``check(row, thresholds)``: the row says what fairseq-generate does."""

    def check(row, thresholds):
        generated = decode(
            trained.checkpoint, task__exit_policy="confidence", task__exit_thresholds=thresholds,
            dataset__gen_subset="valid", generation__beam=2,
        )  # fmt: skip
        assert f"average exit {float(row['average_exit']):.3f} of 3" in generated.output
        assert f"BLEU4 = {float(row['bleu']):.2f}" in generated.stdout

    return check


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_policies_are_evaluated_once(script, trained, check, tmp_path):
    options = ("--gen-subset", "valid", "--model-name", "m", "--exit-logs", "logs", "--policies", "confidence:0.8,0.6")
    for policies in (options, (*options, "fixed:1")):
        done = script("evaluate", trained.checkpoint, *policies)
        assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "results.csv")
    assert [row["policy"] for row in rows] == ["confidence:0.8,0.6", "fixed:1"]
    assert [(row["model"], row["subset"], row["beam"], row["sentences"]) for row in rows] == [("m", "valid", "2", "30")] * 2
    check(rows[0], "0.8,0.6")
    assert rows[1]["average_exit"] == "1.0" and re.search(r"\| m +\| fixed:1 +\|", done.stdout)
    logs = [tmp_path / "logs" / f"m.valid.{policy}.jsonl" for policy in ("confidence-0.8,0.6", "fixed-1")]
    assert sorted((tmp_path / "logs").iterdir()) == logs and len(logs[0].read_text().splitlines()) == 30


def test_a_tuning_goes_on_and_its_options_give_what_it_says(tune, trained, check, tmp_path):
    options = ("--exit-policy", "confidence", "--segments", 2, "--out", "tuned.md", "tuned.json")
    first = tune(trained.checkpoint, *options, "--draws", 2)
    assert first.returncode == 0, first.stderr
    two = (tmp_path / "draws.csv").read_text()
    done = tune(trained.checkpoint, *options, "--draws", 5)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "draws.csv").read_text().startswith(two)

    rows = read(tmp_path / "draws.csv")
    assert [int(row["draw"]) for row in rows] == [1, 2, 3, 4, 5]
    tuned = json.loads((tmp_path / "tuned.json").read_text())
    assert tuned["draws"] == 5 and sum(each["draws"] for each in tuned["kept"]) == 5
    assert (tmp_path / "tuned.md").read_text().strip() in done.stdout
    for kept in tuned["kept"]:
        low, high = kept["segment"]
        segment = [row for row in rows if low <= float(row["average_exit"]) < high]
        assert kept["bleu"] == max(float(row["bleu"]) for row in segment)
        assert f"`--exit-thresholds {kept['exit_thresholds']}`" in done.stdout
        check(kept, kept["exit_thresholds"])
    assert not list(tmp_path.glob("*.partial"))


def test_a_model_without_the_halting_classifier_is_refused(tune, trained, tmp_path):
    done = tune(trained.checkpoint, "--exit-policy", "geometric", "--draws", 2)
    assert done.returncode == 1 and "--halting geometric" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "draws.csv").exists()


def test_a_stock_model_is_refused(tune, stock):
    done = tune(stock.checkpoint, "--exit-policy", "confidence", "--draws", 2)
    assert done.returncode == 1 and "has one exit" in done.stderr and "Traceback" not in done.stderr


def test_a_folder_without_references_is_refused(tune, trained, prepared):
    (prepared / "prepared.json").unlink()
    done = tune(trained.checkpoint, "--exit-policy", "confidence", "--draws", 2)
    assert done.returncode == 1 and "no references to score against" in done.stderr and "Traceback" not in done.stderr


def test_a_model_has_to_be_named(prepared):
    done = run("depth-adaptive", "evaluate", prepared)
    assert done.returncode == 1 and "--path" in done.stderr and "Traceback" not in done.stderr
