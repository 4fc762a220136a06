"""Generation options that cannot work end in a traceback, some of them in the middle of a run, and others are taken and do nothing.

Concerns: fairseq 0.12.2: ``--beam 0``, ``--nbest`` above ``--beam``, ``--sampling`` without ``--nbest``, ``--min-len`` above the maximum,
``--temperature 0`` and so on, in fairseq-generate, fairseq-interactive, the hub interface and ``--eval-bleu-args``; ``--sacrebleu``,
which has had no effect since ``--scoring`` came, and is taken for ``--scoring sacrebleu`` here.
No longer needed when: ``fairseq-generate --beam 0`` and its like end with a sentence before anything is translated.
"""

import argparse
import functools
import math
import numbers

from .rephrasing import rephrase
from .unknown_options import read_dictionary
from .user_errors import user_error

MODULES = ("fairseq_cli.generate", "fairseq_cli.interactive", "fairseq.sequence_generator", "fairseq.tasks.fairseq_task")

# What each option may be: the kind of number, and its range.
_WHOLE, _ANY = numbers.Integral, numbers.Real
_NUMBERS = {
    "beam": (_WHOLE, lambda value: value >= 1, "a whole number, 1 or more"),
    "nbest": (_WHOLE, lambda value: value >= 1, "a whole number, 1 or more"),
    "min_len": (_WHOLE, lambda value: value >= 0, "a whole number, 0 or more"),
    "max_len_a": (_ANY, lambda value: 0 <= value < math.inf, "a number, 0 or more"),
    "max_len_b": (_WHOLE, lambda value: True, "a whole number"),
    "prefix_size": (_WHOLE, lambda value: value >= 0, "a whole number, 0 or more"),
    "no_repeat_ngram_size": (_WHOLE, lambda value: value >= 0, "a whole number, 0 or more"),
    "lenpen": (_ANY, math.isfinite, "a number"),
    "unkpen": (_ANY, lambda value: not math.isnan(value), "a number"),
    "temperature": (_ANY, lambda value: 0 < value < math.inf, "a number above 0"),
    "sampling_topk": (_WHOLE, lambda value: True, "a whole number"),
    "sampling_topp": (_ANY, lambda value: value <= 1, "a probability, 1 at most"),
    "diverse_beam_groups": (_WHOLE, lambda value: True, "a whole number"),
    "diverse_beam_strength": (_ANY, math.isfinite, "a number"),
    "diversity_rate": (_ANY, math.isfinite, "a number"),
    "lm_weight": (_ANY, math.isfinite, "a number"),
}
# Each chooses a search of its own.
_SEARCHES = {
    "sampling": bool,
    "diverse_beam_groups": lambda value: value > 0,
    "match_source_len": bool,
    "diversity_rate": lambda value: value > 0,
}


def after(module):
    if module.__name__ == "fairseq.tasks.fairseq_task":
        _mend_build_generator(module.FairseqTask)
    elif module.__name__ == "fairseq.sequence_generator":
        _mend_search(module.SequenceGenerator)
    else:
        _mend_command(module)


def check(given, dictionary=None):
    """Check the options of a generator.

    Args:
        given: a namespace or configuration; what it lacks has its default
        dictionary: of the target language, if known

    Raises:
        ValueError: a user error
    """
    for name, (kind, holds, allowed) in _NUMBERS.items():
        value = getattr(given, name, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind) or not holds(value)):
            raise user_error(f"{_option(name)} {value} was given; it must be {allowed}")

    def value_of(name, default):
        value = getattr(given, name, None)
        return default if value is None else value

    beam, nbest, groups = value_of("beam", 5), value_of("nbest", 1), value_of("diverse_beam_groups", -1)
    if nbest > beam:
        raise user_error(
            f"--nbest {nbest} was given with --beam {beam}, which finds no more than {beam}: give --nbest {beam} or a larger --beam"
        )
    _check_lengths(value_of("min_len", 1), value_of("max_len_a", 0), value_of("max_len_b", 200))
    searches = [_option(name) for name, chosen in _SEARCHES.items() if chosen(value_of(name, 0))]
    if len(searches) > 1:
        raise user_error(f"{' and '.join(searches)} were given, and each is a search of its own: choose one of them")
    for name in ("sampling_topk", "sampling_topp"):
        if value_of(name, -1) >= 0 and not value_of("sampling", False):
            raise user_error(f"{_option(name)} was given without --sampling: give both or neither")
    if dictionary is not None and value_of("sampling_topk", -1) > len(dictionary):
        raise user_error(
            f"--sampling-topk {given.sampling_topk} was given, but the target dictionary has {len(dictionary)} words only"
        )
    if groups > 0 and beam % groups:
        raise user_error(f"--diverse-beam-groups {groups} was given with --beam {beam}, which is not a multiple of it")


