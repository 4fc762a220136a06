"""Finished files are renamed into place, and nothing but files is replaced. No path of the system is written to here."""

import os
import stat
import subprocess
import sys
import threading

import pytest
import torch
from fairseq.checkpoint_utils import torch_persistent_save
from fairseq.file_io import PathManager

from depth_adaptive_fairseq.compat.whole_files import is_special, new_file, refuse_special
from depth_adaptive_fairseq.exits.exit_log import ExitLog


def kind_of(path):
    return stat.S_IFMT(os.lstat(path).st_mode)


def read_in_background(pipe, read):
    """Read all of a pipe; ``read`` gets it when the thread that is returned has ended."""

    def run():
        with open(pipe, "rb") as file:
            read.append(file.read())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def save_checkpoint(path):
    torch_persistent_save({"model": torch.ones(2)}, str(path))


def copy_checkpoint(path):
    source = path.parent / "source"
    source.write_text("new")
    PathManager.copy(str(source), str(path), overwrite=True)
    source.unlink()


def write_log(path):
    log = ExitLog(str(path))
    log.write({"id": 0})
    log.publish()
    log.write({"id": 1})  # as fairseq-interactive goes on


def write_file(path):
    with new_file(path) as file:
        file.write("new")


WRITERS = [write_file, write_log, save_checkpoint, copy_checkpoint]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_keeps_being_a_link(write, relative, there, tmp_path):
    """The file behind it is replaced, in its own folder; one that is not there yet is made."""
    (tmp_path / "links").mkdir()
    (tmp_path / "files").mkdir()
    file, link = tmp_path / "files" / "file", tmp_path / "links" / "link"
    link.symlink_to("../files/file" if relative else file)
    if there:
        file.write_text("old")
        before = file.stat().st_ino
    write(link)
    assert kind_of(link) == stat.S_IFLNK and kind_of(file) == stat.S_IFREG
    assert file.read_bytes() not in (b"", b"old")
    if there:
        assert file.stat().st_ino != before  # renamed into place, not written over
    assert os.listdir(file.parent) == ["file"] and os.listdir(link.parent) == ["link"]


@pytest.fixture(params=["pipe", "link to a pipe", "device", "link to a device"])
def special(request, tmp_path):
    """A path that is no file, of the test's own, with what it must stay."""
    path = tmp_path / "special"
    if "pipe" in request.param:
        os.mkfifo(path)
    else:
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 7))  # as /dev/full
            with open(path, "w"):
                pass
        except OSError:
            pytest.skip("needs the right to make and open devices")
    if "link" in request.param:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    before = {each: kind_of(tmp_path / each) for each in os.listdir(tmp_path)}
    yield path
    assert {each: kind_of(tmp_path / each) for each in os.listdir(tmp_path)} == before


@pytest.mark.parametrize("write", [write_log, save_checkpoint, copy_checkpoint])
def test_what_is_no_file_is_refused(write, special):
    with pytest.raises(ValueError, match=r"special|link .*exists and is not a regular file: give another path") as info:
        write(special)
    assert info.value.is_user_error
    (special.parent / "source").unlink(missing_ok=True)


def test_what_is_no_file_is_written_to_as_it_is(special):
    assert is_special(special)
    if stat.S_ISCHR(os.stat(special).st_mode):
        with pytest.raises(OSError, match=f"cannot write {special}: No space left on device") as info:
            write_file(special)
        assert info.value.is_user_error
        return
    read = []
    thread = read_in_background(special, read)
    write_file(special)
    thread.join(timeout=20)
    assert read == [b"new"]


def test_a_folder_is_refused(tmp_path):
    for write in (write_file, write_log, save_checkpoint):
        with pytest.raises((ValueError, OSError), match="Is a directory|not a regular file"):
            write(tmp_path)
    assert os.listdir(tmp_path) == []


SCRIPT = """
import sys
from depth_adaptive_fairseq.compat.whole_files import new_file, refuse_special
print("before")
with new_file(sys.argv[1]) as file:
    file.write("new\\n")
print("after", flush=True)
try:
    refuse_special(sys.argv[1], "--results")
except ValueError as error:
    print(error)
"""
LIGHT = "import depth_adaptive_fairseq_startup as startup; startup._load_compat()\n"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
@pytest.mark.parametrize("to", ["file", "pipe"])
def test_standard_output_is_written_to_as_it_is(to, tmp_path):
    """By a link of the test's own, as /dev/stdout is one; redirected to a file it looks like a link to that file."""
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    redirected = (tmp_path / "out").open("w") if to == "file" else subprocess.PIPE
    done = subprocess.run([sys.executable, "-c", LIGHT + SCRIPT, link], stdout=redirected, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "out").read_text() if to == "file" else done.stdout
    assert said == f"before\nnew\nafter\n--results {link} was given, which exists and is not a regular file: give another path.\n"
    assert kind_of(link) == stat.S_IFLNK


def test_a_failure_leaves_the_older_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError), new_file(path) as file:
        file.write("half")
        raise KeyError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
    with pytest.raises(OSError, match="cannot write .*nowhere.file: No such file or directory"), new_file(tmp_path / "nowhere" / "file"):
        pass


def test_files_and_new_names_are_not_refused(tmp_path):
    (tmp_path / "file").touch()
    refuse_special(tmp_path / "file")
    refuse_special(tmp_path / "new")
