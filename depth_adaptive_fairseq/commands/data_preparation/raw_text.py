"""Reading raw text files: plain or packed, checked, and brought to one form.

That form is UTF-8 without byte-order mark, one sentence a line, `\\n` at every line end. A carriage return at a
line's end goes (Windows line ends); elsewhere in a line it becomes a space, because most programs would take it for
a line end and lose the alignment of the two languages. Empty lines stay: they are a pair's half.
"""

import gzip
import hashlib
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from depth_adaptive_fairseq.commands.shared.text_lines import read_lines  # noqa: F401  of files that an earlier step wrote

from .errors import PreparationError

OPENERS = {"": open, ".gz": gzip.open, ".xz": lzma.open}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CHUNK = 1 << 20


def packing(path: Path) -> str:
    """The suffix that says how the file is packed; '' for a plain one."""
    return path.suffix if path.suffix in OPENERS else ""


def open_unpacked(path: Path) -> BinaryIO:
    return OPENERS[packing(path)](path, "rb")


def sha256(path: Path, unpacked: bool = False) -> str:
    """The checksum of the file as it lies there, or of what is packed in it."""
    digest = hashlib.sha256()
    try:
        with open_unpacked(path) if unpacked else open(path, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise PreparationError(f"{path} cannot be unpacked ({error}). Fetch it again.") from None
    return digest.hexdigest()


def lines(path: Path) -> Iterator[str]:
    """The sentences of a raw file, without line ends, in the form that the module describes."""
    with open_unpacked(path) as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise PreparationError(
                    f"{path} is not valid UTF-8: line {number}, byte {error.start + 1} is 0x{line[error.start]:02x}. "
                    "Convert the file (iconv does it) and run again."
                ) from None
            yield text.rstrip("\r\n").replace("\r", " ")


def write_lines(path: Path, sentences: Iterable[str]) -> int:
    """Writes one sentence a line and returns their number."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for count, sentence in enumerate(sentences, start=1):  # noqa: B007  returned
            stream.write(sentence + "\n")
    return count