def _check_lengths(min_len, max_len_a, max_len_b):
    if max_len_a + max_len_b < 0:  # of the shortest source, which is an end of sentence
        raise user_error(
            f"--max-len-a {max_len_a} --max-len-b {max_len_b} was given: an empty line's translation would have less than 0 words"
        )
    if max_len_a == 0 and min_len > max_len_b:
        raise user_error(
            f"--min-len {min_len} was given with --max-len-b {max_len_b}: the shortest translation must not be longer than the longest"
        )


def _option(name):
    return f"--{name.replace('_', '-')}"


def _mend_build_generator(task):
    original = task.build_generator

    @functools.wraps(original)
    def build_generator(self, models, args, *arguments, **options):
        check(args, getattr(self, "target_dictionary", None))
        return original(self, models, args, *arguments, **options)

    task.build_generator = build_generator


def _mend_search(generator):
    def too_long(error, self, models, sample, *arguments, **options):
        if not str(error).startswith("min_len cannot be larger"):
            return None
        return user_error(
            f"--min-len {self.min_len} was given, but for one of the sentences --max-len-a {self.max_len_a}, --max-len-b {self.max_len_b} and "
            f"the model's {self.max_len} positions allow fewer words: lower it, or raise them",
            AssertionError,
        )

    rephrase(generator, "generate", AssertionError, too_long)  # not _generate, which TorchScript compiles


def _mend_command(module):
    original = module.main
    interactive = module.__name__ == "fairseq_cli.interactive"

    @functools.wraps(original)
    def main(cfg, *arguments, **options):
        if isinstance(cfg, argparse.Namespace):
            cfg = module.convert_namespace_to_omegaconf(cfg)
        check_command(cfg, interactive)
        if cfg.generation.sacrebleu:
            _score_with_sacrebleu(cfg)
        return original(cfg, *arguments, **options)

    module.main = main


def check_command(cfg, interactive):
    """Check the options of fairseq-generate or fairseq-interactive, before anything is loaded.

    Raises:
        ValueError: a user error
    """
    check(cfg.generation)
    beam, nbest = cfg.generation.beam, cfg.generation.nbest
    if not cfg.common_eval.path:
        raise user_error("--path is missing: name the checkpoint of the model, or several with colons")
    if cfg.generation.sampling and nbest != beam:
        raise user_error(
            f"--sampling was given with --beam {beam} and --nbest {nbest}; it draws as many translations as --beam says, and prints them "
            f"all: give --nbest {beam}, or --beam {nbest}"
        )
    read_dictionary("--model-overrides", cfg.common_eval.model_overrides)
    if interactive:
        _check_interactive(cfg)


def _check_interactive(cfg):
    size, buffer = cfg.dataset.batch_size, max(1, cfg.interactive.buffer_size)
    if size is not None and size > buffer:
        raise user_error(f"--batch-size {size} was given with --buffer-size {buffer}: the buffer must hold a batch at least")
    given = {
        "--lm-path": cfg.generation.lm_path is not None,
        "--prefix-size": cfg.generation.prefix_size > 0,
        "--score-reference": cfg.generation.score_reference,
        "--sacrebleu": cfg.generation.sacrebleu,
        "--results-path": cfg.common_eval.results_path is not None,
    }
    for option in (option for option, is_given in given.items() if is_given):
        raise user_error(f"{option} was given, which does nothing in fairseq-interactive: leave it out, or use fairseq-generate")
    if cfg.generation.print_alignment == "soft":
        raise user_error(
            "--print-alignment soft was given, which only fairseq-generate prints: give --print-alignment hard, or use that"
        )


def _score_with_sacrebleu(cfg):
    from fairseq.scoring.bleu import SacrebleuConfig
    from omegaconf import OmegaConf, open_dict

    scoring = getattr(cfg.scoring, "_name", cfg.scoring)
    if scoring not in (None, "bleu", "sacrebleu"):
        raise user_error(f"--sacrebleu and --scoring {scoring} were given: choose one of them")
    if scoring != "sacrebleu":
        with open_dict(cfg):
            defaults = OmegaConf.to_container(OmegaConf.structured(SacrebleuConfig()), enum_to_str=True)
            cfg.scoring = OmegaConf.create({**defaults, "_name": "sacrebleu"})
