"""A checkpoint names a second file, and that file's code runs.

Concerns: fairseq 0.12.2, which has loaders besides the one for checkpoints: models that take pretrained parts, vocoders,
quantizers, data sets and examples call ``torch.load``, ``pickle.load``, ``numpy.load`` or ``joblib.load`` themselves.

Every module of fairseq's that calls a function of such a name sees these libraries with loaders that take data and run
nothing, whatever it passes them. For everyone else the libraries stay as they are.
No longer needed when: all loaders of fairseq read data only.
"""

import functools
import re
import types

from .overlay import Overlay, with_options
from .safe_checkpoints import load_data
from .safe_pickle import Unpickler, load, loads
from .user_errors import user_error

MODULES = ()
PACKAGES = ("fairseq", "fairseq_cli")

# A module that never says this is left with the libraries themselves, which are a little faster to look things up in.
_LOADING = re.compile(rb"\.(loads?|Unpickler|hub)\b")


def after(module):
    """Replace the libraries among the module's globals by their safe views, if it loads anything."""
    if not _mentions_loading(module):
        return
    for name, value in list(vars(module).items()):
        view = _VIEWS.get(getattr(value, "__name__", None)) if isinstance(value, types.ModuleType) else None
        if view and not isinstance(value, Overlay):
            setattr(module, name, view(value))


def _mentions_loading(module):
    try:
        with open(module.__file__, "rb") as source:
            return _LOADING.search(source.read()) is not None
    except (AttributeError, OSError, TypeError):
        return True  # no source to look at


def _safe_torch(torch):
    hub = Overlay(
        torch.hub,
        load=functools.partial(_refused, "torch.hub.load", "runs code from the network"),
        load_state_dict_from_url=with_options(torch.hub.load_state_dict_from_url, weights_only=True),
    )
    return Overlay(torch, load=functools.partial(load_data, torch), hub=hub)


def _safe_numpy(numpy):
    return Overlay(numpy, load=with_options(numpy.load, allow_pickle=False))


def _safe_pickle(pickle):
    return Overlay(pickle, load=load, loads=loads, Unpickler=Unpickler)


def _refusing(library):
    """A view whose loaders load nothing, for formats that cannot be read without running what is in them."""
    refused = {
        name: functools.partial(_refused, f"{library.__name__}.{name}", "runs whatever code the file holds")
        for name in ("load", "loads", "Unpickler", "open")
        if hasattr(library, name)
    }
    return Overlay(library, **refused)


_VIEWS = {
    "torch": _safe_torch,
    "numpy": _safe_numpy,
    "pickle": _safe_pickle,
    "_pickle": _safe_pickle,
    **dict.fromkeys(("cloudpickle", "dill", "joblib", "marshal", "shelve"), _refusing),
}


def _refused(name, reason, *arguments, **options):
    raise user_error(f"refused to call {name}{arguments!r}: it {reason}; load that by a program of your own if you trust it")
