"""Calls the C++ library beside this file: ``kernels.cpp``, compiled once for each instruction set when the package is installed.

Where there is none, for want of a compiler or on a processor that no copy fits, PyTorch does the same more slowly.
"""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import List, Optional, Tuple
from weakref import finalize

import numpy as np
from torch import Tensor

# In the order of kernels.cpp's instruction_set().
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")

_Pointer, _Integer, _Float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class BlockLayers(ctypes.Structure):
    """A decoder block, as block.h describes it."""

    _fields_ = [
        *((name, _Pointer) for name in ("query", "keys_values", "self_out", "cross_query", "cross_out", "inner", "outer")),
        *((f"{name}_norm_{part}", _Pointer) for name in ("self", "cross", "final") for part in ("weight", "bias")),
        *((f"{name}_norm_epsilon", _Float) for name in ("self", "cross", "final")),
        ("pre_norm", ctypes.c_int32),
        ("width", _Integer),
        ("heads", _Integer),
    ]


class BlockState(ctypes.Structure):
    """What a block runs on, as block.h describes it."""

    _fields_ = [
        ("rows", _Pointer),
        ("count", _Integer),
        ("entries", _Pointer),
        ("length", _Integer),
        ("stride", _Integer),
        *((name, _Pointer) for name in ("prefix", "filled", "exit_states", "sentences", "source", "source_real")),
        ("source_length", _Integer),
        ("projected", _Integer),
    ]


_ROWS = [_Pointer, _Integer, _Integer]
_SIGNATURES = {
    "instruction_set": ([], ctypes.c_int32),
    "set_threads": ([ctypes.c_int32], None),
    "linear_new": ([_Pointer, _Pointer, _Integer, _Integer, ctypes.c_int32], _Pointer),
    "linear_delete": ([_Pointer], None),
    "linear_apply": ([_Pointer, _Pointer, _Integer, _Pointer], None),
    "block_run": ([ctypes.POINTER(BlockLayers), ctypes.POINTER(BlockState), _Pointer], None),
    "best_tokens_of_rows": ([*_ROWS, _Pointer, _Integer, _Integer, _Float, _Integer, _Pointer, _Pointer], None),
}


def available() -> List[str]:
    """The instruction sets that a copy of the library exists for and that this processor has, the best last."""
    found = []
    best = 0
    for number, name in enumerate(INSTRUCTION_SETS):
        library = _open(name) if number <= best else None
        if number == 0 and library is not None:
            best = library.instruction_set()
        if library is not None:
            found.append(name)
    return found


@lru_cache(maxsize=None)
def library() -> Optional[ctypes.CDLL]:
    """The best copy that this processor can run, or None."""
    names = available()
    return load(names[-1]) if names else None


def load(name: str) -> ctypes.CDLL:
    """The copy for the instruction set *name*.

    Raises:
        OSError: there is none.
    """
    found = _open(name)
    if found is None:
        raise OSError(f"no kernels were compiled for {name}; install the package again where there is a C++ compiler")
    return found


@lru_cache(maxsize=None)
def _open(name: str) -> Optional[ctypes.CDLL]:
    for path in sorted(Path(__file__).parent.glob(f"_kernels_{name}.*so")):
        try:
            opened = ctypes.CDLL(str(path))
        except OSError:  # of another platform or Python
            continue
        for function, (arguments, result) in _SIGNATURES.items():
            getattr(opened, function).argtypes = arguments
            getattr(opened, function).restype = result
        return opened
    return None


class Linear:
    """``x W^T + b`` in float32, or with int8 weights.

    Args:
        weight: ``(outputs, inputs)``, float32; copied.
        bias: ``(outputs,)``, or None.
        int8: symmetric int8 weights with a scale for each output, and inputs quantised as they come, a scale for each row.
    """

    def __init__(self, weight: Tensor, bias: Optional[Tensor], int8: bool, kernels: ctypes.CDLL):
        weight = weight.detach().float().contiguous()
        bias = None if bias is None else bias.detach().float().contiguous()
        self.outputs, self.inputs = weight.shape
        self._apply = kernels.linear_apply
        address = None if bias is None else bias.data_ptr()
        self.handle = kernels.linear_new(weight.data_ptr(), address, self.outputs, self.inputs, int8)
        finalize(self, kernels.linear_delete, self.handle)

    def __call__(self, x: Tensor) -> Tensor:
        """From ``(..., inputs)`` to ``(..., outputs)``."""
        x = x.contiguous()
        result = x.new_empty(*x.shape[:-1], self.outputs)
        self._apply(self.handle, x.data_ptr(), x.numel() // self.inputs, result.data_ptr())
        return result


def best_tokens(
    kernels: ctypes.CDLL, logits: Tensor, width: int, suppressed: Tensor, penalized: int, penalty: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and tokens of the *width* best continuations of each row, both ``(rows, width)``, sorted.

    Args:
        logits: ``(rows, V)``; those of suppressed and penalized tokens are overwritten.
        suppressed: tokens that must not follow, int64.
        penalized: a token that loses *penalty* behind the softmax.
    """
    logits = logits.contiguous()
    rows, vocabulary = logits.shape
    scores, tokens = np.empty((rows, width), dtype=np.float32), np.empty((rows, width), dtype=np.int64)
    kernels.best_tokens_of_rows(
        logits.data_ptr(), rows, vocabulary, suppressed.data_ptr(), suppressed.numel(), penalized, penalty,
        width, scores.ctypes.data, tokens.ctypes.data,
    )  # fmt: skip
    return scores, tokens
