"""The grid of trainings: reading it, and never doing again what the CSVs hold."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from evaluation.results import COLUMNS, add_result  # noqa: E402
from experiments.findings import answer_findings  # noqa: E402
from experiments.grid import GridError, load_grid  # noqa: E402
from experiments.measurements import Measurements  # noqa: E402
from experiments.trainings import CHECKPOINT, finished_checkpoint, record_training  # noqa: E402
from run_grid import is_measured, missing_policies, to_train  # noqa: E402
from write_results import write  # noqa: E402

RECIPES = sorted(path.parent for path in (SCRIPTS / "recipes").glob("*/grid.yaml"))
GRID = """
description: small
options: {task: translation, lr: 1, seed: 3, flag: true, absent: false}
decoding: {beam: 2}
trainings:
  - {name: first, table: regimes, policies: [full, "fixed:1"]}
  - {name: "second-{}", table: halting, from: first, for: {lr: [2, 3]}, options: {seed: 4}, subsets: [test], policies: [full]}
"""


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "grid.yaml").write_text(GRID)
    return folder


def measure(recipe, training):
    """Write down what a run of *training* would."""
    record_training(recipe / "trainings.csv", {"name": training.name, "fingerprint": training.fingerprint})
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


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_results_in_the_repository_are_what_the_script_writes(recipe):
    assert write(recipe) == (recipe / "RESULTS.md").read_text(encoding="utf-8"), f"run scripts/write_results.py {recipe.name}"
    assert "**" in answer_findings(Measurements(recipe))
