"""What the end-to-end tests share, beside ``tests/conftest.py``: ways to run commands, and more models."""

import functools

import pytest
from fairseq import options
from fairseq_cli import generate, interactive
from fairseq_cli import train as fairseq_train

from tests.end_to_end.commands import PLUGIN
from tests.end_to_end.in_process import InProcess
from tests.end_to_end.training import ADAPTIVE, HALTING, OPTIMIZATION, SIZES, STOCK, TASK, Trained, train


@pytest.fixture
def run(server, tmp_path):
    """``run("fairseq-train", ...)`` in the test's own folder."""

    def run(*command, cwd=tmp_path, **options):
        return server.run(*command, cwd=cwd, **options)

    return run


@pytest.fixture(scope="session")
def halting_trained(server, build_once, data, trained):
    """``halting_trained(kind)``: the same model, trained on with a halting classifier."""

    def halting_trained(kind: str) -> Trained:
        return train(
            server, build_once, f"halting-{kind}", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 25,
            "--finetune-from-model", trained.checkpoint, *HALTING[kind],
        )  # fmt: skip

    return halting_trained


@pytest.fixture(scope="session")
def other_trained(server, build_once, data) -> Trained:
    """A model of as many exits and of other widths."""
    return train(
        server, build_once, "other", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 30,
        "--encoder-embed-dim", 48, "--decoder-embed-dim", 24,
    )


@pytest.fixture(scope="session")
def shallow(server, build_once, data) -> Trained:
    """A model of 2 exits."""
    return train(
        server, build_once, "shallow", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 2, "--decoder-layers", 2,
    )


@pytest.fixture(scope="session")
def stock(server, build_once, data) -> Trained:
    """fairseq's own Transformer of the same sizes."""
    return train(server, build_once, "stock", data, *STOCK, *SIZES, *OPTIMIZATION, "--max-update", 20)


@pytest.fixture(scope="session")
def _decoders(data):
    def decoder(task: str) -> InProcess:
        command = (data, *PLUGIN, "--task", task, "--path", "?", "--num-workers", 0, "--beam", 3)
        return InProcess(generate.main, options.get_generation_parser(), *command)

    return functools.lru_cache(decoder)


@pytest.fixture
def decode(_decoders, tmp_path, monkeypatch):
    """``decode(checkpoint, task__exit_policy=..., ...)``: fairseq-generate with the plugin's task."""
    monkeypatch.chdir(tmp_path)
    return lambda checkpoint, **entries: _decoders(TASK[1])(common_eval__path=checkpoint, **entries)


@pytest.fixture
def decode_stock(_decoders, tmp_path, monkeypatch):
    """The same with fairseq's own task."""
    monkeypatch.chdir(tmp_path)
    return lambda checkpoint, **entries: _decoders("translation")(common_eval__path=checkpoint, **entries)


@pytest.fixture(scope="session")
def _trainer(data):
    command = (data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 1, "--no-save", "--log-interval", 1)
    return InProcess(fairseq_train.main, options.get_training_parser(), *command)


@pytest.fixture
def train_briefly(_trainer, tmp_path, monkeypatch):
    """``train_briefly(criterion__exit_weights=..., ...)``: fairseq-train for one update and a validation, saving nothing."""
    monkeypatch.chdir(tmp_path)
    return _trainer


@pytest.fixture(scope="session")
def _interpreter(data):
    command = (data, *PLUGIN, *TASK, "--path", "?", "--beam", 3)
    return InProcess(interactive.main, options.get_interactive_generation_parser(), *command)


@pytest.fixture
def converse(_interpreter, tmp_path, monkeypatch):
    """``converse(checkpoint, lines, task__exit_policy=..., ...)``: fairseq-interactive, given *lines*, in buffers of 4."""
    monkeypatch.chdir(tmp_path)

    def converse(checkpoint, lines, **entries):
        (tmp_path / "typed.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        usual = dict(interactive__buffer_size=4, interactive__input="typed.txt", dataset__batch_size=2)
        return _interpreter(**{**usual, **entries, "common_eval__path": checkpoint})

    return converse
