"""Which of fairseq-generate's options a command honours; it refuses the others with a sentence."""

import argparse
from typing import Dict, Iterable, Set

_MODELS = ("path", "model_overrides", "lm_path", "lm_weight", "retain_dropout", "retain_dropout_modules")
_DATA = (
    "data", "source_lang", "target_lang", "gen_subset", "train_subset", "dataset_impl", "left_pad_source", "left_pad_target",
    "max_source_positions", "max_target_positions", "truncate_source", "num_batch_buckets", "required_seq_len_multiple",
    "num_workers", "data_buffer_size",
)  # fmt: skip
_SEARCH = (
    "beam", "max_len_a", "max_len_b", "min_len", "match_source_len", "unnormalized", "lenpen", "unkpen", "temperature",
    "no_repeat_ngram_size", "prefix_size", "sampling", "sampling_topk", "sampling_topp", "diverse_beam_groups",
    "diverse_beam_strength", "diversity_rate", "seed", "no_seed_provided",
)  # fmt: skip
_EXITS = (
    "exit_at", "exit_thresholds", "exit_entropy", "exit_margin", "exit_saturation", "exit_patience", "exit_seed", "quantize",
    "decoding_kernels",
)  # fmt: skip
# What fairseq-generate prints beside its score, of which these commands print none: --nbest shows more hypotheses of the same
# search, of which the best is scored.
_PRINTED = ("nbest", "quiet", "no_progress_bar")
_PROGRAM = ("help", "task", "user_dir", "cpu", "fp16", "memory_efficient_fp16", "bf16", "memory_efficient_bf16", "post_process")

#: Options, by the names that argparse gives their values, that decoding through :mod:`.decoding` honours.
HONOURED = frozenset((*_MODELS, *_DATA, *_SEARCH, *_EXITS, *_PRINTED, *_PROGRAM))
#: Options that say how a pass over a subset forms its batches, and what it leaves out.
BATCHING = frozenset(("max_tokens", "batch_size", "required_batch_size_multiple", "skip_invalid_size_inputs_valid_test"))
#: What CTranslate2's search, on a checkpoint that was exported for it, is told.
CTRANSLATE2 = frozenset((*_DATA, "beam", "max_len_a", "max_len_b", "min_len", "lenpen", "path", "user_dir", "cpu", "post_process"))

_WHOLE = "scores are of the whole subset, in one process"
_SCORES = "translations are scored, not printed"
_REASONS = {
    "results_path": _SCORES,
    "print_alignment": _SCORES,
    "print_step": f"{_SCORES}, and an exit log holds their exits",
    "score_reference": "it scores the references in place of translations",
    "constraints": "only fairseq-interactive reads constraints",
    "replace_unk": "it replaces words in text that is printed, with alignments that exits do not have",
    "sacrebleu": "sacreBLEU is always among the scores",
    "scoring": "the scores are BLEU of tokens and sacreBLEU of detokenised text",
    "tokenizer": "translations are scored as tokens, and detokenised by Moses' rules",
    "bpe": "subwords are joined by --remove-bpe",
    "log_format": "the progress is a bar, which --no-progress-bar turns off",
    "log_interval": "the progress is a bar, which --no-progress-bar turns off",
    "num_shards": _WHOLE,
    "shard_id": _WHOLE,
    "checkpoint_suffix": "checkpoints are files of their own: name them with --path, with colons between them",
    "checkpoint_shard_count": "checkpoints are files of their own: name them with --path, with colons between them",
}
_OTHERWISE = "it has no effect on what this command decodes and scores"


def refuse_unhonoured(
    parser: argparse.ArgumentParser, arguments: Iterable[str], honoured: Set[str], reasons: Dict[str, str], defaults: Iterable[str] = ()
) -> None:
    """Check that every option of *arguments* does here what it does in fairseq-generate.

    Args:
        parser: with all options, fairseq's and a command's own.
        honoured: those that are allowed, as argparse names their values.
        reasons: why others are not, before the general reasons.
        defaults: the options that the command puts before *arguments*; to repeat one is allowed.

    Raises:
        ValueError: an option that is not honoured was given another value than its default.
    """
    usual = parser.parse_args([*defaults, *_positionals(parser)])
    for option, value in _given(parser, arguments).items():
        if option in honoured or value == getattr(usual, option, None):
            continue
        reason = reasons.get(option) or _REASONS.get(option, _WHOLE if option.startswith("distributed") else _OTHERWISE)
        name = next(each for action in parser._actions if action.dest == option for each in action.option_strings[:1])
        shown = "" if isinstance(value, bool) else f" {value}"
        raise ValueError(f"{name}{shown} was given, but {reason}: leave the option out")


def _positionals(parser):
    return ["-" for action in parser._actions if not action.option_strings and action.nargs not in ("?", "*")]


def _given(parser, arguments) -> dict:
    """The values that *arguments* give, without defaults."""
    actions = parser._actions
    defaults = [(action, action.default) for action in actions]
    try:
        for action in actions:
            action.default = argparse.SUPPRESS
        return vars(parser.parse_args(list(arguments)))
    finally:
        for action, default in defaults:
            action.default = default
