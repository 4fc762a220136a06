"""Checkpoints do not load: ``Weights only load failed ... argparse.Namespace``.

Concerns: PyTorch >= 2.6, whose loader admits nothing but tensors and plain containers unless told
otherwise, with fairseq 0.12.2, whose checkpoints hold an ``argparse.Namespace`` and sometimes
NumPy numbers, and whose distributed workers send each other a small class of fairseq's.

The loader stays the safe one, whatever the environment variables of PyTorch say: these few types
are allowed, which hold data and run nothing, and stand-ins for a few more (see
``checkpoint_objects``). A file with anything else in it is refused before any of its code could
run, and files that are no checkpoints get a sentence instead of a traceback.
No longer needed when: fairseq loads its own checkpoints with ``weights_only=True``.
"""

import argparse
import functools
import pickle
import re
import threading

from .checkpoint_objects import STAND_INS, Unfit, restore
from .checkpoint_structure import misfit
from .overlay import Overlay
from .user_errors import user_error

MODULES = ("fairseq.checkpoint_utils", "fairseq.distributed.utils")

ALLOWED = (
    "tensors, plain containers, numbers and strings, argparse.Namespace, NumPy's numbers, fairseq's "
    "Dictionary and omegaconf's containers, as fairseq writes them"
)

# The stand-ins are allowed while one file is read.
_LOCK = threading.Lock()

# A file that PyTorch can read is a checkpoint of fairseq's if it holds one of these, now or long ago.
_HISTORY = {"optimizer_history", "best_loss"}


def after(module):
    """Make ``torch.load``, as this module sees it, safe and its errors readable."""
    torch = module.torch
    if module.__name__ == "fairseq.distributed.utils":
        torch.serialization.add_safe_globals([module._TensorPlaceholder])
        module.torch = Overlay(torch, load=functools.partial(load_data, torch))
        _mend_broadcast(module)
        return
    torch.serialization.add_safe_globals([argparse.Namespace, *_numpy_types()])
    module.torch = Overlay(torch, load=functools.partial(_load, torch))


def _numpy_types():
    """What NumPy numbers and arrays in a checkpoint are made of, under their old and new names."""
    import numpy

    core = getattr(numpy, "_core", None) or numpy.core
    makers = (core.multiarray.scalar, core.multiarray._reconstruct)
    named = [
        (maker, f"{package}.multiarray.{maker.__name__}")
        for maker in makers
        for package in ("numpy.core", "numpy._core")
    ]
    dtypes = {type(numpy.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [*named, numpy.ndarray, numpy.dtype, *dtypes]


def _load(torch, file, *arguments, **options):
    """``torch.load`` for a checkpoint of fairseq's, safe.

    Raises:
        ValueError: a user error; as ``load_data``, or the file is no such checkpoint
    """
    state = load_data(torch, file, *arguments, **options)
    if not (isinstance(state, dict) and "model" in state and _HISTORY.intersection(state)):
        raise not_a_checkpoint(_name(file))
    reason = misfit(state)
    if reason:
        raise user_error(f"cannot use checkpoint {_name(file)}: {reason}, so fairseq did not write it; take another one")
    return state


def load_data(torch, file, *arguments, **options):
    """``torch.load``, safe.

    Raises:
        ValueError: a user error; the file holds something else than what ``ALLOWED`` says, or is truncated or damaged
    """
    options["weights_only"] = True
    try:
        with _LOCK, torch.serialization.safe_globals(STAND_INS):
            state = torch.load(file, *arguments, **options)
        return restore(state)
    except Unfit as error:
        raise user_error(f"refused to load checkpoint {_name(file)}: it holds {error}") from error
    except pickle.UnpicklingError as error:
        offender = _offender(str(error))
        if offender is None:
            raise not_a_checkpoint(_name(file)) from error
        raise user_error(
            f"refused to load checkpoint {_name(file)}: it holds {offender}, but only {ALLOWED}, are "
            "allowed, so that no code of the file's can run; if you trust its origin, have it "
            "saved anew without that object"
        ) from error
    except Exception as error:  # whatever a damaged file leads PyTorch's loader to: a list of kinds is never complete
        if isinstance(error, OSError) and error.filename is not None:
            raise  # not about what is in the file
        raise not_a_checkpoint(_name(file)) from error


def _name(file):
    return getattr(file, "name", file)


def _offender(message):
    """The function or class that PyTorch's message names, if it is about one."""
    found = re.search(r"(?:GLOBAL|class|function)\s+[`']?((?:\w+\.)+\w+)", message)
    return found and found.group(1)


def not_a_checkpoint(name):
    return user_error(
        f"cannot read checkpoint {name}: the file is truncated, damaged or not a fairseq "
        "checkpoint; take another one, for instance the last complete one in the same folder"
    )


def _mend_broadcast(module):
    """Keep the configuration of a checkpoint, which no other worker asks for, to the sender."""
    original = module.broadcast_object

    @functools.wraps(original)
    def broadcast_object(obj, *arguments, **options):
        if isinstance(obj, dict) and "optimizer_history" in obj:
            obj = {**obj, "cfg": None}
        return original(obj, *arguments, **options)

    module.broadcast_object = broadcast_object
