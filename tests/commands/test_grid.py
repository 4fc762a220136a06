"""The grid of trainings: reading it, never doing again what the CSVs hold, and never taking old numbers for new ones."""

import ast
import csv
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import torch

from depth_adaptive_fairseq.commands import grid as grid_command
from depth_adaptive_fairseq.commands import main
from depth_adaptive_fairseq.commands.evaluation.results import COLUMNS, add_result, read_results
from depth_adaptive_fairseq.commands.experiments import trainings as experiment_trainings
from depth_adaptive_fairseq.commands.experiments.exit_positions import add_positions, read_exit_log, summarise
from depth_adaptive_fairseq.commands.experiments.findings import answer_findings
from depth_adaptive_fairseq.commands.experiments.grid import GridError, load_grid
from depth_adaptive_fairseq.commands.experiments.measurements import Measurements
from depth_adaptive_fairseq.commands.experiments.results_page import results_page
from depth_adaptive_fairseq.commands.experiments.stale_rows import bring_up_to_date
from depth_adaptive_fairseq.commands.experiments.training_log import seconds_of_runs
from depth_adaptive_fairseq.commands.experiments.trainings import (
    CHECKPOINT,
    decoding_of,
    finished_checkpoint,
    read_trainings,
    record_training,
    train,
)
from depth_adaptive_fairseq.commands.grid import is_measured, missing_policies, missing_positions, to_train
from depth_adaptive_fairseq.commands.shared.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(path.parent for path in (ROOT / "scripts" / "recipes").glob("*/grid.yaml"))
GRID = """
description: small
options: {task: translation, lr: 1, seed: 3, flag: true, absent: false}
decoding: {beam: 2}
trainings:
  - {name: first, table: regimes, policies: [full, "fixed:1"]}
  - {name: "second-{}", table: halting, from: first, for: {lr: [2, 3]}, options: {seed: 4}, subsets: [test], policies: [full]}
"""
LOG = """2026-01-01 10:00:00 | INFO | grid | start
2026-01-01 10:00:06 | INFO | fairseq_cli.train | {'_name': None}
2026-01-01 10:00:06 | INFO | fairseq_cli.train | num. shared model params: 1,234 (num. trained: 1,234)
2026-01-01 10:01:40 | INFO | valid | {"epoch": 1, "valid_loss": "4", "valid_nll_loss": "3.5", "valid_num_updates": "200", "valid_oracle_exit": "1.5"}
"""


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "grid.yaml").write_text(GRID)
    return folder


def measure(recipe, training):
    """Write down what a run of *training* would."""
    row = {"name": training.name, "fingerprint": training.fingerprint, "decoding": decoding_of(training)}
    record_training(recipe / "trainings.csv", row)
    for subset in training.subsets:
        for policy in training.policies:
            row = dict.fromkeys(COLUMNS, 1)
            add_result(recipe / "results.csv", {**row, "model": training.name, "subset": subset, "policy": policy})


def names(trainings):
    return [training.name for training in trainings]


def test_for_gives_a_training_for_each_value(recipe):
    first, second, third = load_grid(recipe / "grid.yaml").trainings
    assert names([first, second, third]) == ["first", "second-2", "second-3"]
    assert second.start is third.start is first and first.start is None
    assert third.options == {"task": "translation", "lr": 3, "seed": 4, "flag": True, "absent": False}
    assert first.arguments() == ["--task", "translation", "--lr", "1", "--seed", "3", "--flag"]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("table: regimes,", "tabel: regimes,", "has tabel; it takes"),
        ("from: first", "from: third", "starts from 'third'; trainings before it are: first"),
        ('"second-{}"', "first", "two trainings of .* are named 'first'"),
        ("[test]", "[train]", r"allowed are valid, test"),
        ("for: {lr: [2, 3]}", "for: {lr: [2], seed: [1]}", "takes one option"),
        ("decoding: {beam: 2}", "", "lacks decoding"),
        ('policies: [full, "fixed:1"]', "policies: [full], exit-positions: [uniform]", "its policies are full"),
    ],
)
def test_a_faulty_grid_is_refused(recipe, old, new, message):
    assert old in GRID
    (recipe / "grid.yaml").write_text(GRID.replace(old, new))
    with pytest.raises(GridError, match=message):
        load_grid(recipe / "grid.yaml")


def test_what_is_measured_is_not_trained_again_without_checkpoints(recipe, tmp_path):
    grid = load_grid(recipe / "grid.yaml")
    assert names(to_train(grid, recipe, tmp_path)) == ["first", "second-2", "second-3"]
    for training in grid.trainings:
        measure(recipe, training)
        assert is_measured(training, recipe)
    assert to_train(grid, recipe, tmp_path) == []


