"""Plain beam search over exits: what fairseq's ``SequenceGenerator`` finds, with less work.

Rows that leave at the same exit go from logits to their best 2 x beam tokens at once, and no row of V scores is kept or
moved; a sentence's rows are equal in the first step, so one of them is decoded; and the bookkeeping, a few numbers a
sentence, is done in NumPy on the host.
"""

from dataclasses import dataclass, replace
from typing import Dict, List, Tuple

import numpy as np
import torch

from depth_adaptive_fairseq.inference.batch_decoder import BatchDecoder
from depth_adaptive_fairseq.inference.step_decoder import TokenFilter


@dataclass
class SearchOptions:
    """What fairseq's generator is told; names and meanings are fairseq's."""

    beam_size: int
    max_len: int  # of this batch
    min_len: int
    normalize_scores: bool
    len_penalty: float
    unk_penalty: float
    temperature: float
    bos: int
    eos: int
    pad: int
    unk: int
    suppressed: List[int]

    def __post_init__(self):
        never = [self.pad, *self.suppressed]
        self._early, self._later = self._filter([*never, self.eos]), self._filter(never)
        self._last = replace(self._later, only=self.eos)

    def _filter(self, never: List[int]) -> TokenFilter:
        return TokenFilter(2 * self.beam_size, np.array(never), self.unk, self.unk_penalty, self.temperature)

    def filter(self, step: int) -> TokenFilter:
        """What may follow at *step*, from 0; the same object for steps that are alike."""
        if step >= self.max_len:
            return self._last
        return self._early if step < self.min_len else self._later


def beam_search(decoder: BatchDecoder, sentences: int, options: SearchOptions, device: torch.device) -> List[List[Dict]]:
    """Search for the best translations of a batch.

    Args:
        decoder: of the batch, with one row for each sentence.
        sentences: how many.

    Returns:
        for each sentence its hypotheses, the best first, with fairseq's entries and ``exits``, numbered from 1.
    """
    beam = options.beam_size
    hypotheses = FinishedHypotheses(sentences, options)
    order = np.arange(sentences)  # which sentence is searched at which place
    tokens = np.full((sentences, 1), options.bos)  # (rows, step + 1)
    scores = np.zeros((sentences, 0), dtype=np.float32)  # cumulative, (rows, step)
    exits = np.zeros((sentences, 0), dtype=np.int64)  # (rows, step)

    for step in range(options.max_len + 1):
        best_scores, following, row_exits = decoder.candidates(tokens, options.filter(step))
        if step > 0:
            best_scores += scores[:, -1:]
        # Each (sentences, 2 beam).
        candidate_scores, candidate_tokens, candidate_rows = _candidates(best_scores, following, 1 if step == 0 else beam)
        exits = np.concatenate([exits, row_exits[:, None]], axis=1)

        ends = (candidate_tokens == options.eos) & (candidate_scores > -np.inf)
        if ends.any():
            for place, rank in zip(*np.nonzero(ends[:, :beam])):
                row = candidate_rows[place, rank]
                hypotheses.add(order[place], tokens[row, 1:], scores[row], candidate_scores[place, rank], exits[row])
            going_on = np.nonzero(hypotheses.counts[order] < beam)[0]
            # The best candidates that do not end, in their order; places in the flat arrays.
            active = np.argsort(ends[going_on], axis=1, kind="stable")[:, :beam]
            chosen = (going_on[:, None] * candidate_tokens.shape[1] + active).ravel()
            order = order[going_on]
        else:
            chosen = np.arange(candidate_tokens.size).reshape(candidate_tokens.shape)[:, :beam].ravel()
        if step == options.max_len or order.size == 0:
            break

        rows = candidate_rows.ravel()[chosen]
        tokens = np.concatenate([tokens[rows], candidate_tokens.ravel()[chosen, None]], axis=1)
        scores = np.concatenate([scores[rows], candidate_scores.ravel()[chosen, None]], axis=1)
        exits = exits[rows]
        decoder.reorder(torch.from_numpy(rows).to(device), beam)
    return hypotheses.sorted(device)


def _candidates(
    scores: np.ndarray, tokens: np.ndarray, rows_per_sentence: int
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best 2 x beam continuations of each sentence, sorted; equal ones by row, then by rank.

    Args:
        scores, tokens: of the best continuations of each row, ``(rows, 2 beam)``.

    Returns:
        scores, tokens and rows, each ``(sentences, 2 beam)``.
    """
    width = scores.shape[1]
    by_sentence = scores.reshape(-1, rows_per_sentence * width)
    if rows_per_sentence == 1:
        places = np.arange(scores.size).reshape(by_sentence.shape)  # in the flat arrays
    else:
        places = np.argsort(-by_sentence, axis=1, kind="stable")[:, :width]
        places += np.arange(0, scores.size, by_sentence.shape[1])[:, None]
    return scores.reshape(-1)[places], tokens.reshape(-1)[places], places // width


class FinishedHypotheses:
    """Finished hypotheses of all sentences, at most beam size of each.

    Attributes:
        counts: how many each sentence has, ``(sentences,)``.
    """

    def __init__(self, sentences: int, options: SearchOptions):
        self.options = options
        self.counts = np.zeros(sentences, dtype=np.int64)
        self._found: List[List[Dict]] = [[] for _ in range(sentences)]

    def add(self, sentence: int, tokens: np.ndarray, scores: np.ndarray, last_score: np.float32, exits: np.ndarray) -> None:
        """Keep a hypothesis, unless its sentence has enough.

        Args:
            tokens: without start and end.
            scores: cumulative, of the *tokens*.
            last_score: that of the end of sentence.
            exits: of all tokens, end of sentence included.
        """
        if self.counts[sentence] == self.options.beam_size:
            return
        self.counts[sentence] += 1
        cumulative = np.append(scores, last_score)
        positional = cumulative.copy()
        positional[1:] -= cumulative[:-1]
        score = cumulative[-1]
        if self.options.normalize_scores:
            score = score / np.float32(len(cumulative) ** self.options.len_penalty)
        self._found[sentence].append(
            {
                "tokens": np.append(tokens, self.options.eos),
                "score": np.float32(score),
                "positional_scores": positional,
                "exits": exits,
            }
        )

    def sorted(self, device: torch.device) -> List[List[Dict]]:
        """The best first, in fairseq's form."""
        return [
            [_in_fairseq_form(each, device) for each in sorted(found, key=lambda one: -one["score"])]
            for found in self._found
        ]


def _in_fairseq_form(hypothesis: Dict, device: torch.device) -> Dict:
    return {
        "tokens": torch.from_numpy(hypothesis["tokens"]).to(device),
        "score": torch.tensor(hypothesis["score"]).to(device),
        "attention": torch.empty(0),
        "alignment": torch.empty(0),
        "positional_scores": torch.from_numpy(hypothesis["positional_scores"]).to(device),
        "exits": torch.from_numpy(hypothesis["exits"]),
    }
