"""Finds the compiled copies of the kernels, and calls none that was not made for what is here.

Each copy is for one instruction set. The environment variable ``DEPTH_ADAPTIVE_KERNELS`` names the one to use, for tests and bug
reports, or says ``none``: then PyTorch does the work. Unset, the best that the processor has is used.
"""

import ctypes
import os
from functools import lru_cache
from pathlib import Path
from typing import List, NamedTuple, Optional
from zlib import crc32

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.native import structures
from depth_adaptive_fairseq.native.structures import (
    BlockLayers,
    BlockState,
    CandidateOptions,
    Classifier,
    Hypotheses,
    SearchStep,
)  # fmt: skip

# In the order of kernels.cpp's instruction_set().
INSTRUCTION_SETS = ("baseline", "avx2", "avx512", "amx")
VARIABLE = "DEPTH_ADAPTIVE_KERNELS"
NONE = "none"

_AGAIN = "install the package again where there is a C++ compiler"
_Pointer, _Integer, _Number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
_Outcome = type("_Outcome", (_Number,), {})  # of a call: see kernels.cpp
_OUT_OF_MEMORY = 1


def _to(structure: type) -> type:
    return ctypes.POINTER(structure)


_FOUND = [_to(CandidateOptions), _Pointer, _Pointer]  # which candidates, scores, tokens
_SIGNATURES = {
    "instruction_set": ([], _Number),
    "sources": ([], _Integer),
    "layouts": ([], ctypes.c_char_p),
    "last_failure": ([], ctypes.c_char_p),
    "set_threads": ([_Number], None),
    "workspace_new": ([_to(_Pointer)], _Outcome),
    "workspace_delete": ([_Pointer], None),
    "workspace_bytes": ([_Pointer], _Integer),
    "linear_new": ([_to(_Pointer), _Pointer, _Pointer, _Integer, _Integer, _Number], _Outcome),
    "linear_delete": ([_Pointer], None),
    "linear_apply": ([_Pointer, _Pointer, _Pointer, _Integer, _Pointer], _Outcome),
    "decoder_block_run": ([_Pointer, _to(BlockLayers), _to(BlockState), _Pointer], _Outcome),
    "encoder_block_run": ([_Pointer, _to(BlockLayers), _Pointer, _Integer, _Integer, _Pointer], _Outcome),
    "candidates_of_logits": ([_Pointer, _Pointer, _Integer, _Integer, *_FOUND], _Outcome),
    "candidates_of_states": ([_Pointer, _to(Classifier), _Pointer, _Integer, *_FOUND], _Outcome),
    "search_step_run": (
        [_Pointer, _to(SearchStep), _to(Hypotheses), _Pointer, _Pointer, _Integer, *_FOUND, _Pointer],
        _Outcome,
    ),
}  # fmt: skip


class Copy(NamedTuple):
    """A compiled copy that may be called, or why there is none."""

    library: Optional[ctypes.CDLL]
    reason: Optional[str] = None


def available() -> List[str]:
    """The instruction sets that a copy may be called for and that this processor has, the best last."""
    baseline = find(INSTRUCTION_SETS[0]).library
    if baseline is None:
        return []
    return [name for name in INSTRUCTION_SETS[: baseline.instruction_set() + 1] if find(name).library is not None]


@lru_cache(maxsize=None)
def chosen() -> Copy:
    """The copy that decodes: the one that ``DEPTH_ADAPTIVE_KERNELS`` names, else the best that this processor can run.

    Raises:
        DepthAdaptiveError: the variable names one that is not there.
    """
    asked, names = os.environ.get(VARIABLE), available()
    if asked == NONE:
        return Copy(None, f"{VARIABLE} is {NONE}")
    if not asked:
        return find(names[-1] if names else INSTRUCTION_SETS[0])
    if asked not in names:
        allowed = ", ".join([*names, NONE])
        raise DepthAdaptiveError(
            f"{VARIABLE}={asked} was given, but on this processor the kernels are there for {allowed}; "
            "give one of these, or unset the variable to use the best."
        )
    return find(asked)


@lru_cache(maxsize=None)
def find(name: str) -> Copy:
    """The copy for the instruction set *name*, whether or not this processor has it."""
    reason = f"no kernels were compiled for {name}; {_AGAIN}"
    for path in sorted(Path(__file__).parent.glob(f"_kernels_{name}.*so")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:  # of another platform or Python
            continue
        wrong = _what_is_wrong_with(library)
        if wrong is None:
            return Copy(library)
        reason = f"the kernels for {name} {wrong}; {_AGAIN}"
    return Copy(None, reason)


def name_of(library: ctypes.CDLL) -> str:
    """The instruction set that a copy is for."""
    return Path(library._name).name.partition(".")[0].removeprefix("_kernels_")


def _what_is_wrong_with(library: ctypes.CDLL) -> Optional[str]:
    """Why *library* must not be called, or None; then it is ready to be."""
    older = "were compiled from other sources than these"
    if not all(hasattr(library, function) for function in _SIGNATURES):
        return older
    for function, (arguments, result) in _SIGNATURES.items():
        getattr(library, function).argtypes = arguments
        getattr(library, function).restype = result
        if result is _Outcome:
            getattr(library, function).errcheck = _raising_for(library)
    if library.sources() != _sources():
        return older
    drifted = structures.disagreement(library.layouts().decode())
    return None if drifted is None else f"have structures that are laid out otherwise than those of this package: {drifted}"


def _raising_for(library: ctypes.CDLL):
    def check(outcome, function, arguments):
        if outcome.value == 0:
            return None
        if outcome.value == _OUT_OF_MEMORY:
            raise MemoryError(
                "the decoding kernels could not get the memory that they need; decode smaller batches (--max-tokens)"
            )
        raise RuntimeError(f"the decoding kernels failed: {library.last_failure().decode(errors='replace')}")

    return check


@lru_cache(maxsize=None)
def _sources() -> int:
    """What the library's function of that name gives when it was compiled from the files beside this one."""
    sources = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".h", ".cpp"))
    return crc32(b"".join(path.read_bytes() for path in sources))
