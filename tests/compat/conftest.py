"""What the tests of the compatibility layer share: a toy corpus and a toy checkpoint."""

import random

import pytest

from tests.compat.processes import TINY, run


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A binarised toy corpus: letters into capital letters."""
    folder = tmp_path_factory.mktemp("toy")
    words, generator = ["a", "b", "c", "d", "e", "f", "g", "h"], random.Random(1)
    for split, size in (("train", 60), ("valid", 10), ("test", 10)):
        lines = [generator.choices(words, k=generator.randint(2, 8)) for _ in range(size)]
        source = "".join(" ".join(line) + "\n" for line in lines)
        (folder / f"{split}.de").write_text(source)
        (folder / f"{split}.en").write_text(source.upper())
    done = run(
        "fairseq-preprocess", "-s", "de", "-t", "en", "--trainpref", folder / "train",
        "--validpref", folder / "valid", "--testpref", folder / "test", "--destdir", folder / "bin",
    )
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.fixture(scope="session")
def training(data, tmp_path_factory):
    """The finished training of a tiny model, and the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    done = run("fairseq-train", data, "--task", "translation", *TINY, "--save-dir", folder, fresh=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done, folder


@pytest.fixture(scope="session")
def checkpoint(training):
    return training[1] / "checkpoint_last.pt"


@pytest.fixture
def marker(tmp_path):
    """The folder that hostile code would create; nobody may."""
    folder = tmp_path / "code-has-run"
    yield folder
    assert not folder.exists()
