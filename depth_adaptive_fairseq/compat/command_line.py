"""``fairseq-validate`` without ``--task`` or ``--path``, and a folder in the place of a checkpoint, end in a traceback.

Concerns: fairseq 0.12.2. A value that an option cannot have, or that it needs and lacks, ends in one of hydra's.
No longer needed when: these end with a sentence.
"""

import argparse
import functools
import os

from .rephrasing import rephrase
from .unknown_options import read_dictionary
from .user_errors import user_error

MODULES = ("fairseq.checkpoint_utils", "fairseq.dataclass.utils", "fairseq.options", "fairseq_cli.validate")


def after(module):
    {
        "fairseq.checkpoint_utils": _mend_loading,
        "fairseq.dataclass.utils": _mend_composing,
        "fairseq.options": _mend_parsing,
        "fairseq_cli.validate": _mend_validate,
    }[module.__name__](module)


def _mend_parsing(module):
    def no_task(error, *arguments, **options):
        if error.args != (None,):
            return None
        return user_error("--task is missing: name the task that the model was trained for, such as --task translation")

    rephrase(module, "parse_args_and_arch", KeyError, no_task)


def _mend_composing(module):
    from hydra.errors import ConfigCompositionException

    def wrong_value(error, *arguments, **options):
        override = str(error).partition("Error merging override ")[2]
        if not override:
            return None
        name, _, value = override.partition("=")
        option = name.rpartition(".")[2].replace("_", "-")
        reason = str(error.__cause__ or "").partition("\n")[0]
        if value == "null":
            return user_error(f"--{option} is missing, which --{name.partition('.')[0].replace('_', '-')} needs")
        return user_error(f"--{option} {value} was given, which is not allowed ({reason})")

    rephrase(module, "convert_namespace_to_omegaconf", ConfigCompositionException, wrong_value)


def _mend_loading(module):
    def unreadable(error, path, *arguments, **options):
        if isinstance(error, IsADirectoryError) or os.path.isdir(path):
            text = f"checkpoint {path} is a folder: name a file in it, such as {os.path.join(path, 'checkpoint_best.pt')}"
        elif getattr(error, "filename", None) == path:
            text = f"cannot read checkpoint {path}: {error.strerror}"
        else:
            return None
        return user_error(text, type(error))

    rephrase(module, "load_checkpoint_to_cpu", OSError, unreadable)


def _mend_validate(module):
    original = module.main

    @functools.wraps(original)
    def main(cfg, *arguments, **options):
        if isinstance(cfg, argparse.Namespace):
            cfg = module.convert_namespace_to_omegaconf(cfg)
        if not cfg.common_eval.path:
            raise user_error("--path is missing: name the checkpoint of the model")
        if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
            raise user_error("neither --max-tokens nor --batch-size was given: say how large a batch may be")
        read_dictionary("--model-overrides", cfg.common_eval.model_overrides)
        return original(cfg, *arguments, **options)

    module.main = main