def test_a_start_is_trained_again_only_for_a_point_that_needs_it(recipe, tmp_path):
    grid = load_grid(recipe / "grid.yaml")
    for training in grid.trainings[:2]:
        measure(recipe, training)
    assert names(to_train(grid, recipe, tmp_path)) == ["first", "second-3"]
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / CHECKPOINT).touch()
    (folder / "trained").write_text(grid.trainings[0].fingerprint)
    assert finished_checkpoint(grid.trainings[0], tmp_path) == folder / CHECKPOINT
    assert names(to_train(grid, recipe, tmp_path)) == ["second-3"]


def test_a_changed_option_trains_again_what_depends_on_it(recipe, tmp_path):
    for training in load_grid(recipe / "grid.yaml").trainings:
        measure(recipe, training)
    (recipe / "grid.yaml").write_text(GRID.replace("lr: 1,", "lr: 5,"))
    assert names(to_train(load_grid(recipe / "grid.yaml"), recipe, tmp_path)) == ["first", "second-2", "second-3"]
    (recipe / "grid.yaml").write_text(GRID.replace("seed: 4", "seed: 5"))
    assert names(to_train(load_grid(recipe / "grid.yaml"), recipe, tmp_path)) == ["first", "second-2", "second-3"]
    measured_first = load_grid(recipe / "grid.yaml").trainings[0]
    assert is_measured(measured_first, recipe)  # trained for the others' sake only


def test_an_added_policy_is_all_that_is_decoded(recipe):
    for training in load_grid(recipe / "grid.yaml").trainings:
        measure(recipe, training)
    (recipe / "grid.yaml").write_text(GRID.replace('"fixed:1"', '"fixed:1", "fixed:2"'))
    assert missing_policies(load_grid(recipe / "grid.yaml").trainings[0], "valid", recipe) == ["fixed:2"]


def finish(training, out, content=b"weights"):
    """Leave what a training that ended does; returns its checkpoint."""
    folder = out / training.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CHECKPOINT).write_bytes(content)
    for marker in ("begun", "trained"):
        (folder / marker).write_text(training.fingerprint + "\n")
    (folder / "train.log").write_text(LOG)
    return folder / CHECKPOINT


def policies_of(recipe, training):
    return [row["policy"] for row in read_results(recipe / "results.csv") if row["model"] == training.name]


def test_results_of_changed_options_are_not_taken_for_new_ones(recipe, tmp_path):
    for training in load_grid(recipe / "grid.yaml").trainings:
        measure(recipe, training)
    add_positions(recipe / "exit_positions.csv", "second-2", "test", "full", [{"by": "exit", "value": 1}])
    (recipe / "grid.yaml").write_text(GRID.replace("seed: 4", "seed: 5"))
    first, second, third = load_grid(recipe / "grid.yaml").trainings
    bring_up_to_date(second, recipe, finish(second, tmp_path))
    assert policies_of(recipe, second) == [] and missing_policies(second, "test", recipe) == ["full"]
    assert read_table(recipe / "exit_positions.csv") == []
    assert len(policies_of(recipe, first)) == 4 and policies_of(recipe, third) == ["full"]
    assert read_trainings(recipe / "trainings.csv")["second-2"]["fingerprint"] == second.fingerprint


def test_results_survive_another_training_with_the_same_options(recipe, tmp_path):
    first = load_grid(recipe / "grid.yaml").trainings[0]
    measure(recipe, first)
    before = (recipe / "trainings.csv").read_text()
    bring_up_to_date(first, recipe, finish(first, tmp_path))  # trained for another's sake
    assert is_measured(first, recipe) and (recipe / "trainings.csv").read_text() == before


def test_changed_options_of_decoding_are_noticed(recipe, tmp_path):
    first, *others = load_grid(recipe / "grid.yaml").trainings
    for training in (first, *others):
        measure(recipe, training)
    assert Measurements(recipe).point("first", "valid", "full") is not None
    (recipe / "grid.yaml").write_text(GRID.replace("{beam: 2}", "{beam: 2, max-len-a: 1.5}"))
    first = load_grid(recipe / "grid.yaml").trainings[0]
    assert missing_policies(first, "valid", recipe) == ["full", "fixed:1"]
    assert Measurements(recipe).point("first", "valid", "full") is None
    bring_up_to_date(first, recipe, finish(first, tmp_path))
    assert policies_of(recipe, first) == [] and len(policies_of(recipe, others[0])) == 1
    assert read_trainings(recipe / "trainings.csv")["first"]["decoding"] == "--beam 2 --max-len-a 1.5"


def test_a_row_without_its_decoding_counts_for_the_grid_of_today(recipe):
    first = load_grid(recipe / "grid.yaml").trainings[0]
    measure(recipe, first)
    with (recipe / "trainings.csv").open("w") as file:  # as it was before there was such a column
        writer = csv.DictWriter(file, ["name", "fingerprint"])
        writer.writeheader()
        writer.writerow({"name": first.name, "fingerprint": first.fingerprint})
    assert is_measured(first, recipe)
    assert Measurements(recipe).point("first", "valid", "full") is not None


