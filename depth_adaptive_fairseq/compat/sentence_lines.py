"""``fairseq-preprocess --workers N`` finds other sentences for each N, so that sides of a corpus no longer match.

Concerns: fairseq 0.12.2. It cuts a file at byte offsets and reads it as text, in which a carriage return ends a line as
well; the offsets that a text file tells are then off, and lines at the borders are read twice or not at all. Here a line
ends at a line feed and nowhere else, for any number of workers: also in raw data and in files of alignments.
No longer needed when: preprocessing text with carriage returns gives the same files for each ``--workers``, with one
sentence for each line feed.
"""

import os

MODULES = ("fairseq.file_chunker_utils", "fairseq.data.indexed_dataset", "fairseq_cli.preprocess")


def after(module):
    if module.__name__ == "fairseq.file_chunker_utils":
        module.find_offsets, module.Chunker = find_offsets, Chunker
    else:
        module.open = open_text  # instead of the builtin function


def open_text(file, mode="r", **options):
    """``open``, but lines of text end at line feeds only."""
    return open(file, mode, **options) if "b" in mode else open(file, mode, newline="\n", **options)


def find_offsets(filename, num_chunks):
    """Where to cut a file into chunks of whole lines: ``num_chunks + 1`` byte offsets, the first 0, the last its size."""
    size = os.path.getsize(filename)
    offsets = [0]
    with open(filename, "rb") as file:
        for chunk in range(1, num_chunks):
            file.seek(max(size * chunk // num_chunks, offsets[-1]))
            file.readline()
            offsets.append(file.tell())
    return [*offsets, size]


class Chunker:
    """The lines that begin in a chunk of a file, as text, each with its line feed; a context manager.

    Args:
        path: of a UTF-8 text.
        start_offset: where a line begins, in bytes.
        end_offset: where the chunk ends; 0 or less for the end of the file.
    """

    def __init__(self, path, start_offset, end_offset):
        self.path = path
        self.start_offset = start_offset
        self.end_offset = end_offset

    def __enter__(self):
        self._file = open(self.path, "rb")
        return self._lines()

    def __exit__(self, *error):
        self._file.close()

    def _lines(self):
        position = self._file.seek(self.start_offset)
        for line in self._file:
            if 0 < self.end_offset <= position:
                break
            position += len(line)
            yield line.decode("utf-8")
