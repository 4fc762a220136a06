"""Runs at interpreter start, from ``depth_adaptive_fairseq.pth`` beside it in site-packages.

fairseq's console scripts import fairseq before they look at ``--user-dir``, and fairseq cannot be
imported as it is. So something has to stand ready before any of the project's code is asked for.
It must cost next to nothing in programs that never touch fairseq: this module imports ``sys``
alone and watches for a handful of names. The rest, ``depth_adaptive_fairseq.compat``, is loaded
when one of them is first imported.

The package ``depth_adaptive_fairseq`` itself is not imported: it registers models and tasks with
fairseq, which ``--user-dir`` wants to do itself.
"""

import sys

# What some mend is for; "_pytest" because hydra is a plugin of pytest's.
_WATCHED = frozenset(("_pytest", "antlr4", "fairseq", "fairseq_cli", "hydra"))
_COMPAT = "depth_adaptive_fairseq.compat"


class FirstImport:
    """A finder that finds nothing; it hands over to the compatibility layer and retires."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in _WATCHED:
            return None
        if cls in sys.meta_path:
            sys.meta_path.remove(cls)
        compat = _load_compat()
        return compat and compat.install().find_spec(name, path, target)


def _load_compat():
    """Load the sub-package by itself; None when the project is no longer there."""
    if _COMPAT in sys.modules:
        return sys.modules[_COMPAT]
    import os
    from importlib import util

    package = util.find_spec(_COMPAT.partition(".")[0])
    for folder in package and package.submodule_search_locations or ():
        source = os.path.join(folder, "compat", "__init__.py")
        if os.path.isfile(source):
            spec = util.spec_from_file_location(_COMPAT, source)
            module = sys.modules[_COMPAT] = util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None


sys.meta_path.insert(0, FirstImport)
