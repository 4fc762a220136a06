"""Beam search in which every hypothesis carries the exit of each of its tokens."""

import math
from typing import List, Optional

import torch
from fairseq.search import BeamSearch
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from torch import Tensor

from depth_adaptive_fairseq.generation.batch_decoder import BatchDecoder, Leavers
from depth_adaptive_fairseq.generation.beam_search import beam_search
from depth_adaptive_fairseq.generation.encoder_pass import encode
from depth_adaptive_fairseq.generation.exit_policies import ExitPolicy
from depth_adaptive_fairseq.generation.search_options import SearchOptions
from depth_adaptive_fairseq.generation.work import Work
from depth_adaptive_fairseq.modules.inference_linear import Packing
from depth_adaptive_fairseq.native import kernels


class DepthAdaptiveEnsemble(EnsembleModel):
    """Runs one decoding step of all members side by side, so that each row has one exit for all of them.

    It takes the place of fairseq's ``EnsembleModel`` inside ``SequenceGenerator`` and keeps the state of the search
    itself: encoder outputs stay one a sentence, and only what the exits need moves with the beam. One batch is
    searched at a time.

    Args:
        models: members with equally many exits.
        policy: when a row leaves.
        padding_idx: of the source dictionary.
        packing: of the weights.

    Attributes:
        work: what decoding has cost so far.
    """

    def __init__(self, models: list, policy: ExitPolicy, padding_idx: int, packing: Packing = Packing()):
        super().__init__(models)
        self.policy = policy
        self.padding_idx = padding_idx
        self.packing = packing
        self.beam_size = 1
        self.work = Work()
        self.exits: Optional[Tensor] = None  # exit of each token so far, (rows, steps)
        self._batch: Optional[BatchDecoder] = None

    def set_decoder_beam_size(self, beam_size: int) -> None:
        """Remember how many rows each sentence has (called by ``SequenceGenerator``)."""
        super().set_decoder_beam_size(beam_size)
        self.beam_size = beam_size

    def begin(self, net_input: dict, rows_per_sentence: int) -> BatchDecoder:
        """Encode a batch; returns what decodes it."""
        kernels.set_threads(torch.get_num_threads())
        self._batch = BatchDecoder(
            self.models,
            self.policy,
            [encode(model.encoder, net_input, self.packing, model.decoder.num_updates) for model in self.models],
            net_input["src_tokens"],
            self.padding_idx,
            rows_per_sentence,
            self.packing,
            self.work,
        )
        self.exits = None
        return self._batch

    def end(self) -> None:
        """Forget the batch: its keys and values take much memory."""
        self._batch = self.exits = None

    def forward_encoder(self, net_input):
        """Encode a batch and begin its search by fairseq's loop, which asks for nothing but a list."""
        self.begin(net_input, self.beam_size)
        return [{} for _ in self.models]

    def reorder_encoder_out(self, encoder_outs, new_order):
        """Leave the encoder outputs as they are: rows find their sentence by their number."""
        return encoder_outs

    def reorder_incremental_state(self, incremental_states, new_order) -> None:
        """Follow the beam: row ``i`` becomes what row ``new_order[i]`` was."""
        self.exits = self.exits.index_select(0, new_order)
        self._batch.reorder(new_order, self.beam_size)

    def forward_decoder(self, tokens, encoder_outs, incremental_states, temperature: float = 1.0):
        """Decode one step.

        Args:
            tokens: the prefixes, ``(rows, step + 1)``.

        Returns:
            log-probabilities of the next token at each row's exit, ``(rows, V)``, and no attention weights.
        """
        groups = self._batch.step(tokens)
        exits = torch.empty_like(tokens[:, :1])
        for group in groups:
            exits[slice(None) if group.rows is None else group.rows] = group.exit_index
        self.exits = exits if self.exits is None else torch.cat([self.exits, exits], dim=1)
        return self._log_probabilities(groups, tokens.size(0), temperature), None

    def replicate_first_beam(self, sentences: Tensor) -> None:
        """Give all rows of *sentences* (booleans) the exits of the sentence's first row."""
        exits = self.exits.view(-1, self.beam_size, self.exits.size(1))
        exits[sentences] = exits[sentences][:, :1]

    def _log_probabilities(self, groups: List[Leavers], num_rows: int, temperature: float) -> Tensor:
        logits: List[Tensor] = []  # of each member, (rows, V)
        by_group = [group.output.logits() for group in groups]
        for member in range(self.models_size):
            if groups[0].rows is None:
                logits.append(by_group[0][member])
                continue
            together = by_group[0][member].new_empty(num_rows, by_group[0][member].size(1))
            for group, found in zip(groups, by_group):
                together[group.rows] = found[member]
            logits.append(together)
        members = [torch.log_softmax(each / temperature, dim=-1, dtype=torch.float32) for each in logits]
        if len(members) == 1:
            return members[0]
        return torch.stack(members).logsumexp(dim=0) - math.log(len(members))


class DepthAdaptiveGenerator(SequenceGenerator):
    """Beam search over :class:`DepthAdaptiveEnsemble`: a lean one of our own, or fairseq's where an option needs it.

    Every hypothesis has, beside fairseq's entries, ``exits``: the exit of each of its tokens, end of sentence included,
    ``(length,)``, counted from 1; and ``steps``, the same as text, which ``fairseq-generate --print-step`` prints.

    Args:
        models: members with equally many exits.
        tgt_dict: the target dictionary.
        exit_policy: when a token leaves the decoder.
        padding_idx: of the source dictionary.
        packing: of the weights.
        **options: those of fairseq's ``SequenceGenerator``.
    """

    def __init__(self, models, tgt_dict, exit_policy: ExitPolicy, padding_idx: int, packing: Packing = Packing(), **options):
        super().__init__(DepthAdaptiveEnsemble(models, exit_policy, padding_idx, packing), tgt_dict, **options)

    def _generate(self, sample, prefix_tokens=None, constraints=None, bos_token=None):
        try:
            return self._search_batch(sample, prefix_tokens, constraints, bos_token)
        finally:
            self.model.end()

    def _search_batch(self, sample, prefix_tokens, constraints, bos_token):
        net_input = sample["net_input"]
        suppressed = [] if self.token_indices_to_suppress is None else self.token_indices_to_suppress.tolist()
        max_len = min(int(self.max_len_a * net_input["src_tokens"].size(1) + self.max_len_b), self.max_len - 1)
        plain = (
            type(self.search) is BeamSearch
            and self.model.models_size == 1
            and prefix_tokens is None
            and constraints is None
            and self.lm_model is None
            and self.repeat_ngram_blocker is None
            and not self.match_source_len
            and self.min_len <= max_len
            and self.vocab_size - 3 - len(suppressed) >= 2 * self.beam_size  # always enough candidates that can follow
        )
        if not plain:
            return super()._generate(sample, prefix_tokens, constraints, bos_token)
        options = SearchOptions(
            beam_size=self.beam_size,
            max_len=max_len,
            min_len=self.min_len,
            normalize_scores=self.normalize_scores,
            len_penalty=self.len_penalty,
            unk_penalty=self.unk_penalty,
            temperature=self.temperature,
            bos=self.eos if bos_token is None else bos_token,
            eos=self.eos,
            pad=self.pad,
            unk=self.unk,
            suppressed=suppressed,
        )
        source = net_input["src_tokens"]
        found = beam_search(self.model.begin(net_input, 1), source.size(0), options, source.device)
        for hypothesis in (hypothesis for sentence in found for hypothesis in sentence):
            hypothesis.update(describe_exits(hypothesis["exits"]))
        return found

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
