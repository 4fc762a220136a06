"""Decoding steps for one batch: all ensemble members side by side, each row up to its exit."""

from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.generation.exit_policies import BlockOutput, ExitPolicy, SourceBatch
from depth_adaptive_fairseq.generation.incremental_decoder import IncrementalDecoder
from depth_adaptive_fairseq.generation.native_decoder import NativeDecoder
from depth_adaptive_fairseq.generation.work import Work
from depth_adaptive_fairseq.modules.inference_linear import Packing
from depth_adaptive_fairseq.modules.inference_weights import inference_weights
from depth_adaptive_fairseq.native.kernels import CandidateOptions


class Leavers(NamedTuple):
    """Rows that left at the same exit.

    Attributes:
        rows: sorted; None for all rows of the step.
        exit_index: from 1.
        output: their states behind the exit's block, and what gives their logits.
    """

    rows: Optional[Tensor]
    exit_index: int
    output: BlockOutput


class BatchDecoder:
    """The decoders of all members and the policy, for one batch.

    Args:
        models: members with equally many exits.
        policy: when a row leaves.
        encoder_outs: of each member, in fairseq's form.
        source_tokens: ``(sentences, src_len)``.
        padding_idx: of the source dictionary.
        rows_per_sentence: hypotheses of each sentence in the first step.
        packing: of the weights.
        work: where to count.
    """

    def __init__(
        self,
        models: Sequence,
        policy: ExitPolicy,
        encoder_outs: Sequence[dict],
        source_tokens: Tensor,
        padding_idx: int,
        rows_per_sentence: int,
        packing: Packing = Packing(),
        work: Optional[Work] = None,
    ):
        self.policy = policy
        self._work = work or Work()
        self.rows_per_sentence = rows_per_sentence
        self._decoders: List[Union[IncrementalDecoder, NativeDecoder]] = []
        for model, encoder_out in zip(models, encoder_outs):
            padding = encoder_out["encoder_padding_mask"]
            weights = inference_weights(model.decoder, packing, model.decoder.num_updates)
            self._decoders.append(
                (NativeDecoder if weights.native else IncrementalDecoder)(
                    model.decoder,
                    weights,
                    encoder_out["encoder_out"][0].transpose(0, 1),
                    padding[0] if len(padding) > 0 else None,
                    rows_per_sentence,
                    self._work,
                )
            )
        # Whether the native kernels run it.
        self.native = all(isinstance(decoder, NativeDecoder) for decoder in self._decoders)
        self._all_rows = torch.arange(0)
        self.num_exits = models[0].decoder.num_exits
        # What the policy keeps of each sentence, or None.
        self._kept = policy.start(SourceBatch(source_tokens, padding_idx, encoder_outs))
        # How the kernels choose exits by themselves, or None.
        self._rule = None
        if self.native and len(self._decoders) == 1 and self._decoders[0].weights.native_layers is not None:
            self._rule = policy.rule()

    def can_search(self, step: int) -> bool:
        """Whether :meth:`search_step` can do *step*."""
        return self._rule is not None and self._decoders[0].can_embed(step)

    def search_step(self, newest: np.ndarray, choice: CandidateOptions) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``NativeDecoder.search_step``."""
        return self._decoders[0].search_step(newest, choice, self._rule)

    def step(self, prefixes: Tensor) -> List[Leavers]:
        """Decode the newest token of each row (algorithm 2).

        Args:
            prefixes: ``(rows, step + 1)``.

        Returns:
            all rows, by exit, the lowest first.
        """
        kept = None if self._kept is None else self._kept.repeat_interleave(self.rows_per_sentence, dim=0)
        leave = self.policy.begin_step(prefixes, kept)
        all_rows = self._all_rows
        if all_rows.numel() != prefixes.size(0):
            all_rows = self._all_rows = torch.arange(prefixes.size(0), device=prefixes.device)
        groups: List[Leavers] = []
        rows = all_rows  # still running
        hidden = [decoder.begin_step(prefixes[:, -1]) for decoder in self._decoders]
        for exit_index in range(1, self.num_exits + 1):
            packed = None if rows is all_rows else rows
            hidden = [decoder.run_block(exit_index, h, packed) for decoder, h in zip(self._decoders, hidden)]
            block = BlockOutput(hidden, [decoder.weights.classifiers[exit_index - 1] for decoder in self._decoders], self._work)
            leaving = exit_index == self.num_exits or leave(exit_index, rows, block)
            if isinstance(leaving, Tensor):
                # The only look at the device between two blocks.
                mask = leaving.cpu().numpy()
                if mask.all() or not mask.any():
                    leaving = bool(mask[0])
            if leaving is False:
                continue
            if leaving is True:
                groups.append(self._take_leave(exit_index, block, packed))
                break
            leaving, staying = (torch.from_numpy(np.flatnonzero(each)).to(rows.device) for each in (mask, ~mask))
            groups.append(self._take_leave(exit_index, block.select(leaving), rows.index_select(0, leaving)))
            rows, hidden = rows.index_select(0, staying), [h.index_select(0, staying) for h in hidden]
        return groups

    def _take_leave(self, exit_index: int, leavers: BlockOutput, rows: Optional[Tensor]) -> Leavers:
        for member, decoder in enumerate(self._decoders):
            decoder.leave(exit_index, leavers.hidden[member], rows)
        return Leavers(rows, exit_index, leavers)

    def reorder(self, order: Tensor, rows_per_sentence: int) -> None:
        """Follow the beam: row ``i`` becomes what row ``order[i]`` was; sentences without rows are dropped.

        Args:
            order: sorted by sentence.
            rows_per_sentence: from now on.
        """
        if self._kept is not None and order.numel() < self._kept.size(0) * rows_per_sentence:
            self._kept = self._kept[order[::rows_per_sentence].div(self.rows_per_sentence, rounding_mode="floor")]
        for decoder in self._decoders:
            decoder.reorder(order, rows_per_sentence)
        self.rows_per_sentence = rows_per_sentence