def test_a_lost_row_is_read_from_the_log_and_its_results_are_kept(recipe, tmp_path):
    training = load_grid(recipe / "grid.yaml").trainings[1]
    checkpoint = finish(training, tmp_path)
    row = {**dict.fromkeys(COLUMNS, 1), "model": training.name, "subset": "test", "beam": 2}
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:16]
    add_result(recipe / "results.csv", {**row, "policy": "full", "checkpoint_sha256": digest})
    add_result(recipe / "results.csv", {**row, "policy": "uniform"})  # from another checkpoint
    assert not is_measured(training, recipe)
    bring_up_to_date(training, recipe, checkpoint)
    assert is_measured(training, recipe) and policies_of(recipe, training) == ["full"]
    recorded = read_trainings(recipe / "trainings.csv")[training.name]
    assert recorded["updates"] == "200" and recorded["parameters"] == "1234" and recorded["oracle_exit"] == "1.5"
    assert recorded["seconds"] == "100" and recorded["seed"] == "4" and recorded["exit_agreement"] == ""


def test_a_lost_row_without_a_log_is_explained(recipe, tmp_path):
    training = load_grid(recipe / "grid.yaml").trainings[0]
    checkpoint = finish(training, tmp_path)
    (tmp_path / "first" / "train.log").unlink()
    with pytest.raises(GridError, match="has no validation, .* delete .*first to train it again"):
        bring_up_to_date(training, recipe, checkpoint)


def test_seconds_are_those_of_all_runs():
    killed = "2026-01-01 09:00:00 | INFO | fairseq_cli.train | {'_name': None}\n2026-01-01 09:00:30 | INFO | train | x\nno time\n"
    older = "2026-01-01 10:30:00 | INFO | fairseq_cli.train | {'_name': None}\n2026-01-01 10:30:07 | INFO | train | x\n"
    assert seconds_of_runs(LOG) == 100
    assert seconds_of_runs(killed + LOG + older) == 30 + 100 + 7
    assert seconds_of_runs("") == 0


