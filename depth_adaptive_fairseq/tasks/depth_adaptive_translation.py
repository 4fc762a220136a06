"""The task ``depth_adaptive_translation``: fairseq's translation, decoded with an exit per token."""

from dataclasses import dataclass, field, fields, make_dataclass
from typing import List, Optional

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.dataclass.configs import GenerationConfig
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.exits.options import build_exit_rule, read_exit_options
from depth_adaptive_fairseq.exits.registry import EXIT_POLICIES, OPTIONS, POLICIES
from depth_adaptive_fairseq.inference.generator import DepthAdaptiveGenerator, describe_exits
from depth_adaptive_fairseq.inference.linear import QUANTIZATIONS
from depth_adaptive_fairseq.inference.plan import KERNELS, Request
from depth_adaptive_fairseq.modules.decoder import DepthAdaptiveDecoder
from depth_adaptive_fairseq.tasks.inference_batches import ObservedEpochIterator
from depth_adaptive_fairseq.tasks.inference_report import InferenceReport


@dataclass
class _PolicyConfig(TranslationConfig):
    exit_policy: ChoiceEnum(list(EXIT_POLICIES)) = field(
        default="auto",
        metadata={
            "help": "how each token's exit is chosen; auto: by the model's halting classifier if it has one, "
            "else full depth"
        },
    )


def _exit_option_fields() -> list:
    """The options ``--exit-<name>`` of the registry's policies, as fields of a configuration."""
    made = []
    for name, option in OPTIONS.items():
        users = ", ".join(policy.name for policy in POLICIES.values() if policy.option is option)
        kind = option.kind if option.default is not None else Optional[option.kind]
        made.append((f"exit_{name}", kind, field(default=option.default, metadata={"help": f"{users}: {option.meaning}"})))
    return made


_ExitConfig = make_dataclass("_ExitConfig", _exit_option_fields(), bases=(_PolicyConfig,))
_ExitConfig.__module__ = __name__


@dataclass
class DepthAdaptiveTranslationConfig(_ExitConfig):
    quantize: ChoiceEnum(list(QUANTIZATIONS)) = field(
        default="none",
        metadata={
            "help": "weights of encoder and decoder while decoding on a CPU: float16 reads half the memory, int8 a quarter; "
            "sums stay in float32 or int32"
        },
    )
    decoding_kernels: ChoiceEnum(list(KERNELS)) = field(
        default="auto",
        metadata={
            "help": "what runs the blocks of encoder and decoder: C++ of this plugin's (native), PyTorch's operators (torch), or the former where "
            "they can: a CPU, float32 or int8 weights, ReLU (auto)"
        },
    )
    exit_log: Optional[str] = field(
        default=None,
        metadata={"help": "write each translation's exits to this file, one JSON object a line"},
    )


