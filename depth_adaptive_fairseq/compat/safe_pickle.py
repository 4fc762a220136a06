"""Pickles of fairseq's run whatever code they hold.

Concerns: fairseq 0.12.2, whose distributed workers send each other logging outputs as pickles, and whose examples keep data
sets in them. What is read here is plain values, NumPy's and PyTorch's arrays, and fairseq's description of a GPU; anything
else is refused before any of it could run. Used by ``safe_loaders``.
No longer needed when: ``grep -r 'pickle.load'`` finds nothing in the installed ``fairseq``.
"""

import collections
import io
import pickle

from .user_errors import user_error

_PLAIN = {
    ("builtins", name): getattr(__import__("builtins"), name)
    for name in ("bytearray", "complex", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple")
}
_PLAIN["collections", "OrderedDict"] = collections.OrderedDict
_PLAIN["collections", "Counter"] = collections.Counter
_PLAIN["collections", "defaultdict"] = collections.defaultdict

# Looked up by name, because these modules are loaded before fairseq's or are not needed at all.
_NAMED = {
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "device"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("fairseq.utils", "CudaEnvironment"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "scalar"), ("multiarray", "_reconstruct"), ("numeric", "_frombuffer"))
    ),
}


class Unpickler(pickle.Unpickler):
    """Python's unpickler for data alone."""

    def find_class(self, module, name):
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _storage
        if (module, name) in _NAMED:
            return super().find_class(module, name)
        raise user_error(
            f"refused to unpickle {module}.{name}: only plain values and arrays of numbers are allowed, so that no code can run",
            pickle.UnpicklingError,
        )


def _storage(content):
    """The storage of a tensor; PyTorch's own function of that purpose uses its unsafe loader."""
    import torch

    return torch.load(io.BytesIO(content), weights_only=True)


def load(file, **options):
    """``pickle.load`` for data alone.

    Raises:
        pickle.UnpicklingError: a user error; the pickle holds something else
    """
    return Unpickler(file, **options).load()


def loads(content, **options):
    """``pickle.loads`` for data alone."""
    return load(io.BytesIO(content), **options)
