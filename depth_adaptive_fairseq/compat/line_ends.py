"""A carriage return or U+2028 within a sentence ends it, and all sentences behind it are off by one.

Concerns: fairseq 0.12.2, which reads text with Python's universal newlines, where a lone carriage
return ends a line, and splits with ``str.splitlines``, which knows nine more ends:
fairseq-interactive and the hub interface's ``score`` with
``replace_newline_with_eos``. A line ends at ``\\n``. (What fairseq-preprocess, ``--dataset-impl raw`` and fairseq-score
read is for other mends: ``sentence_lines``, ``sacrebleu_scores``.)
No longer needed when: fairseq opens text with ``newline="\\n"`` and compares the numbers of lines.
"""

import contextlib
import functools
import io
import sys

from .overlay import Overlay
from .sentence_lines import open_text

MODULES = ("fairseq.hub_utils", "fairseq_cli.interactive")


def after(module):
    _MENDS[module.__name__](module)


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


_MENDS = {
    "fairseq.hub_utils": _mend_hub,
    "fairseq_cli.interactive": _mend_interactive,
}
