"""Calls the C++ library beside this file: ``kernels.cpp``, compiled once for each instruction set when the package is installed.

Where there is none, for want of a compiler or on a processor that no copy fits, PyTorch does the same more slowly, and
:func:`reason` says why. All functions here work in the calling thread's own :class:`Workspace`, and raise:

- ``MemoryError`` where there is not enough memory for a batch,
- ``RuntimeError`` with what the library says where anything else goes wrong.
"""

import ctypes
import threading
from typing import Optional, Tuple
from weakref import finalize

import numpy as np
from torch import Tensor, nn

from depth_adaptive_fairseq.native import loading
from depth_adaptive_fairseq.native.loading import INSTRUCTION_SETS, available  # noqa: F401
from depth_adaptive_fairseq.native.structures import (  # noqa: F401
    Activation,
    BlockLayers,
    BlockState,
    CandidateOptions,
    Classifier,
    Comparison,
    ExitRule,
    Hypotheses,
    SearchStep,
    Statistic,
)  # fmt: skip


def library() -> Optional[ctypes.CDLL]:
    """The copy that decodes, or None (see :func:`reason`).

    Raises:
        DepthAdaptiveError: ``DEPTH_ADAPTIVE_KERNELS`` names one that is not there.
    """
    return loading.chosen().library


def reason() -> Optional[str]:
    """Why :func:`library` gives None; None where it does not."""
    return loading.chosen().reason


def instruction_set() -> Optional[str]:
    """What :func:`library` was compiled for; None without one."""
    return None if library() is None else loading.name_of(library())


def load(name: str) -> ctypes.CDLL:
    """The copy for the instruction set *name*.

    Raises:
        OSError: there is none.
    """
    copy = loading.find(name)
    if copy.library is None:
        raise OSError(copy.reason)
    return copy.library


def set_threads(threads: int) -> None:
    """Let all kernels use so many threads from now on."""
    if library() is not None:
        library().set_threads(threads)


class Workspace:
    """The memory that calls of one thread work in; given back when nothing refers to it any more.

    Its room is what the largest call so far needed.
    """

    def __init__(self, library: ctypes.CDLL):
        self.handle = _made(library.workspace_new)
        self._bytes = library.workspace_bytes
        finalize(self, library.workspace_delete, self.handle)

    @property
    def bytes(self) -> int:
        """What it holds."""
        return self._bytes(self.handle)


_OF_THREAD = threading.local()


def workspace(library: ctypes.CDLL) -> Workspace:
    """The calling thread's own, as long as the thread lives."""
    spaces = _OF_THREAD.__dict__.setdefault("spaces", {})
    if library._name not in spaces:
        spaces[library._name] = Workspace(library)
    return spaces[library._name]