@register_task("depth_adaptive_translation", dataclass=DepthAdaptiveTranslationConfig)
class DepthAdaptiveTranslationTask(TranslationTask):
    """Translation with models whose decoder can stop after any block.

    Works in fairseq-train, -generate, -interactive, -validate and through the hub interface, whose
    ``translate(..., exit_policy="confidence", exit_thresholds=0.9)`` takes the task's options as keyword arguments.
    """

    cfg: DepthAdaptiveTranslationConfig
    # What build_generator reads beside fairseq's own (see compat/unknown_options.py).
    generator_options = frozenset(
        set(DepthAdaptiveTranslationConfig.__dataclass_fields__) - set(TranslationConfig.__dataclass_fields__)
    )

    def __init__(self, cfg, src_dict, tgt_dict):
        super().__init__(cfg, src_dict, tgt_dict)
        self._report: Optional[InferenceReport] = None
        self._builds_model = False
        self._decodes = False  # models come from checkpoints: fairseq-generate, -interactive, the hub interface
        self._batch_ids = None
        self._report_interactive = False
        self._numbered_sentences = range(0)

    def build_model(self, cfg, from_checkpoint=False):
        """Build a model and, with ``--eval-bleu``, its generator."""
        self._builds_model = True
        try:
            return super().build_model(cfg, from_checkpoint)
        finally:
            self._builds_model = False
            self._decodes = from_checkpoint

    def build_generator(
        self, models, args, seq_gen_cls=None, extra_gen_cls_kwargs=None, prefix_allowed_tokens_fn=None
    ):
        """Build the generator that *args* and the task's options ask for; *args* come first.

        Raises:
            DepthAdaptiveError: models without exits or of different depth, or options that do not go together.
        """
        num_exits = common_depth(models)
        halting = [model.decoder.halting for model in models]
        rule = build_exit_rule(read_exit_options(args, self.cfg), num_exits, halting)
        request = self._request(args)
        refuse_unsupported(args, rule.policy.name, request.quantize)
        # Scoring and alignment are fairseq's own classes, which run all blocks: hence only at full depth.
        if not any(_is_given(args, option) for option, _ in _OF_THE_LAST_EXIT):
            seq_gen_cls = seq_gen_cls or DepthAdaptiveGenerator
            extra_gen_cls_kwargs = dict(
                extra_gen_cls_kwargs or {},
                rule=rule,
                padding_idx=self.source_dictionary.pad(),
                request=request,
            )
        generator = super().build_generator(models, args, seq_gen_cls, extra_gen_cls_kwargs, prefix_allowed_tokens_fn)
        if not self._builds_model:  # the generator of --eval-bleu reports nothing of its own
            log_path = getattr(args, "exit_log", None) or self.cfg.exit_log
            self._report = InferenceReport(rule.policy, models, self.target_dictionary, log_path, lambda: describe_plan(generator))
        return generator

    def _request(self, args) -> Request:
        """``--quantize`` and ``--decoding-kernels``; *args*, which the hub interface fills with keyword arguments, come first."""
        given = (getattr(args, name, None) or getattr(self.cfg, name) for name in ("quantize", "decoding_kernels"))
        return Request(*map(str, given))

    def inference_step(self, generator, models, sample, prefix_tokens=None, constraints=None):
        """Translate a batch and report its exits.

        Raises:
            DepthAdaptiveError: ``--constraints`` without any, as in fairseq-generate.
        """
        if constraints is None and getattr(getattr(generator, "search", None), "supports_constraints", False):
            raise DepthAdaptiveError(
                "--constraints was given, but the batch has none; only fairseq-interactive reads constraints, behind tabs in "
                "its input: use it, or leave the option out."
            )
        hypotheses = super().inference_step(generator, models, sample, prefix_tokens, constraints)
        for hypothesis in (hypothesis for sentence in hypotheses for hypothesis in sentence):
            if "exits" not in hypothesis:
                hypothesis.update(describe_exits(torch.full((len(hypothesis["tokens"]),), common_depth(models))))
        if self._report is not None:
            self._report_batch(sample, [sentence[0] for sentence in hypotheses])
        return hypotheses

    def _report_batch(self, sample: dict, best: List[dict]) -> None:
        interactive = "id" not in sample
        ids = (self._batch_ids if interactive else sample["id"]).tolist()
        lengths = sample["net_input"]["src_tokens"].ne(self.source_dictionary.pad()).sum(dim=1).tolist()
        if interactive:
            ids = [self._numbered_sentences[i] for i in ids]
            for sentence in zip(ids, lengths, best):
                self._report.summarise_sentence(*sentence)
        self._report.add(ids, lengths, best)
        self._report_interactive = interactive

    def filter_indices_by_size(self, indices, dataset, max_positions=None, ignore_invalid_inputs=False):
        """Drop sentences that are too long.

        Raises:
            DepthAdaptiveError: there are some, and fairseq was not told to skip them.
        """
        if not ignore_invalid_inputs:
            _, too_long = dataset.filter_indices_by_size(indices, max_positions)
            if len(too_long) > 0:
                size = dataset.size(too_long[0])
                size = tuple(map(int, size)) if isinstance(size, tuple) else int(size)
                raise DepthAdaptiveError(
                    f"{len(too_long)} sentences are longer than --max-source-positions and --max-target-positions allow, "
                    f"which is {max_positions} tokens; the first, number {too_long[0]}, has {size}: shorten them, raise the "
                    "limits, or skip them with --skip-invalid-size-inputs-valid-test."
                )
        return super().filter_indices_by_size(indices, dataset, max_positions, ignore_invalid_inputs)

    def build_dataset_for_inference(self, src_tokens, src_lengths, constraints=None):
        """Wrap sentences that come one buffer at a time, numbering them from 0 across buffers."""
        first = self._numbered_sentences.stop
        self._numbered_sentences = range(first, first + len(src_tokens))
        return super().build_dataset_for_inference(src_tokens, src_lengths, constraints=constraints)

    def get_batch_iterator(self, *args, **kwargs):
        """fairseq's batches; while decoding, their end ends the report."""
        batches = super().get_batch_iterator(*args, **kwargs)
        if not self._decodes:
            return batches
        return ObservedEpochIterator(batches, on_batch=self._see_batch, on_end=self._end_report)

    def _see_batch(self, batch: dict) -> None:
        self._batch_ids = batch.get("id")

    def _end_report(self) -> None:
        if self._report is not None:
            self._report.finish(summarise=not self._report_interactive)


