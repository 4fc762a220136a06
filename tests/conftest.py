"""A way to run commands, a corpus, and a model trained once for all processes of a test run; and what no test may do."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import Callable

import pytest

from tests import leftover_processes
from tests.compat import processes
from tests.end_to_end.commands import CommandServer, assert_ok
from tests.end_to_end.corpus import hard_pairs, sentence_pairs
from tests.end_to_end.training import ADAPTIVE, OPTIMIZATION, SIZES, Trained, train

# Threads that wait do so asleep: others need the processor. Has to be there before PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# The tests are about what users see, whatever their developer is after.
os.environ.pop("DEPTH_ADAPTIVE_TRACEBACK", None)


def pytest_configure(config):
    leftover_processes.watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    if call.excinfo is not None and "from pytest-timeout" in str(call.excinfo.value):
        leftover_processes.kill()  # what the test has waited for
    return (yield)


@pytest.fixture(scope="session", autouse=True)
def no_forks():
    """The process that runs the tests has computed with threads, which a fork has not but may wait for."""

    def fork():
        raise AssertionError("tests start new processes (`server`, or tests/compat/processes.py); they do not fork their own")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fork", fork)
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = CommandServer(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


@pytest.fixture(scope="session", autouse=True)
def commands_by_the_server(server):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "server", server)
        yield


@pytest.fixture(scope="session")
def build_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """``build_once(name, build)``: a folder that ``build(folder)`` fills, in one of pytest's processes for all of them."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "end_to_end"
    shared.mkdir(exist_ok=True)

    def build_once(name: str, build: Callable[[Path], None]) -> Path:
        folder = shared / name
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = shared / f"{name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                build(unfinished)
                unfinished.rename(folder)
        return folder

    return build_once


@pytest.fixture(scope="session")
def data(server, build_once) -> Path:
    """The binarised corpus, with one dictionary for both languages."""

    def build(folder: Path) -> None:
        raw = folder / "raw"
        raw.mkdir()
        splits = {"train": sentence_pairs(300, 1), "valid": sentence_pairs(30, 2), "test": sentence_pairs(14, 3) + hard_pairs()}
        for split, pairs in splits.items():
            for side, language in enumerate(("de", "en")):
                (raw / f"{split}.{language}").write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
        prefixes = (f"--{split}pref={raw / split}" for split in splits)
        assert_ok(
            server.run(
                "fairseq-preprocess", "-s", "de", "-t", "en", *prefixes, "--joined-dictionary",
                "--destdir", folder / "bin", cwd=folder,
            )
        )

    return build_once("data", build) / "bin"


@pytest.fixture(scope="session")
def trained(server, build_once, data) -> Trained:
    """A model of 3 exits that has learnt enough for its exits to differ."""
    return train(server, build_once, "adaptive", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 50)
