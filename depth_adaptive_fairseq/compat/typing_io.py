"""``import hydra`` fails with ``No module named 'typing.io'``.

Concerns: Python >= 3.13 with antlr4-python3-runtime 4.8, which hydra-core 1.0 pins. The
runtime, and the parsers that it generated for hydra, import ``TextIO`` from ``typing.io``, a name
that Python 3.13 removed.
No longer needed when: ``grep -r typing.io`` finds nothing in the installed ``antlr4`` and
``hydra``.
"""

import sys
import types
import typing

MODULES = (
    "antlr4",
    "hydra.grammar.gen.OverrideLexer",
    "hydra.grammar.gen.OverrideParser",
)


def needed():
    return sys.version_info >= (3, 13)


class during:
    """Provide ``typing.io`` while one of these is imported, and take it away again."""

    def __init__(self, name):
        self._added = needed() and "typing.io" not in sys.modules

    def __enter__(self):
        if self._added:
            module = types.ModuleType("typing.io")
            module.TextIO = typing.TextIO
            sys.modules["typing.io"] = module

    def __exit__(self, *error):
        if self._added:
            del sys.modules["typing.io"]
