"""fairseq-train with two gloo processes on a CPU computes what one process with twice the update frequency computes."""

import functools
import os
import random
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.end_to_end.commands import BIN, PLUGIN, QUIET_ENVIRONMENT, CommandServer, Finished, assert_ok

UPDATES = 4
MODEL = (
    "--arch", "depth_adaptive_transformer_tiny", "--encoder-layers", 1, "--decoder-layers", 3,
    "--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 16, "--encoder-attention-heads", 2,
    "--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 16, "--decoder-attention-heads", 2,
)  # fmt: skip
TRAINING = (
    *PLUGIN, "--task", "depth_adaptive_translation", "--criterion", "depth_adaptive_cross_entropy", "--dropout", 0,
    # Plain gradient descent: unlike Adam it does not blow up what rounding leaves of a vanishing gradient.
    "--optimizer", "sgd", "--lr", 0.5, "--clip-norm", 3, "--max-tokens", 60, "--max-update", UPDATES,
    "--no-epoch-checkpoints", "--num-workers", 0, "--cpu", "--distributed-backend", "gloo",
    "--log-format", "json", "--log-interval", 1, "--seed", 3,
)  # fmt: skip
REGIMES = {
    "aligned": ("--label-smoothing", 0.1),
    "exit loss": (
        "--halting", "geometric", "--halting-per-block", "--exit-loss-weight", 0.5, "--oracle", "correctness",
        "--oracle-penalty", 0.1, "--sentence-avg",
    ),
    "mixed": ("--training-mode", "mixed", "--exit-paths", 2, "--halting", "sequence"),
}  # fmt: skip
COUNTED = ("loss", "nll_1", "nll_2", "nll_3", "exit_loss", "oracle_exit", "predicted_exit", "exit_agreement", "gnorm")


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two that run commands as torchrun would start them."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2"}
    servers = []
    for rank in "01":
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**meeting, "RANK": rank, "LOCAL_RANK": rank}.items():
                patch.setenv(name, value)
            servers.append(CommandServer(tmp_path_factory.mktemp(f"rank{rank}")))
    yield servers
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def data(server, tmp_path_factory) -> Path:
    """A binarised corpus of sentences of different lengths."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(5)
    for split, count in (("train", 60), ("valid", 8)):
        lines = [" ".join(draw.choices("abcdefgh", k=draw.randint(1, 9))) for _ in range(count)]
        for language, text in (("xx", lines), ("yy", [line[::-1] for line in lines])):
            (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
    assert_ok(
        server.run(
            "fairseq-preprocess", "-s", "xx", "-t", "yy", "--joined-dictionary", "--destdir", folder / "bin",
            "--trainpref", folder / "train", "--validpref", folder / "valid", cwd=folder,
        )
    )  # fmt: skip
    return folder / "bin"


def command_for(data: Path, regime: str):
    return ("fairseq-train", data, *TRAINING, *MODEL, *REGIMES[regime])


@dataclass
class Trained:
    """A finished training: the folder of its checkpoint, and what it said."""

    folder: Path
    log: Finished


@pytest.fixture(scope="module")
def trained_alone(server, data, tmp_path_factory):
    """``trained_alone(regime)``: by one process, with twice the update frequency."""

    @functools.lru_cache(None)
    def train(regime: str) -> Trained:
        folder = tmp_path_factory.mktemp("one")
        command = (*command_for(data, regime), "--update-freq", 2, "--save-dir", folder)
        return Trained(folder, assert_ok(server.run(*command, cwd=folder)))

    return train


def train_together(pair, folder: Path, *command):
    """Run *command* as two processes that find each other; returns what the first one said."""
    running = [each.start(*command, cwd=folder) for each in pair]
    done = [process.wait() for process in running]
    assert_ok(done[1])
    return assert_ok(done[0])


def parameters(folder: Path) -> dict:
    return torch.load(folder / "checkpoint_last.pt", map_location="cpu", weights_only=False)["model"]


def assert_same_numbers(two: Finished, one: Finished) -> None:
    """What was logged of every update and validation agrees."""
    for kind, least in (("train_inner", UPDATES), ("valid", 1)):
        expected, found = one.json_logs(kind), two.json_logs(kind)
        assert len(expected) == len(found) >= least
        for ours, theirs in zip(found, expected):
            names = [name for key in theirs for name in COUNTED if key in (name, f"valid_{name}")]
            assert names
            for name in names:
                key = name if kind == "train_inner" else f"valid_{name}"
                assert float(ours[key]) == pytest.approx(float(theirs[key]), abs=2e-3), name


def assert_same_parameters(two: Path, one: Path) -> None:
    """So do the last checkpoints of both folders."""
    expected = parameters(one)
    for name, tensor in parameters(two).items():
        if name.endswith("._float_tensor"):  # which fairseq never gives a value
            continue
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize(
    "regime, backend",
    [
        ("aligned", "legacy_ddp"),
        ("exit loss", "legacy_ddp"),
        ("mixed", "legacy_ddp"),
        ("mixed", "pytorch_ddp"),
    ],
)
def test_two_processes_train_as_one_does(trained_alone, pair, data, tmp_path, regime, backend):
    one, together = trained_alone(regime), tmp_path / "together"
    command = (*command_for(data, regime), "--ddp-backend", backend, "--save-dir", together)
    two = train_together(pair, tmp_path, *command)

    assert_same_numbers(two, one.log)
    last = two.json_logs("valid")[-1]
    assert last.get("valid_nll_1") and (regime in ("aligned", "mixed") or "valid_exit_loss" in last)
    assert_same_parameters(together, one.folder)


def test_torchrun_starts_the_processes(trained_alone, data, tmp_path):
    """Without anything set by hand."""
    one, together = trained_alone("exit loss"), tmp_path / "together"
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", 2, "--master_port", free_port())
    program, *options = command_for(data, "exit loss")
    command = (*launcher, BIN / program, *options, "--ddp-backend", "legacy_ddp", "--save-dir", together)
    done = subprocess.run(
        [str(each) for each in command], cwd=tmp_path, env={**os.environ, **QUIET_ENVIRONMENT}, capture_output=True, text=True
    )
    two = assert_ok(Finished(done.returncode, done.stdout, done.stderr))
    assert_same_numbers(two, one.log)
    assert_same_parameters(together, one.folder)
