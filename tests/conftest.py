"""A way to run commands, a corpus, and a model trained once for all processes of a test run."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import Callable

import pytest

from tests.end_to_end.commands import CommandServer, assert_ok
from tests.end_to_end.corpus import hard_pairs, sentence_pairs
from tests.end_to_end.training import ADAPTIVE, OPTIMIZATION, SIZES, Trained, train


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = CommandServer(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


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
