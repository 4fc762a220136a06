"""Training that is killed goes on from its last whole checkpoint as if nothing had been."""

import os
import time
from pathlib import Path

import pytest
from fairseq.checkpoint_utils import load_checkpoint_to_cpu

from tests.end_to_end.commands import Running, assert_ok
from tests.end_to_end.training import ADAPTIVE, OPTIMIZATION, SIZES, train

# An epoch has about 5 updates, so checkpoints are written at its end and in its middle. Dropout needs random numbers.
OPTIONS = (
    *ADAPTIVE, *SIZES, *OPTIMIZATION, "--dropout", 0.2, "--max-update", 20, "--save-interval-updates", 3, "--log-interval", 1,
    "--lr-scheduler", "inverse_sqrt", "--warmup-updates", 8, "--max-tokens-valid", 2000,
)  # fmt: skip
LOSSES = ("loss", "nll_loss", "nll_1", "nll_2", "nll_3", "gnorm", "lr")


@pytest.fixture(scope="session")
def uninterrupted(server, build_once, data):
    """The same training to its end at one go."""
    return train(server, build_once, "uninterrupted", data, *OPTIONS)


@pytest.fixture
def start(server, data, tmp_path):
    """Start the training, or go on with it."""
    return lambda: server.start("fairseq-train", data, *OPTIONS, "--save-dir", "checkpoints", cwd=tmp_path)


def losses(done) -> dict:
    """What was logged for each update."""
    return {int(log["num_updates"]): {name: log[name] for name in LOSSES} for log in done.json_logs("train_inner")}


def kill_when(running: Running, text: str) -> None:
    """Kill the training once it has printed *text*."""
    while text not in running.output() and not running.has_ended():
        time.sleep(0.01)
    if not running.has_ended():
        running.kill()
    done = running.wait()
    assert done.status == -9, f"ended by itself: {done.stderr[-3000:]}"


def updates_in(checkpoint: Path) -> int:
    """How many updates the checkpoint is old; fails if it is not whole."""
    state = load_checkpoint_to_cpu(str(checkpoint))
    return state["optimizer_history"][-1]["num_updates"]


def assert_goes_on_equally(done, uninterrupted, first: int) -> None:
    """From update *first* on, all that is logged is equal to the last digit, validations too."""
    ours, expected = losses(done), losses(uninterrupted.log)
    assert list(ours) == list(range(first, 21))
    assert ours == {update: log for update, log in expected.items() if update >= first}

    def validations(log):
        return {
            each["valid_num_updates"]: {name: value for name, value in each.items() if "nll" in name or "loss" in name}
            for each in log.json_logs("valid")
        }

    resumed, whole = validations(done), validations(uninterrupted.log)
    assert resumed
    assert resumed == {update: whole[update] for update in resumed}


@pytest.mark.parametrize("killed_at", [8, 14])
def test_killed_between_checkpoints(start, uninterrupted, tmp_path, killed_at):
    kill_when(start(), f'"num_updates": "{killed_at}"')
    saved = updates_in(tmp_path / "checkpoints" / "checkpoint_last.pt")
    assert saved >= killed_at - 3
    assert_goes_on_equally(assert_ok(start().wait()), uninterrupted, first=saved + 1)
    assert updates_in(tmp_path / "checkpoints" / "checkpoint_last.pt") == 20


def test_killed_while_a_checkpoint_is_written(start, uninterrupted, tmp_path):
    """Writing hangs, for its file is a pipe that nobody reads: the kill comes in the middle of it."""
    (interrupted,) = (path.name for path in uninterrupted.folder.glob("checkpoint_*_9.pt"))
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    os.mkfifo(folder / f"{interrupted}.tmp")
    kill_when(start(), f"Saving checkpoint to {folder / interrupted}")
    saved = updates_in(folder / "checkpoint_last.pt")
    assert saved == 9, "the checkpoint from before the validation"
    assert not (folder / interrupted).exists()

    # What a killed writer, and a killed copy, would leave behind.
    whole = (folder / "checkpoint_last.pt").read_bytes()
    os.remove(folder / f"{interrupted}.tmp")
    for name in (interrupted, "checkpoint_last.pt", "checkpoint_best.pt"):
        (folder / f"{name}.tmp").write_bytes(whole[: len(whole) // 2])
    assert_goes_on_equally(assert_ok(start().wait()), uninterrupted, first=saved + 1)
    for path in folder.glob("*.pt"):
        updates_in(path)
    assert not list(folder.glob("*.tmp"))