def state_of(updates):
    """What a checkpoint of so many updates holds."""
    history = {"num_updates": updates, "criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}}
    iterator = {"epoch": 1, "iterations_in_epoch": 0}
    return {"model": {}, "optimizer_history": [history], "extra_state": {"train_iterator": iterator}, "cfg": None, "args": None}


@pytest.fixture
def fairseq_train(monkeypatch):
    """Stands in for the command: it logs, and leaves a checkpoint of *updates* updates; `calls` counts."""

    class Stub:
        updates, calls, returncode = 200, 0, 0

        def run(self, command, stdout, stderr):
            self.calls += 1
            stdout.write(LOG.split("\n", 1)[1])
            stdout.flush()
            checkpoint = Path(command[command.index("--save-dir") + 1]) / CHECKPOINT
            torch.save(state_of(self.updates), checkpoint)
            return subprocess.CompletedProcess(command, self.returncode)

    stub = Stub()
    monkeypatch.setattr(experiment_trainings.subprocess, "run", stub.run)
    return stub


def test_a_training_that_has_all_updates_is_not_given_one_more(recipe, tmp_path, fairseq_train):
    (recipe / "grid.yaml").write_text(GRID.replace("lr: 1,", "lr: 1, max-update: 200,"))
    training = load_grid(recipe / "grid.yaml").trainings[0]
    fairseq_train.updates, fairseq_train.returncode = 150, 1
    with pytest.raises(GridError, match="'first' failed"):
        train(training, tmp_path, tmp_path)
    assert finished_checkpoint(training, tmp_path) is None
    fairseq_train.updates, fairseq_train.returncode = 200, 0
    train(training, tmp_path, tmp_path)
    assert fairseq_train.calls == 2
    (tmp_path / "first" / "trained").unlink()  # as if killed just before the end
    train(training, tmp_path, tmp_path)
    assert fairseq_train.calls == 2 and finished_checkpoint(training, tmp_path) is not None
    bring_up_to_date(training, recipe, finished_checkpoint(training, tmp_path))
    row = read_trainings(recipe / "trainings.csv")["first"]
    assert row["updates"] == "200"
    (tmp_path / "first" / CHECKPOINT).write_bytes(b"half of one")
    with pytest.raises(GridError, match="cannot be read .* delete it"):
        train(training, tmp_path, tmp_path)


class Code:
    """Runs when it is unpickled by a loader that lets it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_no_code_of_a_checkpoint_runs(recipe, tmp_path):
    (recipe / "grid.yaml").write_text(GRID.replace("lr: 1,", "lr: 1, max-update: 200,"))
    training = load_grid(recipe / "grid.yaml").trainings[0]
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "begun").write_text(training.fingerprint)
    torch.save({**state_of(200), "extra": Code(str(tmp_path / "ran"))}, tmp_path / "first" / CHECKPOINT)
    with pytest.raises(GridError, match="cannot be read .*so that no code of the file's can run.* delete it"):
        train(training, tmp_path, tmp_path)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "first" / CHECKPOINT, weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


def test_no_loader_of_our_own_runs_code():
    """What reads a pickle, in the package: PyTorch's loader, told to be the safe one, and no other."""
    found = []
    for path in [*(ROOT / "depth_adaptive_fairseq").rglob("*.py"), ROOT / "setup.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner, name = getattr(node.func.value, "id", ""), node.func.attr
            if (owner, name) == ("torch", "load"):
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                # None: options that are passed on, in compat/safe_checkpoints.py, which adds the one that counts.
                if options.get("weights_only") != "True" and not (path.name == "safe_checkpoints.py" and None in options):
                    found.append(f"{path}:{node.lineno}")
            if (owner in ("pickle", "dill", "joblib", "shelve", "marshal") and name in ("load", "loads", "open", "Unpickler")) or (
                (owner, name) in (("np", "load"), ("numpy", "load"), ("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"))
            ):
                found.append(f"{path}:{node.lineno}")
    assert found == []


def test_other_options_start_from_nothing(recipe, tmp_path, fairseq_train):
    training = load_grid(recipe / "grid.yaml").trainings[0]
    train(training, tmp_path, tmp_path)
    (tmp_path / "first" / "left over").touch()
    (recipe / "grid.yaml").write_text(GRID.replace("lr: 1,", "lr: 7,"))
    train(load_grid(recipe / "grid.yaml").trainings[0], tmp_path, tmp_path)
    assert fairseq_train.calls == 2 and not (tmp_path / "first" / "left over").exists()


def test_exits_by_position_are_part_of_what_is_measured(recipe, tmp_path):
    (recipe / "grid.yaml").write_text(GRID.replace("first, table", "first, exit-positions: [full], table"))
    training = load_grid(recipe / "grid.yaml").trainings[0]
    measure(recipe, training)
    assert missing_policies(training, "test", recipe) == [] and missing_positions(training, "test", recipe) == ["full"]
    log = tmp_path / "exits.jsonl"
    log.write_text('{"id": 0, "exits": [6, 6, 1], "scores": [-2, -1, 0]}\n{"id": 1, "exits": [4], "scores": [0]}\n')
    summary = summarise(read_exit_log(log))
    for subset in training.subsets:
        add_positions(recipe / "exit_positions.csv", "first", subset, "full", summary)
        add_positions(recipe / "exit_positions.csv", "first", subset, "full", summary)
    assert is_measured(training, recipe)
    rows = [row for row in read_table(recipe / "exit_positions.csv") if row["subset"] == "test"]
    read = [(row["by"], row["value"], row["tokens"], row["mean_exit"], row["mean_probability"]) for row in rows]
    assert read == [
        ("tenth", "1", "2", "5.0", "0.5677"),  # the first of three and the only one of one
        ("tenth", "4", "1", "6.0", "0.3679"),
        ("tenth", "7", "1", "1.0", "1.0"),
        ("exit", "1", "1", "1.0", "1.0"),
        ("exit", "4", "1", "4.0", "1.0"),
        ("exit", "6", "2", "6.0", "0.2516"),
    ]
    log.write_text("[]\n")
    with pytest.raises(ValueError, match="line 1 of .* is not a record"):
        read_exit_log(log)


def test_a_run_killed_before_it_recorded_its_training_goes_on(recipe, tmp_path, fairseq_train, monkeypatch):
    first, second, third = load_grid(recipe / "grid.yaml").trainings
    measure(recipe, second)
    measure(recipe, third)
    finish(first, tmp_path)  # and no row
    decoded = []

    def decode(training, data, checkpoint, subset, policies, *more):
        decoded.append((training.name, subset))
        for policy in policies:
            row = {**dict.fromkeys(COLUMNS, 1), "model": training.name, "subset": subset, "policy": policy}
            add_result(recipe / "results.csv", row)

    monkeypatch.setattr(grid_command, "decode", decode)
    for _ in range(2):
        assert main(["grid", str(recipe), "--data", "data", "--out", str(tmp_path)]) == 0
    assert decoded == [("first", "valid"), ("first", "test")] and fairseq_train.calls == 0
    assert read_trainings(recipe / "trainings.csv")["first"]["updates"] == "200"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_results_in_the_repository_are_what_the_command_writes(recipe):
    assert results_page(recipe) == (recipe / "RESULTS.md").read_text(encoding="utf-8"), f"run depth-adaptive grid {recipe} --results"
    assert "**" in answer_findings(Measurements(recipe))
