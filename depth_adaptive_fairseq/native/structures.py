"""The structures that the kernels are given, as their headers describe them. ``loading`` compares the two."""

import ctypes
from enum import IntEnum
from typing import Iterable, Optional, Sequence

import numpy as np
from torch import Tensor

_Pointer, _Integer, _Number, _Float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float


class Activation(IntEnum):
    """Between the two feed-forward layers of a block."""

    RELU = 0


class Statistic(IntEnum):
    """What an exit rule looks at behind each block.

    Statistics of an exit's prediction are of the plain softmax in float32, before penalties and suppressed tokens.
    """

    KNOWN_EXITS = 0
    LARGEST_PROBABILITY = 1
    ENTROPY = 2
    """In nats."""
    MARGIN = 3
    """The best minus the second-best probability."""
    COSINE = 4
    """Of h^n and h^{n-1}, from exit 2 on; within [-1, 1]."""
    AGREEMENT = 5
    """Exits in a row, this one included, that predict the same token; the lowest of equally probable ones, as torch.argmax."""
    CHI = 6
    """sigmoid(w h^n + b) (Eq. 12)."""
    PREDICTED_EXIT = 7
    """argmax of W h^1 + b (Eq. 11), from 1 to N, the same at every exit; the lowest of equally probable ones."""


class Comparison(IntEnum):
    """How an exit rule compares its statistic with the threshold of an exit."""

    ABOVE = 0
    BELOW = 1
    AT_LEAST = 2
    AT_MOST = 3


class BlockLayers(ctypes.Structure):
    """A block (sublayers.h)."""

    _fields_ = [
        *(
            (name, _Pointer)
            for name in "query keys_values self_out cross_query cross_keys_values cross_out inner outer".split()
        ),
        *((f"{name}_norm_{part}", _Pointer) for name in ("self", "cross", "final") for part in ("weight", "bias")),
        *((f"{name}_norm_epsilon", _Float) for name in ("self", "cross", "final")),
        ("pre_norm", _Number),
        ("activation", _Number),
        ("width", _Integer),
        ("heads", _Integer),
    ]


class Hypotheses(ctypes.Structure):
    """What all blocks know of the hypotheses (decoder_block.h)."""

    _fields_ = [
        ("entries", _Pointer),
        ("length", _Integer),
        ("stride", _Integer),
        ("sentences", _Pointer),
        ("exit_states", _Pointer),
        ("lowest_exit", _Integer),
    ]


class BlockState(ctypes.Structure):
    """What a decoder block keeps and runs on (decoder_block.h)."""

    _fields_ = [
        ("number", _Integer),
        ("rows", _Pointer),
        ("count", _Integer),
        ("hypotheses", ctypes.POINTER(Hypotheses)),
        *((name, _Pointer) for name in "prefix filled encoder_states source source_filled source_attended".split()),
        ("source_length", _Integer),
        ("projected", _Integer),
        ("classified", _Integer),
    ]


class Classifier(ctypes.Structure):
    """An exit's classifier (classifier.h)."""

    _fields_ = [("norm_weight", _Pointer), ("norm_bias", _Pointer), ("norm_epsilon", _Float), ("projection", _Pointer)]


class CandidateOptions(ctypes.Structure):
    """Which continuations of a row are candidates of the beam (candidates.h).

    Fields:
        suppressed, num_suppressed: tokens that must not follow, int64.
        penalized, penalty: a token that loses *penalty* behind the softmax.
        count: candidates a row, 2 x beam.
    """

    _fields_ = [
        ("suppressed", _Pointer),
        ("num_suppressed", _Integer),
        ("penalized", _Integer),
        ("penalty", _Float),
        ("count", _Integer),
    ]

    @classmethod
    def of(cls, count: int, suppressed: np.ndarray, penalized: int, penalty: float) -> "CandidateOptions":
        """*suppressed* becomes int64, and is kept alive."""
        suppressed = np.ascontiguousarray(suppressed, dtype=np.int64)
        options = cls(suppressed.ctypes.data, suppressed.size, penalized, penalty, count)
        options.keeps = suppressed
        return options


class ExitRule(ctypes.Structure):
    """When a row leaves: at the first n < N where ``statistic comparison thresholds[n - 1]`` holds, else at N (exit_rule.h).

    With known exits, at the one that ``run_search_step`` is given for it. What is not a number never leaves.
    """

    _fields_ = [
        ("statistic", _Number),
        ("comparison", _Number),
        ("thresholds", ctypes.POINTER(_Float)),
        ("weights", ctypes.POINTER(_Pointer)),
        ("biases", ctypes.POINTER(_Float)),
    ]

    @classmethod
    def of(
        cls,
        statistic: Statistic,
        comparison: Comparison = Comparison.ABOVE,
        thresholds: Sequence[float] = (),
        weights: Sequence[Tensor] = (),
        biases: Sequence[float] = (),
    ) -> "ExitRule":
        """A rule that keeps alive what it points to.

        Args:
            thresholds: of exits 1 .. N-1.
            weights: contiguous float32, each ``(width,)``; chi: of exits 1 .. N-1; predicted exit: of classes 1 .. N.
            biases: as many.
        """
        rule = cls(
            statistic,
            comparison,
            _array(_Float, map(float, thresholds)),
            _array(_Pointer, (weight.data_ptr() for weight in weights)),
            _array(_Float, map(float, biases)),
        )
        rule.keeps = weights
        return rule


def _array(kind: type, values: Iterable) -> Optional[ctypes.Array]:
    values = list(values)
    return (kind * len(values))(*values) if values else None


class SearchStep(ctypes.Structure):
    """What a whole step runs on (search_step.h)."""

    _fields_ = [
        ("blocks", _Integer),
        ("width", _Integer),
        ("layers", ctypes.POINTER(BlockLayers)),
        ("states", ctypes.POINTER(BlockState)),
        ("classifiers", ctypes.POINTER(Classifier)),
        ("rule", ctypes.POINTER(ExitRule)),
        ("embedding", _Pointer),
        ("embedding_scale", _Float),
        ("position", _Pointer),
        ("first_entry", _Integer),
    ]


STRUCTURES = (BlockLayers, Hypotheses, BlockState, Classifier, CandidateOptions, ExitRule, SearchStep)


def disagreement(library_layouts: str, structures: Optional[Sequence[type]] = None) -> Optional[str]:
    """Where *structures* (None: all) are laid out otherwise than in the library, or None.

    Args:
        library_layouts: what its function ``layouts`` gives: a line for each structure, with its name and size, and the name,
            offset and size of each field.
    """
    ours = {structure.__name__: _layout(structure) for structure in structures or STRUCTURES}
    theirs = {line.split()[0]: line for line in library_layouts.splitlines()}
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            return f"{name} is here ({ours.get(name, 'missing')}), there ({theirs.get(name, 'missing')})"
    return None


def _layout(structure: type) -> str:
    fields = [(name, getattr(structure, name)) for name, *_ in structure._fields_]
    parts = [f"{name} {field.offset} {field.size}" for name, field in fields]
    return " ".join([structure.__name__, str(ctypes.sizeof(structure)), *parts])
