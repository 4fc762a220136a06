"""Calls the C++ library beside this file: ``kernels.cpp``, compiled once for each instruction set when the package is installed.

Where there is none, for want of a compiler or on a processor that no copy fits, PyTorch does the same more slowly.
"""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import List, Optional, Tuple
from weakref import finalize
from zlib import crc32

import numpy as np
from torch import Tensor, nn

# In the order of kernels.cpp's instruction_set().
INSTRUCTION_SETS = ("baseline", "avx2", "avx512", "amx")

_Pointer, _Integer, _Float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class BlockLayers(ctypes.Structure):
    """A block, as sublayers.h describes it."""

    _fields_ = [
        *(
            (name, _Pointer)
            for name in "query keys_values self_out cross_query cross_keys_values cross_out inner outer".split()
        ),
        *((f"{name}_norm_{part}", _Pointer) for name in ("self", "cross", "final") for part in ("weight", "bias")),
        *((f"{name}_norm_epsilon", _Float) for name in ("self", "cross", "final")),
        ("pre_norm", ctypes.c_int32),
        ("width", _Integer),
        ("heads", _Integer),
    ]


class Hypotheses(ctypes.Structure):
    """What all blocks know of the hypotheses, as decoder_block.h describes it."""

    _fields_ = [
        ("entries", _Pointer),
        ("length", _Integer),
        ("stride", _Integer),
        ("sentences", _Pointer),
        ("exit_states", _Pointer),
        ("lowest_exit", _Integer),
    ]


class BlockState(ctypes.Structure):
    """What a decoder block keeps and runs on, as decoder_block.h describes it."""

    _fields_ = [
        ("number", _Integer),
        ("rows", _Pointer),
        ("count", _Integer),
        ("hypotheses", ctypes.POINTER(Hypotheses)),
        *((name, _Pointer) for name in "prefix filled encoder_states source source_filled source_real".split()),
        ("source_length", _Integer),
        ("projected", _Integer),
        ("classified", _Integer),
    ]


class Classifier(ctypes.Structure):
    """An exit's classifier, as classifier.h describes it."""

    _fields_ = [("norm_weight", _Pointer), ("norm_bias", _Pointer), ("norm_epsilon", _Float), ("projection", _Pointer)]


class Choice(ctypes.Structure):
    """Which tokens are the best, as classifier.h describes it.

    Fields:
        suppressed, num_suppressed: tokens that must not follow, int64.
        penalized, penalty: a token that loses *penalty* behind the softmax.
        wanted: how many of the best.
    """

    _fields_ = [
        ("suppressed", _Pointer),
        ("num_suppressed", _Integer),
        ("penalized", _Integer),
        ("penalty", _Float),
        ("wanted", _Integer),
    ]


class SearchStep(ctypes.Structure):
    """What a whole step runs on, as search_step.h describes it."""

    _fields_ = [
        ("blocks", _Integer),
        ("width", _Integer),
        ("layers", ctypes.POINTER(BlockLayers)),
        ("states", ctypes.POINTER(BlockState)),
        ("classifiers", ctypes.POINTER(Classifier)),
        ("embedding", _Pointer),
        ("embedding_scale", _Float),
        ("position", _Pointer),
        ("first_entry", _Integer),
        ("fixed_exit", _Integer),
        ("halting_weights", ctypes.POINTER(_Pointer)),
        ("halting_biases", ctypes.POINTER(_Float)),
        ("thresholds", ctypes.POINTER(_Float)),
    ]


def _raise_memory_error(result, function, arguments):
    if not result:
        raise MemoryError("the decoding kernels could not get the memory that they need; decode smaller batches (--max-tokens)")
    return result


