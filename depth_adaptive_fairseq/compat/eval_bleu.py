"""``--eval-bleu`` fails at the first validation, or reports too much, where translations are empty or its options are wrong.

Concerns: fairseq 0.12.2. Batches whose translations are all empty are left out of BLEU, and so are the lengths of their references; where
all batches are such, nothing logs ``bleu``: a KeyError where it chooses the best checkpoint. ``--eval-bleu-args`` and
``--eval-bleu-detok-args`` that are no JSON end in a traceback, and names that mean nothing in them do nothing.
No longer needed when: a validation of empty translations logs a BLEU of 0, and wrong ``--eval-bleu-args`` end with a sentence.
"""

import functools
import json

from .unknown_options import refuse_unknown_generation_options
from .user_errors import user_error

MODULES = ("fairseq.tasks.translation",)


def after(module):
    task = module.TranslationTask
    build_model, reduce_metrics = task.build_model, task.reduce_metrics

    @functools.wraps(build_model)
    def mended_build_model(self, cfg, from_checkpoint=False):
        if self.cfg.eval_bleu and not from_checkpoint:
            given = _read("--eval-bleu-args", self.cfg.eval_bleu_args)
            refuse_unknown_generation_options(self, given, "--eval-bleu-args")
            _read("--eval-bleu-detok-args", self.cfg.eval_bleu_detok_args)
        return build_model(self, cfg, from_checkpoint)

    @functools.wraps(reduce_metrics)
    def mended_reduce_metrics(self, logging_outputs, criterion):
        reduce_metrics(self, logging_outputs, criterion)
        if self.cfg.eval_bleu:
            _log_empty(module, logging_outputs)

    task.build_model, task.reduce_metrics = mended_build_model, mended_reduce_metrics


def _read(option, text):
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise user_error(f'{option} {text} was given; it must be a JSON object such as {{"beam": 4, "lenpen": 0.6}}')
    return value


def _log_empty(module, logging_outputs):
    """Count translations without any word, which fairseq does not."""
    import sacrebleu

    def total(key):
        return sum(int(log.get(key, 0)) for log in logging_outputs)

    translated = any("_bleu_sys_len" in log for log in logging_outputs)
    if not translated or any(total(f"_bleu_totals_{order}") for order in range(module.EVAL_BLEU_ORDER)):
        return

    def bleu(meters):
        score = sacrebleu.metrics.BLEU.compute_bleu(
            correct=meters["_bleu_counts"].sum,
            total=meters["_bleu_totals"].sum,
            sys_len=int(meters["_bleu_sys_len"].sum),
            ref_len=int(meters["_bleu_ref_len"].sum),
            smooth_method="exp",
        )
        return round(score.score, 2)

    for key in ("_bleu_counts", "_bleu_totals"):
        module.metrics.log_scalar(key, module.np.zeros(module.EVAL_BLEU_ORDER, dtype=int))
    module.metrics.log_scalar("_bleu_sys_len", total("_bleu_sys_len"))
    module.metrics.log_scalar("_bleu_ref_len", total("_bleu_ref_len"))
    module.metrics.log_derived("bleu", bleu)
