"""Decoding steps for one batch: all ensemble members side by side, each row up to its exit."""

from typing import List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.exits.known_exits import SourceBatch
from depth_adaptive_fairseq.exits.loop import BlockOutput, ExitGroup, run_exits
from depth_adaptive_fairseq.exits.policy import ExitRule
from depth_adaptive_fairseq.inference.native_backend import NativeDecoder
from depth_adaptive_fairseq.inference.packed_weights import packed_weights
from depth_adaptive_fairseq.inference.plan import Plan
from depth_adaptive_fairseq.inference.step_decoder import StepDecoder, TokenFilter
from depth_adaptive_fairseq.inference.torch_backend import TorchDecoder
from depth_adaptive_fairseq.inference.work import Work


class BatchDecoder:
    """The decoders of all members as one stack of blocks with exits (an ``ExitStack``), for one batch.

    Args:
        models: members with equally many exits.
        rule: when a row leaves.
        plan: what runs them.
        encoder_outs: of each member, in fairseq's form.
        source_tokens: ``(sentences, src_len)``.
        padding_idx: of the source dictionary.
        rows_per_sentence: hypotheses of each sentence in the first step.
        work: where to count.
    """

    def __init__(
        self,
        models: Sequence,
        rule: ExitRule,
        plan: Plan,
        encoder_outs: Sequence[dict],
        source_tokens: Tensor,
        padding_idx: int,
        rows_per_sentence: int,
        work: Optional[Work] = None,
    ):
        self.rule = rule
        self.plan = plan
        self._work = work or Work()
        self._device = source_tokens.device
        kind = NativeDecoder if plan.blocks.fast else TorchDecoder
        self._members: List[StepDecoder] = []
        for model, encoder_out in zip(models, encoder_outs):
            padding = encoder_out["encoder_padding_mask"]
            self._members.append(
                kind(
                    model.decoder,
                    packed_weights(model.decoder, plan.form, plan.blocks.fast),
                    encoder_out["encoder_out"][0].transpose(0, 1),
                    padding[0] if len(padding) > 0 else None,
                    rows_per_sentence,
                    self._work,
                )
            )
        # Of each row, the batch's sentence that it translates.
        self._sentences = np.repeat(np.arange(source_tokens.size(0)), rows_per_sentence)
        self._known_exits, self._halting = None, []
        if rule.policy.known_exits is not None:
            source = SourceBatch(source_tokens.cpu().numpy(), padding_idx, encoder_outs)
            self._known_exits = rule.policy.known_exits(rule, source)
        else:  # looked up once a batch: a decision costs less than finding a parameter
            self._halting = [classifier.rows(rule.num_exits) for classifier in rule.halting]

    def candidates(self, prefixes: np.ndarray, tokens: TokenFilter) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Decode a step of one model, and find the best continuations of each row.

        Args:
            prefixes: ``(rows, step + 1)``.

        Returns:
            log-probabilities and tokens, both ``(rows, count)``, the best first, and exits, ``(rows,)``.
        """
        [member] = self._members
        step = prefixes.shape[1] - 1
        if self.plan.whole_steps.fast and tokens.only is None and tokens.temperature == 1.0 and member.can_embed(step):
            return member.search_step(prefixes[:, -1], tokens, self.rule, self._halting, self._exits(prefixes))
        groups = self.step(prefixes)
        if groups[0].rows is None:
            return (*member.best_tokens(groups[0].output, tokens), np.full(len(prefixes), groups[0].exit_index))
        best = np.empty((len(prefixes), tokens.count), dtype=np.float32)
        found, exits = np.empty(best.shape, dtype=np.int64), np.empty(len(prefixes), dtype=np.int64)
        for group in groups:
            best[group.rows], found[group.rows] = member.best_tokens(group.output, tokens)
            exits[group.rows] = group.exit_index
        return best, found, exits

    def step(self, prefixes: np.ndarray) -> List[ExitGroup]:
        """Decode the newest token of each row (algorithm 2).

        Args:
            prefixes: ``(rows, step + 1)``.

        Returns:
            all rows, by exit, the lowest first.
        """
        newest = torch.from_numpy(np.ascontiguousarray(prefixes[:, -1])).to(self._device)
        hidden = [member.begin_step(newest) for member in self._members]
        return run_exits(self, self.rule, hidden, len(prefixes), self._exits(prefixes))

    def _exits(self, prefixes: np.ndarray) -> Optional[np.ndarray]:
        return None if self._known_exits is None else self._known_exits(prefixes, self._sentences)

    def run_block(self, exit_index: int, hidden: List[Tensor], rows: Optional[Tensor]) -> List[Tensor]:
        """See ``ExitStack``."""
        return [member.run_block(exit_index, each, rows) for member, each in zip(self._members, hidden)]

    def output(self, exit_index: int, hidden: List[Tensor]) -> BlockOutput:
        """See ``ExitStack``."""
        classifiers = [member.weights.classifiers[exit_index - 1] for member in self._members]
        return BlockOutput(exit_index, hidden, classifiers, self._halting, self._work.add_classifier)

    def leave(self, output: BlockOutput, rows: Optional[Tensor]) -> None:
        """See ``ExitStack``."""
        for member, hidden in zip(self._members, output.hidden):
            member.leave(output.exit_index, hidden, rows)

    def reorder(self, order: Tensor, rows_per_sentence: int) -> None:
        """Follow the beam: row ``i`` becomes what row ``order[i]`` was; sentences without rows are dropped.

        Args:
            order: sorted by sentence.
            rows_per_sentence: from now on.
        """
        self._sentences = self._sentences[order.cpu().numpy()]
        for member in self._members:
            member.reorder(order, rows_per_sentence)
