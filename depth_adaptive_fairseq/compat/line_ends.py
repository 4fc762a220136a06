"""A carriage return or U+2028 within a sentence ends it, and all sentences behind it are off by one.

Concerns: fairseq 0.12.2, which reads text with Python's universal newlines, where a lone carriage
return ends a line, and splits with ``str.splitlines``, which knows nine more ends: fairseq-score,
fairseq-interactive, ``--dataset-impl raw``, and the hub interface's ``score`` with
``replace_newline_with_eos``. fairseq-score in addition leaves out, without a word, what one of its
two files has more than the other. A line ends at ``\\n``, and the files must have equally many.
(What fairseq-preprocess reads is another mend's.)
No longer needed when: fairseq opens text with ``newline="\\n"`` and compares the numbers of lines.
"""

import contextlib
import functools
import io
import sys

from .overlay import Overlay
from .user_errors import user_error

MODULES = ("fairseq.data.indexed_dataset", "fairseq.hub_utils", "fairseq_cli.interactive", "fairseq_cli.score")


def after(module):
    _MENDS[module.__name__](module)


def open_text(file, mode="r", *arguments, **options):
    """``open``, where text has ends of lines at ``\\n`` only."""
    if "b" not in mode:
        options["newline"] = "\n"
    return open(file, mode, *arguments, **options)


def _mend_raw_text(module):
    module.open = open_text


def _mend_interactive(module):
    original = module.buffered_read

    def hook_encoded(encoding, errors=None):
        return functools.partial(open_text, encoding=encoding, errors=errors)

    @functools.wraps(original)
    def buffered_read(input, buffer_size):
        if input == "-":
            _end_lines_of_standard_input()
        yield from original(input, buffer_size)

    module.fileinput = Overlay(module.fileinput, hook_encoded=hook_encoded)
    module.buffered_read = buffered_read


def _end_lines_of_standard_input():
    # Refused once something has been read; what is no file, as a program may put in its place, has no such method.
    with contextlib.suppress(io.UnsupportedOperation, AttributeError):
        sys.stdin.reconfigure(newline="\n")


def _mend_hub(module):
    original = module.GeneratorHubInterface.score

    @functools.wraps(original)
    def score(self, sentences, replace_newline_with_eos=False, **options):
        if replace_newline_with_eos:
            sentences = _Text(sentences) if isinstance(sentences, str) else [_Text(sentence) for sentence in sentences]
        return original(self, sentences, replace_newline_with_eos, **options)

    module.GeneratorHubInterface.score = score


class _Text(str):
    """Text that splits into lines at their ends."""

    def splitlines(self):
        lines = self.split("\n")
        return lines if lines[-1] else lines[:-1]


def _mend_score(module):
    original = module.cli_main

    @functools.wraps(original)
    def cli_main():
        counts = []
        module.open = functools.partial(_open_counted, counts)
        if module.get_parser().parse_args().sys == "-":
            _end_lines_of_standard_input()
            module.sys = Overlay(sys, stdin=_counted(counts, "standard input", sys.stdin))
        return original()

    module.cli_main = cli_main


def _open_counted(counts, path, *arguments, **options):
    with open_text(path, *arguments, **options) as file:
        return _counted(counts, path, file)


def _counted(counts, name, file):
    """The text of ``file``, whose lines are counted and compared with those of the file before."""
    text = io.StringIO(file.read(), newline="\n")
    counts.append((sum(1 for _ in text), name))
    text.seek(0)
    if len({count for count, _ in counts}) > 1:
        given = " and ".join(f"{name} has {count} lines" for count, name in counts)
        raise user_error(f"{given}: line n of one must belong to line n of the other; give files of equal length")
    return text


_MENDS = {
    "fairseq.data.indexed_dataset": _mend_raw_text,
    "fairseq.hub_utils": _mend_hub,
    "fairseq_cli.interactive": _mend_interactive,
    "fairseq_cli.score": _mend_score,
}
