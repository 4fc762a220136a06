"""A missing model of a tokeniser, a subword model or a metric ends in a traceback.

Concerns: fairseq 0.12.2: ``--bpe sentencepiece`` without a model or with one that is not there, packages that are not installed, and names
that ``--eval-bleu-detok`` or the hub interface does not know.
No longer needed when: ``fairseq-generate --bpe sentencepiece --sentencepiece-model nowhere`` ends with a sentence.
"""

import functools

from .user_errors import is_user_error, user_error

MODULES = ("fairseq.data.encoders", "fairseq.scoring")


def after(module):
    if module.__name__ == "fairseq.scoring":
        _mend(module, "build_scorer", "scoring", module.SCORER_REGISTRY)
    else:
        _mend(module, "build_tokenizer", "tokenizer", module.TOKENIZER_REGISTRY)
        _mend(module, "build_bpe", "bpe", module.BPE_REGISTRY)


def _mend(module, name, option, registry):
    original = getattr(module, name)

    @functools.wraps(original)
    def build(cfg, *arguments, **options):
        choice = cfg if isinstance(cfg, str) else getattr(cfg, "_name", None) or getattr(cfg, option, None)
        if choice is not None and choice not in registry:
            raise user_error(f"{option} {choice} was given, which is not known: choose one of {', '.join(sorted(registry))}")
        try:
            return original(cfg, *arguments, **options)
        except Exception as error:
            reason = None if is_user_error(error) else _reason(error)
            if reason is None:
                raise
            raise user_error(f"--{option} {choice} cannot be used: {reason}", OSError) from error

    setattr(module, name, build)


def _reason(error):
    from omegaconf.errors import MissingMandatoryValue

    text = str(error).partition("\n")[0]
    if isinstance(error, MissingMandatoryValue):
        name = text.rpartition(" ")[2].rpartition(".")[2].replace("_", "-")
        return f"--{name} is missing, which it needs" if name else "an option that it needs is missing"
    if isinstance(error, ModuleNotFoundError):
        return f"it needs the Python package {error.name}, which is not installed"
    if isinstance(error, ImportError):
        return text[:1].lower() + text[1:]
    if isinstance(error, (OSError, RuntimeError, UnicodeDecodeError)):  # the last but one comes from sentencepiece
        return "the file of its model was not named" if "???" in text else text
    return None
