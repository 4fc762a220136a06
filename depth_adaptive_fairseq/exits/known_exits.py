"""Exits that are known before the first block runs: one for all tokens, drawn, or predicted for the sentence.

Each function takes a rule and a batch's sources, and gives a function from rows' prefixes and sentences to their exits (see
``policy.Policy``).
"""

from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from depth_adaptive_fairseq.exits.policy import ExitRule
from depth_adaptive_fairseq.exits.statistics import mean_over_members

ExitsOfRows = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class SourceBatch:
    """What a policy may know about the sentences before decoding starts.

    Attributes:
        tokens: source tokens, ``(sentences, src_len)``.
        padding_idx: the padding token.
        encoder_outs: each ensemble member's encoder output, in fairseq's form.
    """

    tokens: np.ndarray
    padding_idx: int
    encoder_outs: Sequence[dict] = ()


def last_exit(rule: ExitRule, source: SourceBatch) -> ExitsOfRows:
    """Every token runs all blocks."""
    return lambda prefixes, sentences: np.full(len(sentences), rule.num_exits)


def given_exit(rule: ExitRule, source: SourceBatch) -> ExitsOfRows:
    """Every token leaves at the exit that was given."""
    return lambda prefixes, sentences: np.full(len(sentences), rule.value)


def drawn_exits(rule: ExitRule, source: SourceBatch) -> ExitsOfRows:
    """Every token leaves at an exit drawn uniformly from 1..N (the "Uniform" column of Table 1).

    The draw is a hash of the seed, the sentence's source tokens and the hypothesis' prefix: it does not depend on the
    batch that a sentence is in, nor on the order in which anything is computed.
    """
    of_sentences = _hash_tokens(source.tokens, source.tokens != source.padding_idx, rule.value)

    def exits(prefixes: np.ndarray, sentences: np.ndarray) -> np.ndarray:
        keys = _splitmix64(of_sentences[sentences] ^ _hash_tokens(prefixes, np.ones_like(prefixes, dtype=bool), rule.value + 1))
        return (keys >> _U(16) & _U(0x7FFFFFFF)).astype(np.int64) % rule.num_exits + 1

    return exits


def predicted_exits(rule: ExitRule, source: SourceBatch) -> ExitsOfRows:
    """One exit for the whole sentence, the most probable one given the mean encoder output (Eq. 8)."""
    distributions = [
        classifier.logits(encoder_out).softmax(dim=-1) for classifier, encoder_out in zip(rule.halting, source.encoder_outs)
    ]
    exits = (mean_over_members(distributions).argmax(dim=-1) + 1).cpu().numpy()
    return lambda prefixes, sentences: exits[sentences]


_U = np.uint64
_GOLDEN_GAMMA, _MIX_1, _MIX_2 = _U(0x9E3779B97F4A7C15), _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)


def _splitmix64(keys: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: spreads every bit of 64-bit *keys* over all bits of the result."""
    keys = (keys ^ (keys >> _U(30))) * _MIX_1
    keys = (keys ^ (keys >> _U(27))) * _MIX_2
    return keys ^ (keys >> _U(31))


def _hash_tokens(tokens: np.ndarray, attended: np.ndarray, seed: int) -> np.ndarray:
    """One 64-bit key for each row's sequence of tokens, whatever the padding around them, ``(rows,)``.

    Args:
        attended: False at padding.
    """
    position = attended.cumsum(axis=1).astype(_U)  # counts tokens only, so left padding does not matter
    mixed = _splitmix64((tokens + 1).astype(_U) * _GOLDEN_GAMMA + position * _MIX_1 + _modulo_2_64(seed * int(_MIX_2)))
    return _splitmix64((mixed * attended).sum(axis=1, dtype=_U) + _modulo_2_64(seed * int(_GOLDEN_GAMMA)))


def _modulo_2_64(value: int) -> np.uint64:
    return _U(value % 2**64)