class Linear:
    """``x W^T + b`` in float32, or with int8 weights.

    Args:
        weight: ``(outputs, inputs)``, float32; copied.
        bias: ``(outputs,)``, or None.
        int8: symmetric int8 weights with a scale for each output, and inputs quantised as they come, a scale for each row.
        library: the copy of the kernels.
    """

    def __init__(self, weight: Tensor, bias: Optional[Tensor], int8: bool, library: ctypes.CDLL):
        weight = weight.detach().float().contiguous()
        bias = None if bias is None else bias.detach().float().contiguous()
        self.outputs, self.inputs = weight.shape
        self._library = library
        address = None if bias is None else bias.data_ptr()
        self.handle = _made(library.linear_new, weight.data_ptr(), address, self.outputs, self.inputs, int8)
        finalize(self, library.linear_delete, self.handle)

    def __call__(self, x: Tensor) -> Tensor:
        """From ``(..., inputs)`` to ``(..., outputs)``."""
        x = x.float().contiguous()  # autocast may have made it something else
        result = x.new_empty(*x.shape[:-1], self.outputs)
        space = workspace(self._library).handle
        self._library.linear_apply(space, self.handle, x.data_ptr(), x.numel() // self.inputs, result.data_ptr())
        return result


def _made(make, *arguments) -> int:
    handle = ctypes.c_void_p()
    make(ctypes.byref(handle), *arguments)
    return handle.value


def classifier(norm: Optional[nn.LayerNorm], projection: Linear) -> Classifier:
    """*norm* (or none) and *projection*, which the caller keeps alive."""
    if norm is None:
        return Classifier(projection=projection.handle)
    return Classifier(norm.weight.data_ptr(), norm.bias.data_ptr(), norm.eps, projection.handle)


def run_decoder_block(library: ctypes.CDLL, layers: BlockLayers, state: BlockState, hidden: Tensor) -> None:
    """Replace *hidden*, h^{n-1} of the rows of *state*, contiguous float32, ``(state.count, width)``, by h^n."""
    library.decoder_block_run(workspace(library).handle, layers, state, hidden.data_ptr())


def run_encoder_block(library: ctypes.CDLL, layers: BlockLayers, hidden: Tensor, attended: Optional[Tensor]) -> None:
    """Replace *hidden*, contiguous float32, ``(sentences, length, width)``, by the block's output.

    Args:
        attended: False at padding, ``(sentences, length)``, contiguous; or None. What comes out at padding means nothing.
    """
    address = None if attended is None else attended.data_ptr()
    library.encoder_block_run(workspace(library).handle, layers, hidden.data_ptr(), hidden.size(0), hidden.size(1), address)


def candidates_of_logits(
    library: ctypes.CDLL, logits: Tensor, options: CandidateOptions
) -> Tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and tokens of the best continuations, both ``(rows, options.count)``, sorted.

    Args:
        logits: ``(rows, V)``; those of suppressed and penalized tokens are overwritten.
    """
    logits = logits.float().contiguous()
    scores, tokens = _room_for_candidates(logits.size(0), options)
    where = (scores.ctypes.data, tokens.ctypes.data)
    library.candidates_of_logits(workspace(library).handle, logits.data_ptr(), *logits.shape, options, *where)
    return scores, tokens


def candidates_of_states(
    library: ctypes.CDLL, classifier: Classifier, states: Tensor, options: CandidateOptions
) -> Tuple[np.ndarray, np.ndarray]:
    """The same from h^n, ``(rows, width)``."""
    states = states.float().contiguous()
    scores, tokens = _room_for_candidates(states.size(0), options)
    where = (scores.ctypes.data, tokens.ctypes.data)
    library.candidates_of_states(workspace(library).handle, classifier, states.data_ptr(), states.size(0), options, *where)
    return scores, tokens


def run_search_step(
    library: ctypes.CDLL,
    step: SearchStep,
    hypotheses: Hypotheses,
    newest: np.ndarray,
    options: CandidateOptions,
    known_exits: Optional[np.ndarray] = None,
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A whole step: all blocks, exits by *step.rule*, and the candidates of each row.

    Args:
        newest: token of each row, ``(rows,)``.
        known_exits: of each row, from 1, ``(rows,)``; where the rule's statistic is ``KNOWN_EXITS``. A row whose exit is beyond
            the last leaves at the last.

    Returns:
        log-probabilities and tokens, both ``(rows, options.count)``, the best first; and the exit of each row, ``(rows,)``.
    """
    newest = np.ascontiguousarray(newest, dtype=np.int64)
    if known_exits is not None:
        known_exits = np.ascontiguousarray(known_exits, dtype=np.int64)
        assert known_exits.shape == newest.shape
    scores, tokens = _room_for_candidates(newest.size, options)
    exits = np.empty(newest.size, dtype=np.int64)
    library.search_step_run(
        workspace(library).handle, step, hypotheses, newest.ctypes.data, None if known_exits is None else known_exits.ctypes.data,
        newest.size, options, scores.ctypes.data, tokens.ctypes.data, exits.ctypes.data,
    )  # fmt: skip
    return scores, tokens, exits


def _room_for_candidates(rows: int, options: CandidateOptions) -> Tuple[np.ndarray, np.ndarray]:
    return np.empty((rows, options.count), dtype=np.float32), np.empty((rows, options.count), dtype=np.int64)
