"""Composing a configuration fails: ``'FileFinder' object has no attribute 'find_module'``.

Concerns: Python >= 3.12, which removed ``find_module`` and ``load_module``, with hydra-core 1.0,
which loads its own parts through them.
No longer needed when: ``grep find_module`` finds nothing in ``hydra/core/plugins.py``.
"""

import importlib
import pkgutil
import sys

from .overlay import Overlay

MODULES = ("hydra.core.plugins",)


def needed():
    return sys.version_info >= (3, 12)


class Importer:
    """The two methods that hydra asks for, on what does their work today."""

    def find_module(self, name):
        return self

    def load_module(self, name):
        return importlib.import_module(name)


def after(module):
    if needed():
        module.pkgutil = Overlay(pkgutil, walk_packages=walk_packages)


def walk_packages(*arguments, **options):
    for _, name, is_package in pkgutil.walk_packages(*arguments, **options):
        yield Importer(), name, is_package
