"""Text files that are missing, empty or in another encoding are refused before anything is written."""

import pytest
from fairseq import options
from fairseq_cli import interactive, preprocess

from depth_adaptive_fairseq.compat import text_input
from depth_adaptive_fairseq.compat.text_input import check_text


@pytest.fixture
def text(tmp_path):
    for name, content in {
        "good.de": "ä b\nc\n", "good.en": "a b\nc\n", "latin.de": "a\nb \xe4 c\n".encode("latin1"), "latin.en": "a\nb\n",
        "empty.de": "", "empty.en": "", "dict.txt": "a 1\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def refused(function, *arguments):
    with pytest.raises((ValueError, OSError)) as raised:
        function(*arguments)
    assert raised.value.is_user_error
    return str(raised.value)


@pytest.mark.parametrize(
    "command, parts",
    [
        (["--trainpref", "nowhere"], ["--trainpref nowhere", "nowhere.de", "No such file"]),
        (["--trainpref", "latin"], ["line 2 of latin.de", "UTF-8"]),
        (["--trainpref", "good", "--validpref", "good,latin"], ["--validpref latin", "line 2"]),
        (["--trainpref", "good", "--testpref", "empty"], ["empty.de is empty"]),
        (["--trainpref", "good", "--workers", 0], ["--workers 0"]),
        (["--testpref", "good"], ["neither --trainpref nor --srcdict"]),
        (["--testpref", "good", "--srcdict", "dict.txt"], ["neither --trainpref nor --tgtdict"]),
        (["--testpref", "good", "--srcdict", "nowhere", "--tgtdict", "dict.txt"], ["--srcdict", "nowhere", "No such file"]),
        (["--trainpref", "good", "--srcdict", "dict.txt", "--tgtdict", "dict.txt", "--joined-dictionary"], ["give one of them"]),
        (["--trainpref", "good", "--alignfile", "nowhere"], ["--alignfile", "nowhere"]),
        (["--trainpref", "good", "--dataset-impl", "huffman"], ["huffman", "mmap"]),
    ],
    ids=str,
)
def test_preprocessing(text, monkeypatch, command, parts):
    monkeypatch.chdir(text)
    before = sorted(text.iterdir())
    arguments = ["-s", "de", "-t", "en", "--destdir", "out", *map(str, command)]
    said = refused(preprocess.main, options.get_preprocessing_parser().parse_args(arguments))
    for part in parts:
        assert part in said
    assert sorted(text.iterdir()) == before


def test_preprocessing_without_languages(text):
    arguments = ["--trainpref", str(text / "good"), "--destdir", str(text / "out")]
    assert "--source-lang and --target-lang" in refused(preprocess.main, options.get_preprocessing_parser().parse_args(arguments))


def test_preprocessing_into_a_folder_that_has_a_dictionary(text):
    (text / "dict.en.txt").write_text("a 1\n")
    arguments = ["-s", "de", "-t", "en", "--trainpref", str(text / "good"), "--destdir", str(text)]
    said = refused(preprocess.main, options.get_preprocessing_parser().parse_args(arguments))
    assert "dict.en.txt exists" in said and "--tgtdict" in said
    assert (text / "dict.en.txt").read_text() == "a 1\n"


def test_characters_on_the_border_of_what_is_read_at_once(tmp_path, monkeypatch):
    """A character of two bytes in every position, and the number of the line that is wrong."""
    monkeypatch.setattr(text_input, "_CHUNK", 4)
    path = tmp_path / "text"
    for before in range(6):
        path.write_bytes(b"\n" * before + "äöü\n".encode() * 3)
        check_text(path, "--option")
        path.write_bytes(b"\n" * before + "äöü\n".encode() * 3 + b"\xff\n")
        assert f"line {before + 4} of" in refused(check_text, path, "--option")
    path.write_bytes("aä".encode()[:-1])
    assert "ends in the middle" in refused(check_text, path, "--option")


@pytest.mark.parametrize("name, part", [("latin.de", "line 2"), ("nowhere", "No such file"), (".", "is a folder")])
def test_interactive_input(text, monkeypatch, name, part):
    monkeypatch.chdir(text)
    arguments = ["data", "--path", "model.pt", "--input", name]
    parser = options.get_interactive_generation_parser()
    args = options.parse_args_and_arch(parser, arguments)
    assert part in refused(interactive.main, args)


def test_interactive_input_that_turns_out_not_to_be_utf8(text):
    """As from a pipe."""
    lines = interactive.buffered_read(str(text / "latin.de"), 1)
    assert "not UTF-8" in refused(list, lines)
