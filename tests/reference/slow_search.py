"""Beam search for one sentence with plain lists, in the order of events of fairseq's ``SequenceGenerator``."""

import math
from dataclasses import dataclass, field
from typing import List, NamedTuple, Optional, Sequence

import torch

from tests.reference.slow_decoder import SlowDecoder


@dataclass(frozen=True)
class SlowHypothesis:
    """A prefix of a translation, or a whole one.

    Attributes:
        tokens: end of sentence included once it is whole, without the initial one.
        exits: of each token, from 1.
        scores: each token's (penalised) log-probability.
        score: of a whole translation, normalised.
    """

    tokens: List[int] = field(default_factory=list)
    exits: List[int] = field(default_factory=list)
    scores: List[float] = field(default_factory=list)
    score: float = math.nan

    @property
    def total(self) -> float:
        return sum(self.scores)


class SlowResult(NamedTuple):
    """The n-best list, and the closest call on the way: how near the search was to another result."""

    hypotheses: List[SlowHypothesis]
    margin: float


class _Candidate(NamedTuple):
    """A hypothesis that may go on with *token*, predicted at *exit* with log-probability *score*."""

    total: float
    hypothesis: SlowHypothesis
    token: int
    exit: int
    score: float

    def extended(self) -> SlowHypothesis:
        old = self.hypothesis
        return SlowHypothesis(old.tokens + [self.token], old.exits + [self.exit], old.scores + [self.score])


@dataclass(frozen=True)
class SlowSearch:
    """fairseq's options of the same names; *max_len* is the most tokens before the end of sentence.

    Attributes:
        prefix: forced tokens, padded to the width of the batch's prefixes (the padding is free, except that no
            minimum length is enforced there).
        no_repeat_ngram_size: 0 for none; a token, but the end of sentence, cannot follow where it would complete an
            n-gram for the second time, unless it is forced.
    """

    pad: int
    eos: int
    unk: int
    beam: int = 1
    max_len: int = 200
    min_len: int = 1
    lenpen: float = 1.0
    unkpen: float = 0.0
    normalize: bool = True
    prefix: Optional[Sequence[int]] = None
    no_repeat_ngram_size: int = 0

    @torch.no_grad()
    def run(self, decoder: SlowDecoder) -> SlowResult:
        """Translate the decoder's sentence."""
        active, finished, margin = [SlowHypothesis()], [], math.inf
        for step in range(self.max_len + 1):
            candidates = []
            for hypothesis in active:
                candidates += self._extensions(step, hypothesis, decoder)
            if self._forced(step) == self.eos and step > 0:
                # fairseq lets every place of the beam end with the forced prefix
                candidates = [candidates[0]] * self.beam
            candidates.sort(key=lambda candidate: -candidate.total)

            considered = candidates[: 2 * self.beam]
            ends = [c for c in considered[: self.beam] if c.token == self.eos]
            kept = ends[: self.beam - len(finished)]
            finished += [self._finish(candidate) for candidate in kept]
            going_on = [c for c in considered if c.token != self.eos][: self.beam]

            margin = min(margin, _gap(ends, len(kept)), self._gap_of_ends(candidates))
            margin = min(margin, _gap([c for c in candidates if c.token != self.eos], self.beam))
            if len(finished) == self.beam:
                break
            active = [candidate.extended() for candidate in going_on]
        finished.sort(key=lambda hypothesis: -hypothesis.score)
        for better, worse in zip(finished, finished[1:]):
            if better.tokens != worse.tokens:
                margin = min(margin, better.score - worse.score)
        return SlowResult(finished, min(margin, decoder.policy.margin))

    def _forced(self, step: int) -> Optional[int]:
        if self.prefix is None or step >= len(self.prefix) or step >= self.max_len or self.prefix[step] == self.pad:
            return None
        return self.prefix[step]

    def _extensions(self, step: int, hypothesis: SlowHypothesis, decoder: SlowDecoder) -> List[_Candidate]:
        prediction = decoder.predict([self.eos] + hypothesis.tokens, hypothesis.exits)
        log_probabilities = prediction.log_probabilities.tolist()
        log_probabilities[self.unk] -= self.unkpen
        forced = self._forced(step)
        if step >= self.max_len:
            allowed = [self.eos]
        elif forced is not None:
            allowed = [forced]
        else:
            allowed = [token for token in range(len(log_probabilities)) if token != self.pad]
            in_prefix = self.prefix is not None and step < len(self.prefix)
            if step < self.min_len and not in_prefix:
                allowed.remove(self.eos)
            if self.no_repeat_ngram_size:
                allowed = [t for t in allowed if t == self.eos or not self._repeats(hypothesis.tokens + [t])]
        total = hypothesis.total
        return [
            _Candidate(total + log_probabilities[token], hypothesis, token, prediction.exit, log_probabilities[token])
            for token in allowed
        ]

    def _repeats(self, tokens: List[int]) -> bool:
        """Whether the last n-gram has occurred before."""
        size = self.no_repeat_ngram_size
        ngrams = [tokens[i : i + size] for i in range(len(tokens) - size + 1)]
        return bool(ngrams) and ngrams[-1] in ngrams[:-1]

    def _finish(self, candidate: _Candidate) -> SlowHypothesis:
        found = candidate.extended()
        score = found.total / len(found.tokens) ** self.lenpen if self.normalize else found.total
        return SlowHypothesis(found.tokens, found.exits, found.scores, score)

    def _gap_of_ends(self, candidates: List[_Candidate]) -> float:
        """How far an end of sentence is from the boundary behind which it would not, or would, count."""
        around = candidates[self.beam - 1 : self.beam + 1]
        return _gap(candidates, self.beam) if any(c.token == self.eos for c in around) else math.inf


def _gap(candidates: Sequence[_Candidate], kept: int) -> float:
    """The distance between the last of the best *kept* candidates and the next one."""
    if not 0 < kept < len(candidates):
        return math.inf
    return candidates[kept - 1].total - candidates[kept].total
