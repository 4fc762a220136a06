"""Beam search in which every hypothesis carries the exit of each of its tokens."""

import math
from typing import List, Optional, Tuple

import torch
from fairseq.search import BeamSearch
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from torch import Tensor

from depth_adaptive_fairseq.exits.loop import ExitGroup
from depth_adaptive_fairseq.exits.policy import ExitRule
from depth_adaptive_fairseq.inference.batch_decoder import BatchDecoder
from depth_adaptive_fairseq.inference.beam_search import SearchOptions, beam_search
from depth_adaptive_fairseq.inference.encoder_pass import encode
from depth_adaptive_fairseq.inference.plan import Plan, Request, make_plan
from depth_adaptive_fairseq.inference.work import Work
from depth_adaptive_fairseq.native import kernels


class DepthAdaptiveEnsemble(EnsembleModel):
    """Runs one decoding step of all members side by side, so that each row has one exit for all of them.

    It takes the place of fairseq's ``EnsembleModel`` inside ``SequenceGenerator`` and keeps the state of the search
    itself: encoder outputs stay one a sentence, and only what the exits need moves with the beam. One batch is
    searched at a time.

    Args:
        models: members with equally many exits.
        rule: when a row leaves.
        padding_idx: of the source dictionary.
        request: what the user asked for to run them.

    Attributes:
        work: what decoding has cost so far.

    Raises:
        DepthAdaptiveError: the models do not go with *request*.
    """

    def __init__(self, models: list, rule: ExitRule, padding_idx: int, request: Request = Request()):
        super().__init__(models)
        self.rule = rule
        self.padding_idx = padding_idx
        self.beam_size = 1
        self.work = Work()
        self.exits: Optional[Tensor] = None  # exit of each token so far, (rows, steps)
        self._request = request
        self._batch: Optional[BatchDecoder] = None
        self._plan: Optional[Plan] = None
        self._planned_for: Optional[tuple] = None
        self.plan()  # what cannot be done is refused now

    def plan(self, search: str = "") -> Plan:
        """What runs the models; made anew when they have changed, for instance moved to another device.

        Args:
            search: why fairseq's search is needed; "" if it is not.
        """
        versions = [getattr(part, "derived_version", None) for model in self.models for part in (model.encoder, model.decoder)]
        if (versions, search) != self._planned_for:
            self._plan = make_plan(self.models, self._request, self.rule, search)
            self._planned_for = (versions, search)
        return self._plan

    @property
    def latest_plan(self) -> Plan:
        """That of the latest batch."""
        return self._plan

    def set_decoder_beam_size(self, beam_size: int) -> None:
        """Remember how many rows each sentence has (called by ``SequenceGenerator``)."""
        super().set_decoder_beam_size(beam_size)
        self.beam_size = beam_size

    def begin(self, net_input: dict, rows_per_sentence: int) -> BatchDecoder:
        """Encode a batch for the search of the latest plan; returns what decodes it."""
        kernels.set_threads(torch.get_num_threads())
        plan = self._plan
        self._batch = BatchDecoder(
            self.models,
            self.rule,
            plan,
            [encode(model.encoder, net_input, plan) for model in self.models],
            net_input["src_tokens"],
            self.padding_idx,
            rows_per_sentence,
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
        groups = self._batch.step(tokens.cpu().numpy())
        exits = torch.empty_like(tokens[:, :1])
        for group in groups:
            exits[slice(None) if group.rows is None else torch.from_numpy(group.rows)] = group.exit_index
        self.exits = exits if self.exits is None else torch.cat([self.exits, exits], dim=1)
        return self._log_probabilities(groups, tokens.size(0), temperature), None

    def replicate_first_beam(self, sentences: Tensor) -> None:
        """Give all rows of *sentences* (booleans) the exits of the sentence's first row."""
        exits = self.exits.view(-1, self.beam_size, self.exits.size(1))
        exits[sentences] = exits[sentences][:, :1]

    def _log_probabilities(self, groups: List[ExitGroup], num_rows: int, temperature: float) -> Tensor:
        logits: List[Tensor] = []  # of each member, (rows, V)
        by_group = [group.output.logits() for group in groups]
        for member in range(self.models_size):
            if groups[0].rows is None:
                logits.append(by_group[0][member])
                continue
            together = by_group[0][member].new_empty(num_rows, by_group[0][member].size(1))
            for group, found in zip(groups, by_group):
                together[torch.from_numpy(group.rows)] = found[member]
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
        rule: when a token leaves the decoder.
        padding_idx: of the source dictionary.
        request: what the user asked for to run the models.
        **options: those of fairseq's ``SequenceGenerator``.
    """

    def __init__(self, models, tgt_dict, rule: ExitRule, padding_idx: int, request: Request = Request(), **options):
        super().__init__(DepthAdaptiveEnsemble(models, rule, padding_idx, request), tgt_dict, **options)
        self.model.plan(self._why_fairseqs_search())

    @property
    def plan(self) -> Plan:
        """What ran the latest batch, or will run the first."""
        return self.model.latest_plan

    def _generate(self, sample, prefix_tokens=None, constraints=None, bos_token=None):
        try:
            return self._search_batch(sample, prefix_tokens, constraints, bos_token)
        finally:
            self.model.end()

    def _search_batch(self, sample, prefix_tokens, constraints, bos_token):
        net_input = sample["net_input"]
        suppressed = [] if self.token_indices_to_suppress is None else self.token_indices_to_suppress.tolist()
        max_len = min(int(self.max_len_a * net_input["src_tokens"].size(1) + self.max_len_b), self.max_len - 1)
        why = self._why_fairseqs_search(
            ("a forced prefix", prefix_tokens is not None),
            ("--constraints", constraints is not None),
            ("--min-len beyond the maximum", self.min_len > max_len),
            # There must always be enough candidates that can follow.
            ("a beam about as wide as the vocabulary", self.vocab_size - 3 - len(suppressed) < 2 * self.beam_size),
        )
        self.model.plan(why)
        if why:
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

    def _why_fairseqs_search(self, *of_batch: Tuple[str, bool]) -> str:
        """What asks for fairseq's search rather than ours: the first that holds of the generator's options, and *of_batch*."""
        reasons = (
            (f"{type(self.search).__name__}", type(self.search) is not BeamSearch),
            ("an ensemble", self.model.models_size > 1),
            ("a language model", self.lm_model is not None),
            ("--no-repeat-ngram-size", self.repeat_ngram_blocker is not None),
            ("--match-source-len", self.match_source_len),
            *of_batch,
        )
        return next((reason for reason, holds in reasons if holds), "")

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
