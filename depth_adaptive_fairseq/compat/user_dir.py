"""``--user-dir NAME`` finds an installed package only from some directories.

Concerns: fairseq 0.12.2, which looks for a folder in the current directory and beside itself. A
package that is importable from elsewhere (an editable install) is not found, one that has been
imported already is refused as ``not globally unique``, and ``fairseq-hydra-train`` fills in the
defaults of a plugin's task and model before it has imported the plugin.
No longer needed when: ``fairseq-train --user-dir NAME`` works from any directory.
"""

import argparse
import functools
import importlib.util
import os
import sys

from .user_errors import user_error

MODULES = ("fairseq.utils", "fairseq.dataclass.initialize")


def after(module):
    if module.__name__ == "fairseq.utils":
        _mend_import(module)
    else:
        _mend_hydra_defaults(module)


def _mend_import(module):
    original = module.import_user_module

    @functools.wraps(original)
    def import_user_module(args):
        user_dir = getattr(args, "user_dir", None)
        if user_dir is None:
            return
        folder = locate(user_dir)
        if folder is None:
            raise user_error(
                f"--user-dir {user_dir}: there is neither a folder nor an installed package of "
                "that name; give a path, or install the package into the environment of "
                f"{sys.executable}",
                FileNotFoundError,
            )
        original(argparse.Namespace(user_dir=folder))

    module.import_user_module = import_user_module


def locate(user_dir):
    """The folder that ``--user-dir`` names, as a path under which fairseq accepts it, or None.

    A name that is no path means the package of that name: the one imported already, else a
    package in the current directory, else an installed one. A folder of that name without an
    ``__init__.py`` (a clone of the whole repository, say) does not hide an installed package.
    """
    bare = user_dir.isidentifier()
    loaded = sys.modules.get(os.path.basename(os.path.abspath(user_dir)))
    for folder in getattr(loaded, "__path__", ()):
        if bare or os.path.exists(user_dir) and os.path.samefile(folder, user_dir):
            return folder
    if bare and not os.path.isfile(os.path.join(user_dir, "__init__.py")):
        spec = importlib.util.find_spec(user_dir)
        if spec and spec.origin and spec.submodule_search_locations:
            return spec.submodule_search_locations[0]
    if os.path.exists(user_dir) or _beside_fairseq(user_dir):
        return user_dir
    return None


def _beside_fairseq(user_dir):
    fairseq = os.path.dirname(sys.modules["fairseq.utils"].__file__)
    return any(os.path.exists(os.path.join(fairseq, up, user_dir)) for up in ("", ".."))


def _mend_hydra_defaults(module):
    original = module.add_defaults

    @functools.wraps(original)
    def add_defaults(cfg):
        common = cfg.get("common")
        if common is not None:
            sys.modules["fairseq.utils"].import_user_module(common)
        original(cfg)

    module.add_defaults = add_defaults
