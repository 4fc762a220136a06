"""Beam search in which every hypothesis carries the exit of each of its tokens."""

import math
from typing import List, Optional

import torch
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from torch import Tensor

from depth_adaptive_fairseq.generation.exit_policies import BlockOutput, ExitPolicy, SourceBatch
from depth_adaptive_fairseq.generation.incremental_decoder import IncrementalDecoder


class DepthAdaptiveEnsemble(EnsembleModel):
    """Runs one decoding step of all members side by side, so that each row has one exit for all of them.

    It takes the place of fairseq's ``EnsembleModel`` inside ``SequenceGenerator`` and keeps the state of the search
    itself: encoder outputs stay one a sentence, and only what the exits need moves with the beam. One batch is
    searched at a time.

    Args:
        models: members with equally many exits.
        policy: when a row leaves.
        padding_idx: of the source dictionary.
    """

    def __init__(self, models: list, policy: ExitPolicy, padding_idx: int):
        super().__init__(models)
        self.policy = policy
        self.padding_idx = padding_idx
        self.num_exits = models[0].decoder.num_exits
        self.beam_size = 1
        self.exits: Optional[Tensor] = None  # exit of each token so far, (rows, steps)
        self._decoders: List[IncrementalDecoder] = []
        self._kept: Optional[Tensor] = None  # what the policy keeps of each sentence

    def set_decoder_beam_size(self, beam_size: int) -> None:
        """Remember how many rows each sentence has (called by ``SequenceGenerator``)."""
        super().set_decoder_beam_size(beam_size)
        self.beam_size = beam_size

    def forward_encoder(self, net_input):
        """Encode a batch and begin its search."""
        encoder_outs = super().forward_encoder(net_input)
        self._decoders = [
            IncrementalDecoder(model.decoder, encoder_out, self.beam_size)
            for model, encoder_out in zip(self.models, encoder_outs)
        ]
        self._kept = self.policy.start(SourceBatch(net_input["src_tokens"], self.padding_idx, encoder_outs))
        self.exits = None
        return encoder_outs

    def reorder_encoder_out(self, encoder_outs, new_order):
        """Leave the encoder outputs as they are: rows find their sentence by their number."""
        return encoder_outs

    def reorder_incremental_state(self, incremental_states, new_order) -> None:
        """Follow the beam: row ``i`` becomes what row ``new_order[i]`` was."""
        if self._kept is not None and new_order.numel() < self.exits.size(0):
            self._kept = self._kept[new_order[:: self.beam_size].div(self.beam_size, rounding_mode="floor")]
        self.exits = self.exits.index_select(0, new_order)
        for decoder in self._decoders:
            decoder.reorder(new_order)

    def forward_decoder(self, tokens, encoder_outs, incremental_states, temperature: float = 1.0):
        """Decode one step (algorithm 2).

        Args:
            tokens: the prefixes, ``(rows, step + 1)``.

        Returns:
            log-probabilities of the next token at each row's exit, ``(rows, V)``, and no attention weights.
        """
        kept = None if self._kept is None else self._kept.repeat_interleave(self.beam_size, dim=0)
        leave = self.policy.begin_step(tokens, kept)
        all_rows = torch.arange(tokens.size(0), device=tokens.device)
        exits = torch.empty_like(all_rows)
        logits: List[Tensor] = []  # of each member, (rows, V)

        rows = all_rows  # still running
        hidden = [decoder.embed(tokens) for decoder in self._decoders]
        for exit_index in range(1, self.num_exits + 1):
            packed = None if rows is all_rows else rows
            hidden = [decoder.run_block(exit_index, h, packed) for decoder, h in zip(self._decoders, hidden)]
            block = BlockOutput(hidden, [model.decoder.exit_classifier(exit_index) for model in self.models])
            leaving = exit_index == self.num_exits or leave(exit_index, rows, block)
            if isinstance(leaving, Tensor):
                count = int(leaving.sum())
                leaving = leaving if 0 < count < rows.numel() else count > 0
            if leaving is False:
                continue
            if leaving is True:
                leavers, leaver_rows, staying = block, packed, None
            else:
                staying = (~leaving).nonzero().squeeze(1)
                leaving = leaving.nonzero().squeeze(1)
                leavers, leaver_rows = block.select(leaving), rows[leaving]
            self._write(logits, leavers, leaver_rows, len(all_rows))
            exits[slice(None) if leaver_rows is None else leaver_rows] = exit_index
            if staying is None:
                break
            rows, hidden = rows[staying], [h[staying] for h in hidden]

        self.exits = exits.unsqueeze(1) if self.exits is None else torch.cat([self.exits, exits.unsqueeze(1)], dim=1)
        return self._log_probabilities(logits, temperature), None

    def replicate_first_beam(self, sentences: Tensor) -> None:
        """Give all rows of *sentences* (booleans) the exits of the sentence's first row."""
        exits = self.exits.view(-1, self.beam_size, self.exits.size(1))
        exits[sentences] = exits[sentences][:, :1]

    def _write(self, logits: List[Tensor], leavers: BlockOutput, rows: Optional[Tensor], total: int) -> None:
        """Store the logits and the copied states of the rows that leave; *rows* is None for all rows at once."""
        for member, decoder in enumerate(self._decoders):
            decoder.leave(leavers.hidden[member], rows)
            exit_logits = leavers.logits()[member]
            if rows is None:
                logits.append(exit_logits)
                continue
            if member == len(logits):
                logits.append(exit_logits.new_empty(total, exit_logits.size(1)))
            logits[member][rows] = exit_logits

    @staticmethod
    def _log_probabilities(logits: List[Tensor], temperature: float) -> Tensor:
        members = [torch.log_softmax(each / temperature, dim=-1, dtype=torch.float32) for each in logits]
        if len(members) == 1:
            return members[0]
        return torch.stack(members).logsumexp(dim=0) - math.log(len(members))


