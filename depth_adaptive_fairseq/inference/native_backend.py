"""What ``TorchDecoder`` does, by the native kernels: block by block, or a whole step of the search at once."""

import ctypes
from typing import Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.exits import statistics
from depth_adaptive_fairseq.exits.loop import BlockOutput
from depth_adaptive_fairseq.exits.policy import ExitRule, Statistic
from depth_adaptive_fairseq.inference.attention_caches import next_capacity
from depth_adaptive_fairseq.inference.packed_weights import PackedWeights
from depth_adaptive_fairseq.inference.step_decoder import TokenFilter
from depth_adaptive_fairseq.inference.work import Work
from depth_adaptive_fairseq.modules.decoder import DepthAdaptiveDecoder
from depth_adaptive_fairseq.native import kernels

# What the kernels can decide by.
_STATISTICS = {
    statistics.LARGEST_PROBABILITY: kernels.Statistic.LARGEST_PROBABILITY,
    statistics.ENTROPY: kernels.Statistic.ENTROPY,
    statistics.MARGIN: kernels.Statistic.MARGIN,
    statistics.COSINE: kernels.Statistic.COSINE,
    statistics.AGREEMENT: kernels.Statistic.AGREEMENT,
    statistics.STOPPING_PROBABILITY: kernels.Statistic.CHI,
    statistics.PREDICTED_EXIT: kernels.Statistic.PREDICTED_EXIT,
}


def statistic_number(statistic: Statistic) -> Optional[kernels.Statistic]:
    """Which of the kernels' statistics it is, or None."""
    return _STATISTICS.get(statistic)


def native_rule(rule: ExitRule, halting: Sequence[Tuple[Tensor, Tensor]]) -> kernels.ExitRule:
    """*rule* for the kernels.

    Args:
        halting: weight and bias of the model's halting classifier (``HaltingClassifier.rows``), if the policy asks it.
    """
    if rule.policy.statistic is None:
        return kernels.ExitRule.of(kernels.Statistic.KNOWN_EXITS)
    weights, biases = halting[0] if halting else ((), ())
    comparison = kernels.Comparison[rule.policy.comparison.name]
    return kernels.ExitRule.of(_STATISTICS[rule.policy.statistic], comparison, rule.thresholds, list(weights), list(biases))


_FIRST_STEPS = 16  # steps that each row's list of entries has room for; it doubles when hypotheses grow beyond


