"""Archives of models: what is in them stays in their folder."""

import io
import os
import tarfile
import tempfile

import pytest
from fairseq import file_utils
from fairseq.models.transformer import TransformerModel

from tests.compat.processes import BIN, run_script


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The folder to work in, and that for temporary files in it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def archive(path, *members):
    with tarfile.open(path, "w:gz") as file:
        for name, change in members:
            member = tarfile.TarInfo(name)
            member.size = 4
            for key, value in change.items():
                setattr(member, key, value)
            file.addfile(member, io.BytesIO(b"text"))
    return path


LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc", "size": 0}
HARD_LINK = {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd", "size": 0}
GOOD = ("model/dict.txt", {})


@pytest.mark.parametrize(
    "members, reason",
    [
        ([GOOD, ("model/../../escaped", {})], "leads outside"),
        ([GOOD, ("../escaped", {})], "leads outside"),
        ([GOOD, ("/tmp/escaped", {})], "leads outside"),
        ([("model/link", LINK), ("model/link/escaped", {})], "neither a file nor a folder"),
        ([GOOD, ("model/hard", HARD_LINK)], "neither a file nor a folder"),
        ([GOOD, ("model/pipe", {"type": tarfile.FIFOTYPE, "size": 0})], "neither a file nor a folder"),
        ([GOOD, ("modern/x", {})], "one folder"),
        ([("dict.txt", {})], "no file in a folder"),
        ([], "one folder"),
    ],
)
def test_hostile_archives_are_refused_and_nothing_is_written(members, reason, work):
    path = archive(work / "model.tar.gz", *members)
    with pytest.raises(ValueError, match=f"refused to unpack .*model.tar.gz: .*{reason}") as info:
        TransformerModel.from_pretrained(str(path))
    assert info.value.is_user_error and "\n" not in str(info.value)
    assert sorted(each.name for each in work.rglob("*")) == ["model.tar.gz", "tmp"]
    assert path.is_file()


@pytest.mark.parametrize("content", [b"", b"no archive", "cut"])
def test_damaged_archives(content, work):
    path = archive(work / "model.tar.gz", *(GOOD,) * 3)
    path.write_bytes(path.read_bytes()[:60] if content == "cut" else content)
    with pytest.raises(ValueError, match="cannot unpack .*model.tar.gz|refused to unpack"):
        file_utils.load_archive_file(str(path))
    assert not list((work / "tmp").iterdir()) and path.is_file()


@pytest.mark.parametrize("prefix, folder_entry", [("model", True), ("model", False), ("./model", False)])
def test_good_archives_are_unpacked(prefix, folder_entry, work):
    entries = [(prefix, {"type": tarfile.DIRTYPE, "size": 0, "mode": 0o755})] * folder_entry
    path = archive(work / "model.tar.gz", *entries, (f"{prefix}/sub/checkpoint.pt", {}))
    folder = file_utils.load_archive_file(str(path))
    assert folder == str(path)  # fairseq puts the folder in the archive's place
    assert (path / "sub" / "checkpoint.pt").read_text() == "text"
    assert not list((work / "tmp").iterdir())


def test_a_data_sets_name_is_not_run(tmp_path):
    (tmp_path / "it's a $(touch ran) set.fasta").write_text(">one\nACG\n>two\nAC\n")
    script = """
    from fairseq.data.fasta_dataset import FastaDataset
    data = FastaDataset("it's a $(touch ran) set")
    assert data[1] == (">two", "AC") and data.sizes.tolist() == [3, 2], data.sizes
    """
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # fairseq's command line calls tqdm's
    done = run_script(script, cwd=tmp_path, PATH=path)
    assert not (tmp_path / "ran").exists()
    assert done.returncode == 0, done.stderr[-2000:]
