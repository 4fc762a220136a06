"""Applies mends to modules as they are imported.

A mend is a module with

``MODULES``         the names of the modules it concerns
``PACKAGES``        optional: packages, with all of their modules
``during(name)``    optional: a context manager held while such a module is executed
``after(module)``   optional: called once such a module has been executed

Neither is called for a module that is never imported.
"""

import contextlib
import sys
import threading


class MendingFinder:
    """A meta path finder that lets the others find a module, and mends what they found.

    Args:
        mends: modules as described above
    """

    def __init__(self, mends):
        self._mends = tuple(mends)
        self._names = {name for mend in mends for name in mend.MODULES}
        self._packages = {name for mend in mends for name in getattr(mend, "PACKAGES", ())}
        self._being_found = set()

    def find_spec(self, name, path=None, target=None):
        """The spec found by the next finder that knows ``name``; None if it needs no mending."""
        # The finder that waits for the first import (see startup/) asks this one, which has asked it.
        asked = (name, threading.get_ident())
        if asked in self._being_found or not self.concerns(name):
            return None
        self._being_found.add(asked)
        try:
            for finder in sys.meta_path:
                find_spec = getattr(finder, "find_spec", None)
                spec = find_spec and finder is not self and find_spec(name, path, target)
                if spec:
                    self._wrap_loader(spec)
                    return spec
        finally:
            self._being_found.remove(asked)
        return None

    def concerns(self, name):
        """Whether a mend is there for the module ``name``."""
        return name in self._names or name.partition(".")[0] in self._packages

    def mends_for(self, name):
        """The mends for the module ``name``, in their order."""
        package = name.partition(".")[0]
        return [mend for mend in self._mends if name in mend.MODULES or package in getattr(mend, "PACKAGES", ())]

    def apply_to_loaded(self):
        """Mend the modules that were imported before this finder was there."""
        for name, module in list(sys.modules.items()):
            if module is not None and self.concerns(name):
                for mend in self.mends_for(name):
                    _after(mend, module)

    def _wrap_loader(self, spec):
        # The loader keeps its class and its other methods, which hydra and runpy ask for.
        loader = spec.loader
        original = getattr(loader, "exec_module", None)
        if original is None:
            return

        def exec_module(module):
            if module.__name__ != spec.name:
                return original(module)
            vars(loader).pop("exec_module", None)
            mends = self.mends_for(spec.name)
            with contextlib.ExitStack() as stack:
                for mend in mends:
                    if hasattr(mend, "during"):
                        stack.enter_context(mend.during(spec.name))
                original(module)
            for mend in mends:
                _after(mend, module)

        loader.exec_module = exec_module


def is_mended(name):
    """Whether the finder that is in place has a mend for the module ``name``."""
    return any(isinstance(f, MendingFinder) and f.concerns(name) for f in sys.meta_path)


def _after(mend, module):
    if hasattr(mend, "after"):
        mend.after(module)


def install(load_mends):
    """Put a ``MendingFinder`` in front of the other finders, unless there is one already.

    Args:
        load_mends: called without arguments for the list of mends, if they are needed

    Returns:
        the finder that is in place
    """
    for finder in sys.meta_path:
        if isinstance(finder, MendingFinder):
            return finder
    finder = MendingFinder(load_mends())
    sys.meta_path.insert(0, finder)
    finder.apply_to_loaded()
    return finder