class NativeDecoder:
    """The state of one model's decoder during the search for one batch; see ``StepDecoder``.

    Keys and values, of prefixes and of the source, never move: rows know where theirs are.

    Args:
        decoder: the model's decoder.
        weights: its packed weights, with native blocks.
        encoder_states: ``(sentences, src_len, encoder width)``.
        padding_mask: True at padding, ``(sentences, src_len)``, or None.
        rows_per_sentence: hypotheses of each sentence in the first step.
        work: where to count.
    """

    def __init__(
        self,
        decoder: DepthAdaptiveDecoder,
        weights: PackedWeights,
        encoder_states: Tensor,
        padding_mask: Optional[Tensor],
        rows_per_sentence: int,
        work: Optional[Work] = None,
    ):
        self.decoder = decoder
        self.weights = weights
        self.work = work or Work()
        self._library = kernels.library()
        self._width = weights.blocks[0].layers.width
        sentences, source_length, _ = encoder_states.shape
        self._encoder_states = encoder_states.float().contiguous()
        self._source_attended = None
        if padding_mask is not None and padding_mask.any():
            self._source_attended = (~padding_mask).contiguous()

        self._sentences = np.repeat(np.arange(sentences), rows_per_sentence)  # of each row
        self._entries = np.empty((self._sentences.size, _FIRST_STEPS), dtype=np.int64)  # of each row's tokens
        self._first_entry = self._capacity = self._previous_rows = 0
        blocks = len(weights.blocks)
        self._hypotheses = kernels.Hypotheses(lowest_exit=blocks)
        self._prefix = [torch.empty(0, 2 * self._width, dtype=torch.float32) for _ in range(blocks)]  # (entries, 2 width)
        self._filled = [torch.zeros(0, dtype=torch.bool) for _ in range(blocks)]  # (entries,)
        self._exit_states = torch.empty(0, self._width, dtype=torch.float32)  # (entries, width)
        self._source = torch.empty(blocks, sentences, source_length, 2 * self._width, dtype=torch.float32)
        self._source_filled = torch.zeros(blocks, sentences, dtype=torch.bool)
        self._states = (kernels.BlockState * blocks)()
        for index, state in enumerate(self._states):
            state.number = index + 1
            state.hypotheses = ctypes.pointer(self._hypotheses)
            state.encoder_states = self._encoder_states.data_ptr()
            state.source = self._source[index].data_ptr()
            state.source_filled = self._source_filled[index].data_ptr()
            state.source_attended = None if self._source_attended is None else self._source_attended.data_ptr()
            state.source_length = source_length
        self._search_step: Optional[kernels.SearchStep] = None
        self._rule: Optional[kernels.ExitRule] = None  # for whole steps
        self._options: Optional[Tuple[TokenFilter, kernels.CandidateOptions]] = None

    @property
    def step(self) -> int:
        """Number of the current step, from 0."""
        return self._hypotheses.length - 1

    def begin_step(self, newest: Tensor) -> Tensor:
        self._add_entries()
        return self.weights.embed_newest(self.decoder, newest, self.step)

    def _add_entries(self) -> None:
        rows, length = self._sentences.size, self._hypotheses.length
        self._first_entry += self._previous_rows
        self._previous_rows = rows
        if self._first_entry + rows > self._capacity:
            self._make_room(rows)
        needed = self._first_entry + rows
        if length == self._entries.shape[1]:
            self._entries = np.concatenate([self._entries, np.empty_like(self._entries)], axis=1)
        self._entries[:, length] = np.arange(self._first_entry, needed)
        hypotheses = self._hypotheses
        hypotheses.length, hypotheses.stride = length + 1, self._entries.shape[1]
        hypotheses.entries, hypotheses.sentences = self._entries.ctypes.data, self._sentences.ctypes.data
        self.work.steps += 1

    def _make_room(self, rows: int) -> None:
        """For *rows* more entries: those of hypotheses that fell out of the beam are given up, and there is more room if need be."""
        length = self._hypotheses.length
        alive, renumbered = np.unique(self._entries[:, :length], return_inverse=True)
        self._entries[:, :length] = renumbered.reshape(len(self._entries), length)
        self._first_entry = alive.size
        self._capacity = next_capacity(self._capacity, alive.size + rows, rows)
        moved = torch.from_numpy(alive)

        def kept(buffer: Tensor, used: bool) -> Tensor:
            fresh = buffer.new_empty(self._capacity, *buffer.shape[1:])  # memory that nothing is written to takes none
            if used:
                torch.index_select(buffer, 0, moved, out=fresh[: alive.size])
            return fresh

        self._exit_states = kept(self._exit_states, self._hypotheses.lowest_exit < len(self._states))
        self._hypotheses.exit_states = self._exit_states.data_ptr()
        for index, state in enumerate(self._states):
            self._prefix[index] = kept(self._prefix[index], bool(self._filled[index].any()))
            self._filled[index] = kept(self._filled[index], True)
            self._filled[index][alive.size :] = False
            state.prefix, state.filled = self._prefix[index].data_ptr(), self._filled[index].data_ptr()

    def run_block(self, exit_index: int, hidden: Tensor, rows: Optional[Tensor]) -> Tensor:
        state = self._states[exit_index - 1]
        rows = torch.arange(self._sentences.size) if rows is None else rows
        state.rows, state.count = rows.data_ptr(), rows.numel()
        hidden = hidden.float().clone(memory_format=torch.contiguous_format)
        self.weights.blocks[exit_index - 1].run(self._library, state, hidden)
        self.work.add_block(state.count, state.projected - state.count)
        return hidden

    def leave(self, exit_index: int, hidden: Tensor, rows: Optional[Tensor]) -> None:
        if exit_index == len(self.weights.blocks):
            return  # no block above will ask
        self._hypotheses.lowest_exit = min(self._hypotheses.lowest_exit, exit_index)
        if rows is None:
            self._exit_states[self._first_entry : self._first_entry + self._sentences.size] = hidden
        else:
            self._exit_states.index_copy_(0, rows + self._first_entry, hidden)

    def best_tokens(self, output: BlockOutput, tokens: TokenFilter) -> Tuple[np.ndarray, np.ndarray]:
        if tokens.only is not None:
            return tokens.the_only(output)
        options = self._candidate_options(tokens)
        if output.has_logits or tokens.temperature != 1.0:
            return kernels.candidates_of_logits(self._library, tokens.logits(output), options)
        classifier, states = output.classifiers[0].native(output.hidden[0])
        output.on_classified(states.size(0))
        return kernels.candidates_of_states(self._library, classifier, states, options)

    def reorder(self, order: Tensor, rows_per_sentence: int) -> None:
        places = order.numpy()
        self._entries, self._sentences = self._entries[places], self._sentences[places]

    def search_step(
        self,
        newest: np.ndarray,
        tokens: TokenFilter,
        rule: ExitRule,
        halting: Sequence[Tuple[Tensor, Tensor]],
        known_exits: Optional[np.ndarray],
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A whole step: all blocks, exits by *rule*, and the best continuations of each row.

        Args:
            newest: token of each row, ``(rows,)``.
            halting: see :func:`native_rule`.
            known_exits: of each row, ``(rows,)``, or None.

        Returns:
            log-probabilities and tokens, both ``(rows, count)``, the best first; and the exit of each row, ``(rows,)``.
        """
        if self._rule is None:
            self._rule = native_rule(rule, halting)
        return self.run_step(newest, self._candidate_options(tokens), self._rule, known_exits)

    def run_step(
        self, newest: np.ndarray, options: kernels.CandidateOptions, rule: kernels.ExitRule, known_exits: Optional[np.ndarray] = None
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same in the kernels' own terms."""
        if self._search_step is None:
            self._search_step = self._prepare()
        self._add_entries()
        search_step, embedding = self._search_step, self.weights.embedding
        search_step.rule = ctypes.pointer(rule)
        search_step.first_entry = self._first_entry
        if embedding.positions is not None:
            search_step.position = embedding.positions.data_ptr() + embedding.place(self.step) * self._width * 4
        found = kernels.run_search_step(self._library, search_step, self._hypotheses, newest, options, known_exits)
        for state in self._states:
            if state.count == 0:
                break
            self.work.add_block(state.count, state.projected - state.count)
            if state.classified > 0:
                self.work.add_classifier(state.classified)
        return found

    def _candidate_options(self, tokens: TokenFilter) -> kernels.CandidateOptions:
        if self._options is None or self._options[0] is not tokens:  # most steps have the filter of the one before
            options = kernels.CandidateOptions.of(tokens.count, tokens.suppressed, tokens.penalized, tokens.penalty)
            self._options = (tokens, options)
        return self._options[1]

    def can_embed(self, step: int) -> bool:
        """Whether :meth:`search_step` can embed the tokens of *step*."""
        return self.weights.embedding.can_embed(step)

    def _prepare(self) -> kernels.SearchStep:
        blocks, classifiers, embedding = self.weights.blocks, self.weights.classifiers, self.weights.embedding
        return kernels.SearchStep(
            blocks=len(blocks),
            width=self._width,
            layers=(kernels.BlockLayers * len(blocks))(*(block.layers for block in blocks)),
            states=self._states,
            classifiers=(kernels.Classifier * len(classifiers))(*(each.native()[0] for each in classifiers)),
            embedding=embedding.tokens.data_ptr(),
            embedding_scale=embedding.scale,
        )
