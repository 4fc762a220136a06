"""Chunks of a text: whatever their number, each line is in one of them."""

from fairseq.file_chunker_utils import Chunker, find_offsets
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.strategies import deterministic

# Ends of lines elsewhere, spaces that str.splitlines() takes for ends, and characters of 1 to 4 bytes.
PIECES = ["a", "b ", "ä", "語", "😀", "\n", "\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\ufeff"]


def lines_of_chunks(path, chunks):
    offsets = find_offsets(str(path), chunks)
    assert len(offsets) == chunks + 1
    found = []
    for start, end in zip(offsets, offsets[1:]):
        with Chunker(str(path), start, end) as lines:
            found += lines
    return found


@given(text=st.lists(st.sampled_from(PIECES), max_size=40).map("".join), chunks=st.integers(1, 50))
@deterministic(150)
def test_chunks_hold_each_line_once(tmp_path_factory, text, chunks):
    path = tmp_path_factory.getbasetemp() / "text"
    path.write_bytes(text.encode())
    expected = [f"{line}\n" for line in text.split("\n")]
    expected[-1] = expected[-1][:-1]
    assert lines_of_chunks(path, chunks) == [line for line in expected if line]


def test_the_whole_file_without_an_end(tmp_path):
    """As fairseq's older functions ask for it."""
    (tmp_path / "text").write_text("a\nb\n")
    with Chunker(str(tmp_path / "text"), 0, -1) as lines:
        assert list(lines) == ["a\n", "b\n"]