class DepthAdaptiveGenerator(SequenceGenerator):
    """fairseq's beam search over :class:`DepthAdaptiveEnsemble`.

    Every hypothesis has, beside fairseq's entries, ``exits``: the exit of each of its tokens, end of sentence included,
    ``(length,)``, counted from 1; and ``steps``, the same as text, which ``fairseq-generate --print-step`` prints.

    Args:
        models: members with equally many exits.
        tgt_dict: the target dictionary.
        exit_policy: when a token leaves the decoder.
        padding_idx: of the source dictionary.
        **options: those of fairseq's ``SequenceGenerator``.
    """

    def __init__(self, models, tgt_dict, exit_policy: ExitPolicy, padding_idx: int, **options):
        super().__init__(DepthAdaptiveEnsemble(models, exit_policy, padding_idx), tgt_dict, **options)

    def finalize_hypos(self, step, bbsz_idx, eos_scores, tokens, scores, finalized, finished, beam_size, *rest):
        """Attach the exits of every hypothesis that fairseq finalises."""
        # Taken before fairseq marks more sentences as finished: rows count unfinished sentences only.
        unfinished = [sentence for sentence, done in enumerate(finished) if not done]
        done_before = [len(hypotheses) for hypotheses in finalized]
        newly_finished = super().finalize_hypos(
            step, bbsz_idx, eos_scores, tokens, scores, finalized, finished, beam_size, *rest
        )
        # fairseq appends in the order of the rows, and ignores what a full sentence has too many.
        exits = self.model.exits.index_select(0, bbsz_idx).cpu()
        for index, row in enumerate(bbsz_idx.tolist()):
            sentence = unfinished[row // beam_size]
            position = done_before[sentence]
            if position < len(finalized[sentence]):
                finalized[sentence][position].update(describe_exits(exits[index]))
                done_before[sentence] = position + 1
        return newly_finished

    def _prefix_tokens(self, step, lprobs, scores, tokens, prefix_tokens, beam_size):
        # Where a forced prefix ends a sentence, fairseq copies its first hypothesis over the others.
        ended = prefix_tokens[:, step].eq(self.eos)
        if ended.any():
            self.model.replicate_first_beam(ended)
        return super()._prefix_tokens(step, lprobs, scores, tokens, prefix_tokens, beam_size)


def describe_exits(exits: Tensor) -> dict:
    """The entries of a hypothesis that tell its exits, ``(length,)``."""
    return {"exits": exits, "steps": " ".join(map(str, exits.tolist()))}
