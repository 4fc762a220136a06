"""Options that fairseq takes by name from Python or JSON are not checked: a misspelt one does nothing.

Concerns: fairseq 0.12.2: keyword arguments of the hub interface's ``translate`` and ``from_pretrained``, ``--eval-bleu-args`` and
``--model-overrides``.
No longer needed when: ``fairseq-generate --model-overrides "{'encoder_layer': 1}"`` ends with a sentence, and so do the others.
"""

import argparse
import ast
import contextlib
import difflib
import functools

from .user_errors import user_error

MODULES = ("fairseq.checkpoint_utils", "fairseq.hub_utils")

# What FairseqTask.build_generator reads. The other options of fairseq-generate are its own.
_OF_THE_GENERATOR = frozenset(
    "beam constraints diverse_beam_groups diverse_beam_strength diversity_rate lenpen match_source_len max_len_a max_len_b min_len "
    "no_repeat_ngram_size prefix_allowed_tokens_fn print_alignment sampling sampling_topk sampling_topp score_reference temperature "
    "unkpen unnormalized".split()
)
_OF_THE_HUB = frozenset({"verbose", "skip_invalid_size_inputs", "inference_step_args", "replace_newline_with_eos"})


def after(module):
    if module.__name__ == "fairseq.hub_utils":
        _mend_hub(module)
    else:
        _mend_overrides(module)


def read_dictionary(option, text):
    """The value of an option that is a dictionary in Python's notation.

    Raises:
        ValueError: a user error
    """
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise user_error(f"{option} {text} was given; it must be a dictionary in Python's notation, such as \"{{'dropout': 0.1}}\"")
    return value


def refuse_unknown_generation_options(task, given, where, also=()):
    """Refuse names in ``given`` that ``task.build_generator`` does not read.

    A task that reads more than fairseq's own says so in its attribute ``generator_options``, a set of names.

    Raises:
        ValueError: a user error
    """
    from fairseq.dataclass.configs import GenerationConfig
    from fairseq.tasks import FairseqTask

    known = _OF_THE_GENERATOR.union(also, getattr(task, "generator_options", ()))
    if not hasattr(task, "generator_options") and type(task).build_generator is not FairseqTask.build_generator:
        known = known.union(GenerationConfig.__dataclass_fields__, _names(task.cfg))
    for name in given:
        if name not in known:
            what = "does nothing there" if name in GenerationConfig.__dataclass_fields__ else "is not an option"
            raise user_error(f"{where}: {name} was given, which {what}{_instead(name, known)}")


def _instead(name, known):
    close = difflib.get_close_matches(str(name), sorted(known), 1)
    return f"; did you mean {close[0]}?" if close else f"; the options are {', '.join(sorted(known))}"


def _mend_hub(module):
    interface = module.GeneratorHubInterface
    generate, build = interface.generate, interface.__init__

    @functools.wraps(generate)
    def mended_generate(self, tokenized_sentences, *arguments, **options):
        refuse_unknown_generation_options(self.task, options, "keyword argument", _OF_THE_HUB)
        return generate(self, tokenized_sentences, *arguments, **options)

    @functools.wraps(build)
    def __init__(self, cfg, *arguments, **options):
        if cfg.generation.replace_unk is not None:
            raise user_error(
                f"replace_unk={cfg.generation.replace_unk!r} was given, which does nothing in the hub interface: leave it out, or "
                "translate with fairseq-interactive --replace-unk"
            )
        build(self, cfg, *arguments, **options)

    interface.generate, interface.__init__ = mended_generate, __init__


def _mend_overrides(module):
    original = module.overwrite_args_by_name

    @functools.wraps(original)
    def overwrite_args_by_name(cfg, overrides):
        _refuse_unknown_overrides(cfg, overrides)
        return original(cfg, overrides)

    module.overwrite_args_by_name = overwrite_args_by_name


def _refuse_unknown_overrides(cfg, overrides):
    known = _names(cfg)
    if set(overrides) <= known:
        return
    known |= _names_of_fairseq()
    for name in overrides:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            raise user_error(
                f"{name} was given with --model-overrides, or as a keyword argument of from_pretrained, which is not an option of the "
                f"checkpoint or of fairseq{_instead(name, known) if close else ''}"
            )


def _names(cfg):
    """The names of all options in a configuration, whatever group they are in."""
    from omegaconf import DictConfig

    if isinstance(cfg, argparse.Namespace):
        return set(vars(cfg))
    if not isinstance(cfg, (dict, DictConfig)):
        return set()
    names = set(map(str, cfg.keys()))
    for key in list(cfg.keys()):
        with contextlib.suppress(Exception):  # a value that must be given and is not
            names |= _names(cfg[key])
    return names


def _names_of_fairseq():
    """The names of the options of everything that is registered, plugins included."""
    from fairseq import models, tasks
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.registry import REGISTRIES

    dataclasses = [field.type for field in FairseqConfig.__dataclass_fields__.values()]
    dataclasses += [*tasks.TASK_DATACLASS_REGISTRY.values(), *models.MODEL_DATACLASS_REGISTRY.values()]
    for registry in REGISTRIES.values():
        dataclasses += registry["dataclass_registry"].values()
    names = {*FairseqConfig.__dataclass_fields__, *REGISTRIES}
    names.update(name for each in dataclasses for name in getattr(each, "__dataclass_fields__", ()))
    for owner in {*tasks.TASK_REGISTRY.values(), *models.MODEL_REGISTRY.values(), *models.ARCH_MODEL_REGISTRY.values()}:
        parser = argparse.ArgumentParser(conflict_handler="resolve")
        with contextlib.suppress(Exception):  # options without a dataclass; those before a failure are taken
            owner.add_args(parser)
        names.update(action.dest for action in parser._actions)
    return names
