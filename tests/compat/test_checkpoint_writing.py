"""A checkpoint is there as a whole or not at all, whatever happens while it is written."""

import os
import signal
import textwrap

import pytest
import torch
from fairseq.checkpoint_utils import checkpoint_paths, torch_persistent_save
from fairseq.file_io import PathManager


@pytest.fixture
def run_script(server, tmp_path_factory):
    """``run_script(text, argument, ...)``: Python code in a process of its own, which has imported fairseq."""
    folder = tmp_path_factory.mktemp("script")

    def run_script(text, *arguments):
        (folder / "script.py").write_text(textwrap.dedent(text))
        return server.run(folder / "script.py", *arguments, cwd=folder)

    return run_script


COPY_AND_BE_KILLED = """
import os, shutil, signal, sys
from fairseq.file_io import PathManager

def copyfile(source, target):
    with open(source, "rb") as old, open(target, "wb") as new:
        new.write(old.read()[:10])
        new.flush()
        os.kill(os.getpid(), signal.SIGKILL)

shutil.copyfile = copyfile
{copy}(sys.argv[1], sys.argv[2], overwrite=True)
"""


@pytest.mark.parametrize(
    "copy, survivor",
    [("PathManager.copy", "old and whole"), ("PathManager.copy.__wrapped__", "new and wh")],
    ids=["mended", "not mended"],
)
def test_a_kill_during_the_copy(copy, survivor, run_script, tmp_path):
    """With the mend the old file stays; without, half of the new one takes its place."""
    new, last = tmp_path / "checkpoint1.pt", tmp_path / "checkpoint_last.pt"
    new.write_text("new and whole")
    last.write_text("old and whole")
    done = run_script(COPY_AND_BE_KILLED.format(copy=copy), new, last)
    assert done.status == -signal.SIGKILL, done.stderr
    assert last.read_text() == survivor
    # What the kill left behind is not taken for a checkpoint, and does not stop the next copy.
    assert checkpoint_paths(str(tmp_path)) == [str(new)]
    assert sorted(tmp_path.glob("checkpoint*.pt")) == [new, last]
    PathManager.copy(str(new), str(last), overwrite=True)
    assert last.read_text() == "new and whole"
    assert sorted(tmp_path.iterdir()) == [new, last]


def test_copies_are_copies(tmp_path):
    (tmp_path / "a").write_text("content")
    assert PathManager.copy(str(tmp_path / "a"), str(tmp_path / "b"), overwrite=True)
    assert (tmp_path / "b").read_text() == "content"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_copy_that_fails_leaves_the_old_file(tmp_path):
    (tmp_path / "b").write_text("old")
    with pytest.raises(OSError, match="cannot write checkpoint .*b: No such file"):
        PathManager.copy(str(tmp_path / "missing"), str(tmp_path / "b"), overwrite=True)
    assert (tmp_path / "b").read_text() == "old"
    assert os.listdir(tmp_path) == ["b"]


def test_a_full_disk_is_an_error_and_leaves_nothing(run_script, tmp_path):
    """A limit on the size of files stands for a disk that fills up while a file is written."""
    path = tmp_path / "checkpoint_last.pt"
    path.write_text("old and whole")

    script = """
        import resource, sys, torch
        from fairseq.checkpoint_utils import torch_persistent_save
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        torch_persistent_save({"model": torch.zeros(1_000_000)}, sys.argv[1])
    """
    done = run_script(script, path)
    assert done.status == 1
    assert f"error: cannot write checkpoint {path}: File too large" in done.stderr
    assert path.read_text() == "old and whole"
    assert os.listdir(tmp_path) == ["checkpoint_last.pt"]


def test_saving_is_tried_once(tmp_path, monkeypatch):
    """A second try would go on in the same half-written file."""
    tries = []

    def save(obj, file):
        tries.append(file)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError, match="No space left on device; earlier checkpoints") as info:
        torch_persistent_save({}, str(tmp_path / "x.pt"))
    assert info.value.is_user_error
    assert len(tries) == 1
    assert os.listdir(tmp_path) == []


def test_objects_that_cannot_be_saved_are_not_the_users_mistake(tmp_path):
    with pytest.raises(Exception) as info:
        torch_persistent_save({"model": lambda: None}, str(tmp_path / "x.pt"))
    assert not hasattr(info.value, "is_user_error")


def test_saved_checkpoints_can_be_read(tmp_path):
    torch_persistent_save({"model": torch.ones(2)}, str(tmp_path / "x.pt"))
    assert torch.load(tmp_path / "x.pt", weights_only=True)["model"].tolist() == [1, 1]
