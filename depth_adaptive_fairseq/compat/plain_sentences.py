"""Common mistakes end in a traceback: a missing dictionary, data set or model file and so on.

Concerns: fairseq 0.12.2. The classes of the exceptions stay what they are, so that programs which
catch them go on to; their messages become sentences, and they count as the user's errors.
No longer needed when: fairseq reports these by itself.
"""

from .rephrasing import rephrase as _rephrase
from .user_errors import user_error

MODULES = (
    "fairseq.checkpoint_utils",
    "fairseq.data.data_utils",
    "fairseq.data.dictionary",
    "fairseq.models",
    "fairseq.tasks",
    "fairseq.tasks.translation",
    "fairseq.trainer",
)


def after(module):
    _MENDS[module.__name__](module)


def _mend_dictionary(module):
    def rephrased(error, dictionary, f):
        if not isinstance(f, str):  # called by itself, for the opened file
            return None
        if isinstance(error, FileNotFoundError):
            text = (
                f"dictionary {f} not found: the data folder must hold one for each language; check "
                "the folder, --source-lang and --target-lang, or binarise with fairseq-preprocess"
            )
        else:
            text = f"dictionary {f} cannot be used: {error}"
        kinds = (FileNotFoundError, ValueError, RuntimeError)
        return user_error(text, type(error) if type(error) in kinds else Exception)

    _rephrase(module.Dictionary, "add_from_file", Exception, rephrased)


def _mend_data(module):
    def missing_folder(error, path):
        return user_error(f"data folder {path} not found", type(error))

    _rephrase(module, "infer_language_pair", (FileNotFoundError, NotADirectoryError), missing_folder)


def _mend_checkpoints(module):
    def missing_model(error, *arguments, **options):
        if str(error).startswith("Model file not found"):
            return user_error(f"model file not found: {error.args[0].partition(': ')[2]}", OSError)
        return None

    def wrong_combination(error, *arguments, **options):
        text = str(error)
        if text.startswith("--finetune-from-model"):
            return user_error(text.partition(": {")[0].rstrip(":"))
        return None

    _rephrase(module, "load_model_ensemble_and_task", OSError, missing_model)
    _rephrase(module, "load_checkpoint", ValueError, wrong_combination)


def _mend_models(module):
    def unknown(error, cfg, *arguments, **options):
        name = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
        if name in module.ARCH_MODEL_REGISTRY or name in module.MODEL_DATACLASS_REGISTRY:
            return None
        return user_error(
            f"unknown model architecture {name!r}: if a plugin brings it, name the plugin with "
            "--user-dir, as when the model was trained",
            AssertionError,
        )

    # fairseq fails to format its own message where the configuration has braces: a KeyError.
    _rephrase(module, "build_model", (AssertionError, KeyError), unknown)


def _mend_tasks(module):
    def rephrased(error, cfg, *arguments, **options):
        if str(error).startswith("Could not infer language pair"):
            return user_error(
                f"the data folder {cfg.data} does not tell the language pair; name it with "
                "--source-lang and --target-lang",
                type(error),
            )
        if not isinstance(error, (AssertionError, KeyError)):
            return None
        name = getattr(cfg, "task", None) or getattr(cfg, "_name", None)
        if name in module.TASK_REGISTRY:
            return None
        return user_error(
            f"unknown task {name!r}: if a plugin brings it, name the plugin with --user-dir; "
            f"known are {', '.join(sorted(module.TASK_REGISTRY))}",
            type(error),
        )

    _rephrase(module, "setup_task", Exception, rephrased)


def _mend_translation(module):
    def missing_data(error, *arguments, **options):
        return user_error(
            f"{error}; check the data folder, --source-lang and --target-lang, and the names of "
            "the splits (--train-subset, --valid-subset, --gen-subset)",
            FileNotFoundError,
        )

    _rephrase(module, "load_langpair_dataset", FileNotFoundError, missing_data)


def _mend_trainer(module):
    def mismatch(error, trainer, filename, *arguments, **options):
        text = str(error)
        if text.startswith("Cannot load model parameters"):
            reason = " ".join(str(error.__context__).split())
            return user_error(f"{error} ({reason[:300]})", type(error))
        if text.startswith(("Criterion does not match", "Optimizer does not match")):
            kind, _, names = text.partition(" does not match; please reset the optimizer (--reset-optimizer). ")
            saved, _, given = names.partition(" vs ")
            return user_error(
                f"checkpoint {filename} was trained with the {kind.lower()} {saved}, and this training has {given}: give the "
                f"{kind.lower()} of the checkpoint, or start the optimizer afresh with --reset-optimizer",
                type(error),
            )
        if isinstance(error, (KeyError, AttributeError, TypeError)) and _raised_in(error, "lr_scheduler"):
            return user_error(
                f"checkpoint {filename} holds the state of another learning rate scheduler: give the --lr-scheduler it was trained with, or "
                "start it afresh with --reset-lr-scheduler"
            )
        return None

    _rephrase(module.Trainer, "load_checkpoint", Exception, mismatch)


def _raised_in(error, folder):
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return folder in trace.tb_frame.f_code.co_filename


_MENDS = {
    "fairseq.checkpoint_utils": _mend_checkpoints,
    "fairseq.data.data_utils": _mend_data,
    "fairseq.data.dictionary": _mend_dictionary,
    "fairseq.models": _mend_models,
    "fairseq.tasks": _mend_tasks,
    "fairseq.tasks.translation": _mend_translation,
    "fairseq.trainer": _mend_trainer,
}