def common_depth(models) -> int:
    """N of all *models*.

    Raises:
        DepthAdaptiveError: one of them has no exits, or they differ.
    """
    for model in models:
        if not isinstance(getattr(model, "decoder", None), DepthAdaptiveDecoder):
            raise DepthAdaptiveError(
                f"a checkpoint of a {type(model).__name__} was given, which has one exit; --task depth_adaptive_translation "
                "decodes models with an exit behind every block: continue its training with --arch "
                "depth_adaptive_transformer --finetune-from-model, or decode it with --task translation."
            )
    depths = sorted({model.decoder.num_exits for model in models})
    if len(depths) > 1:
        raise DepthAdaptiveError(
            f"an ensemble of models with {' and '.join(map(str, depths))} exits was given; its members must have equally many."
        )
    return depths[0]


# Options that fairseq's own decoder carries out, and why.
_OF_THE_LAST_EXIT = (
    ("print_alignment", "alignments are read from the last block's attention"),
    ("replace_unk", "unknown words are replaced by way of the last block's attention"),
    ("score_reference", "references are scored by the last exit"),
)


def _is_given(args, option: str) -> bool:
    return getattr(args, option, None) not in (None, False)  # --replace-unk may be an empty string


def describe_plan(generator) -> str:
    """One line about what runs the models of *generator*."""
    if isinstance(generator, DepthAdaptiveGenerator):
        return generator.plan.describe()
    return f"run by | fairseq's own decoder: {type(generator).__name__}"


def refuse_unsupported(args, policy: str, quantize: str) -> None:
    """Raise a :class:`DepthAdaptiveError` for a generation option that the others cannot be combined with."""
    if policy != "full":
        for option, reason in _OF_THE_LAST_EXIT:
            if _is_given(args, option):
                raise DepthAdaptiveError(
                    f"--{option.replace('_', '-')} was given with --exit-policy {policy}; {reason}: "
                    "give --exit-policy full, or leave the option out."
                )
    if quantize != "none":
        for option, _ in _OF_THE_LAST_EXIT:
            if _is_given(args, option):
                raise DepthAdaptiveError(
                    f"--quantize {quantize} was given with --{option.replace('_', '-')}, which runs fairseq's own decoder: "
                    "leave one of them out."
                )
    for option in fields(GenerationConfig):
        iterative = option.name.startswith("iter_decode") or option.name == "retain_iter_history"
        if iterative and getattr(args, option.name, option.default) != option.default:
            raise DepthAdaptiveError(
                f"--{option.name.replace('_', '-')} was given; it belongs to iterative (non-autoregressive) models, which have "
                "no exits: leave the option out."
            )
