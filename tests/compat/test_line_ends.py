"""A line ends at its newline, whatever else in it Python or Unicode takes for the end of one."""

import io
import sys

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import IndexedRawTextDataset
from fairseq.hub_utils import GeneratorHubInterface
from fairseq_cli import interactive, score

from tests.compat.processes import assert_one_sentence, run

# A sentence each, with what ends lines elsewhere.
MARKS = ["\r", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]
SENTENCES = [f"a{mark}b sentence {number}" for number, mark in enumerate(MARKS)]


def write(path, sentences):
    path.write_text("".join(f"{sentence}\n" for sentence in sentences), encoding="utf-8", newline="\n")
    return path


@pytest.fixture
def from_standard_input(monkeypatch):
    def give(path):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes()), encoding="utf-8"))

    return give


@pytest.fixture
def scored(monkeypatch, capsys):
    """``scored(*options)``: what fairseq-score prints, in this process."""

    def scored(*options):
        monkeypatch.setattr(sys, "argv", ["fairseq-score", *map(str, options)])
        score.cli_main()
        return capsys.readouterr().out

    return scored


@pytest.mark.parametrize("standard_input", [False, True])
def test_interactive(tmp_path, standard_input, from_standard_input):
    path = write(tmp_path / "text", SENTENCES)
    if standard_input:
        from_standard_input(path)
    buffers = list(interactive.buffered_read("-" if standard_input else str(path), 4))
    assert [len(buffer) for buffer in buffers] == [4, 4, 1] and sum(buffers, []) == SENTENCES


def test_raw_data(tmp_path):
    dictionary = Dictionary()
    raw = IndexedRawTextDataset(str(write(tmp_path / "text", SENTENCES)), dictionary)
    assert [raw.get_original_text(number) for number in range(len(raw))] == SENTENCES


def test_hub_interface():
    hub = GeneratorHubInterface.__new__(GeneratorHubInterface)
    torch.nn.Module.__init__(hub)
    encoded = []
    hub.encode = lambda line: encoded.append(line) or torch.tensor([len(encoded)])
    hub.generate = lambda tokens, **options: [[each] for each in tokens]
    text = "\n".join(SENTENCES) + "\n"
    assert hub.score(text, replace_newline_with_eos=True).tolist() == list(range(1, 10)) and encoded == SENTENCES
    encoded.clear()
    hub.score([text, "one"], replace_newline_with_eos=False)
    assert encoded == [text, "one"]


@pytest.mark.parametrize("standard_input", [False, True])
def test_score(tmp_path, standard_input, scored, from_standard_input):
    """The marks are white space between tokens, no more: the references are reached."""
    system = write(tmp_path / "system", [f"a b sentence {number}" for number in range(9)])
    references = write(tmp_path / "references", SENTENCES)
    if standard_input:
        from_standard_input(system)
    assert "BLEU4 = 100.00" in scored("--sys", "-" if standard_input else system, "--ref", references)


@pytest.mark.parametrize("standard_input", [False, True])
def test_unequal_counts_are_no_score(tmp_path, standard_input, scored, from_standard_input):
    system, references = write(tmp_path / "system", SENTENCES), write(tmp_path / "references", SENTENCES[:-1])
    if standard_input:
        from_standard_input(system)
    with pytest.raises(ValueError, match="--sys (-|.*system) has 9 lines and --ref .*references has 8") as info:
        scored("--sys", "-" if standard_input else system, "--ref", references)
    assert info.value.is_user_error


def test_the_command_says_so(tmp_path):
    system, references = write(tmp_path / "system", SENTENCES), write(tmp_path / "references", SENTENCES[:-1])
    assert_one_sentence(run("fairseq-score", "--sys", system, "--ref", references), "9 lines", "has 8", "equally many")
