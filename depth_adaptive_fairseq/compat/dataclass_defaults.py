"""``import fairseq`` fails with ``mutable default <class ...Config> for field ... is not allowed``.

Concerns: Python >= 3.11, whose dataclasses take a default value without a hash for mutable;
fairseq 0.12.2 and hydra-core 1.0 use instances of their own dataclasses as default values.
``default_factory`` would be no mend: fairseq reads ``.default`` of each field.
No longer needed when: fairseq and hydra import without it on Python 3.11.
"""

import contextlib
import dataclasses
import functools
import sys

# The modules that define a dataclass whose instances serve as default values.
MODULES = (
    "hydra.conf",
    "fairseq.dataclass.configs",
    "fairseq.models.transformer.transformer_config",
)


def needed():
    return sys.version_info >= (3, 11)


@contextlib.contextmanager
def during(name):
    """Give the dataclasses that ``name`` defines a hash, as they had no need of in Python 3.10."""
    if not needed():
        yield
        return
    original = dataclasses.dataclass

    @functools.wraps(original)
    def dataclass(cls=None, /, **options):
        if cls is None:
            return lambda cls: dataclass(cls, **options)
        if cls.__module__ == name and options.get("eq", True):
            options.setdefault("unsafe_hash", not options.get("frozen", False))
        return original(cls, **options)

    dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        dataclasses.dataclass = original