_FOUND = [ctypes.POINTER(Choice), _Pointer, _Pointer]  # what is wanted, scores, tokens
_SIGNATURES = {
    "instruction_set": ([], ctypes.c_int32),
    "sources": ([], _Integer),
    "set_threads": ([ctypes.c_int32], None),
    "linear_new": ([_Pointer, _Pointer, _Integer, _Integer, ctypes.c_int32], _Pointer),
    "linear_delete": ([_Pointer], None),
    "linear_apply": ([_Pointer, _Pointer, _Integer, _Pointer], ctypes.c_bool),
    "decoder_block_run": ([ctypes.POINTER(BlockLayers), ctypes.POINTER(BlockState), _Pointer], ctypes.c_bool),
    "encoder_block_run": ([ctypes.POINTER(BlockLayers), _Pointer, _Integer, _Integer, _Pointer], ctypes.c_bool),
    "choose_of_logits": ([_Pointer, _Integer, _Integer, *_FOUND], ctypes.c_bool),
    "choose_of_states": ([ctypes.POINTER(Classifier), _Pointer, _Integer, *_FOUND], ctypes.c_bool),
    "search_step_run": (
        [ctypes.POINTER(SearchStep), ctypes.POINTER(Hypotheses), _Pointer, _Integer, *_FOUND, _Pointer],
        ctypes.c_bool,
    ),
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


def set_threads(threads: int) -> None:
    """Let all kernels use so many threads from now on."""
    if library() is not None:
        library().set_threads(threads)


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
        if not all(hasattr(opened, function) for function in _SIGNATURES):
            continue  # compiled from older sources
        for function, (arguments, result) in _SIGNATURES.items():
            getattr(opened, function).argtypes = arguments
            getattr(opened, function).restype = result
            if result in (ctypes.c_bool, _Pointer):
                getattr(opened, function).errcheck = _raise_memory_error
        if opened.sources() == _sources():
            return opened
    return None


@lru_cache(maxsize=None)
def _sources() -> int:
    """What the library's function of that name gives when it was compiled from the files beside this one."""
    sources = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".h", ".cpp"))
    return crc32(b"".join(path.read_bytes() for path in sources))


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
        x = x.float().contiguous()  # autocast may have made it something else
        result = x.new_empty(*x.shape[:-1], self.outputs)
        self._apply(self.handle, x.data_ptr(), x.numel() // self.inputs, result.data_ptr())
        return result


def classifier(norm: Optional[nn.LayerNorm], projection: Linear) -> Classifier:
    """*norm* (or none) and *projection*, which the caller keeps alive."""
    if norm is None:
        return Classifier(projection=projection.handle)
    return Classifier(norm.weight.data_ptr(), norm.bias.data_ptr(), norm.eps, projection.handle)


def choice(wanted: int, suppressed: np.ndarray, penalized: int, penalty: float) -> Choice:
    """See :class:`Choice`; the caller keeps *suppressed*, int64, alive."""
    return Choice(suppressed.ctypes.data, suppressed.size, penalized, penalty, wanted)


def best_of_logits(kernels: ctypes.CDLL, logits: Tensor, choice: Choice) -> Tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and tokens of the best continuations, both ``(rows, wanted)``, sorted.

    Args:
        logits: ``(rows, V)``; those of suppressed and penalized tokens are overwritten.
    """
    logits = logits.float().contiguous()
    scores, tokens = room_for_best(logits.size(0), choice)
    kernels.choose_of_logits(logits.data_ptr(), *logits.shape, choice, scores.ctypes.data, tokens.ctypes.data)
    return scores, tokens


def best_of_states(
    kernels: ctypes.CDLL, classifier: Classifier, states: Tensor, choice: Choice
) -> Tuple[np.ndarray, np.ndarray]:
    """The same from h^n, ``(rows, width)``."""
    states = states.float().contiguous()
    scores, tokens = room_for_best(states.size(0), choice)
    kernels.choose_of_states(classifier, states.data_ptr(), states.size(0), choice, scores.ctypes.data, tokens.ctypes.data)
    return scores, tokens


def room_for_best(rows: int, choice: Choice) -> Tuple[np.ndarray, np.ndarray]:
    """Where scores and tokens are written to."""
    return np.empty((rows, choice.wanted), dtype=np.float32), np.empty((rows, choice.wanted), dtype=np.int64)
