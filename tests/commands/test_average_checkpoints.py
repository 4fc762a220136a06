"""Checkpoint averaging, through the command."""

import argparse

import pytest
import torch
from fairseq.checkpoint_utils import load_checkpoint_to_cpu

from tests.compat import processes


def write_checkpoint(path, **tensors):
    arguments = argparse.Namespace(arch="transformer", task="translation", criterion="cross_entropy")
    history = [{"num_updates": 5, "optimizer_name": "Adam", "lr_scheduler_state": {}}]
    state = {"args": arguments, "model": tensors, "optimizer_history": history, "last_optimizer_state": {"x": 1}}
    torch.save({**state, "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}}, path)


def run(*arguments):
    return processes.run("depth-adaptive", "average", *arguments)


def test_parameters_are_averaged_and_the_optimiser_left_out(tmp_path):
    for number, value in enumerate((1.0, 2.0, 6.0)):
        write_checkpoint(tmp_path / f"{number}.pt", a=torch.full((2,), value), steps=torch.tensor([7]))
    done = run("--inputs", *sorted(tmp_path.glob("*.pt")), "--output", tmp_path / "average.out")
    assert done.returncode == 0, done.stderr
    state = load_checkpoint_to_cpu(str(tmp_path / "average.out"))
    assert state["model"]["a"].tolist() == [3.0, 3.0] and state["model"]["steps"].tolist() == [7]
    assert state["last_optimizer_state"] is None


@pytest.mark.parametrize(
    "option, names, expected",
    [
        ("--last-epochs", ["checkpoint1.pt", "checkpoint2.pt", "checkpoint10.pt", "checkpoint_best.pt"], 2.5),
        ("--last-updates", ["checkpoint_1_5.pt", "checkpoint_1_20.pt", "checkpoint_2_30.pt", "checkpoint9.pt"], 2.5),
    ],
)
def test_the_last_ones_are_taken(tmp_path, option, names, expected):
    for value, name in enumerate(names, start=1):
        write_checkpoint(tmp_path / name, a=torch.tensor([float(value)]))
    done = run("--inputs", tmp_path, option, 2, "--output", tmp_path / "average.out")
    assert done.returncode == 0, done.stderr
    assert load_checkpoint_to_cpu(str(tmp_path / "average.out"))["model"]["a"].item() == expected


def test_different_models_and_missing_files_are_refused(tmp_path):
    write_checkpoint(tmp_path / "a.pt", a=torch.ones(2))
    write_checkpoint(tmp_path / "b.pt", a=torch.ones(3))
    for inputs, hint in (("a.pt", "b.pt"), "different models"), (("a.pt", "c.pt"), "not a file"), ((".",), "--last-epochs"):
        done = run("--inputs", *(tmp_path / name for name in inputs), "--output", tmp_path / "average.out")
        assert done.returncode == 1 and hint in done.stderr and "Traceback" not in done.stderr
    done = run("--inputs", tmp_path, "--last-epochs", 3, "--output", tmp_path / "average.out")
    assert done.returncode == 1 and "has 0 such" in done.stderr
    assert not (tmp_path / "average.out").exists()
