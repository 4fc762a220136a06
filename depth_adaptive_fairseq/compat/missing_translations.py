"""A model whose weights are no numbers ends in an ``IndexError: list index out of range`` in the middle of a run.

Concerns: fairseq 0.12.2, whose search gives every continuation that is no number a probability of 0, finds no translation, and goes on.
No longer needed when: ``fairseq-generate`` with a model full of NaN ends with a sentence.
"""

import functools
import re

from .user_errors import user_error

MODULES = ("fairseq.sequence_generator", "fairseq.tasks.fairseq_task")


def after(module):
    if module.__name__ == "fairseq.tasks.fairseq_task":
        _mend_build_generator(module.FairseqTask)
    else:
        _mend_search(module.SequenceGenerator)


def refuse_missing(hypotheses, models):
    """Refuse the result of a search in which a sentence has no translation at all.

    Raises:
        ValueError: a user error
    """
    if not all(hypotheses):
        refuse_no_numbers(models)
        raise user_error(
            "no translation was found for a sentence: the model's probabilities are no numbers, or 0 for all that the options allow; take "
            "another checkpoint, or allow more"
        )


def refuse_no_numbers(models):
    """Refuse models with weights that are infinite or no numbers.

    Raises:
        ValueError: a user error
    """
    for model in models:
        for name, weight in model.named_parameters():
            if weight.is_floating_point() and not weight.isfinite().all():
                raise user_error(
                    f"the model cannot translate, for its weights are not all numbers: {name} holds NaN or infinity; its training has "
                    "failed: take an earlier checkpoint"
                )


def _mend_build_generator(task):
    original = task.build_generator

    @functools.wraps(original)
    def build_generator(self, models, *arguments, **options):
        refuse_no_numbers(models)
        return original(self, models, *arguments, **options)

    task.build_generator = build_generator


def _mend_search(generator):
    original = generator._generate

    @functools.wraps(original)
    def _generate(self, sample, prefix_tokens=None, *arguments, **options):
        try:
            found = original(self, sample, prefix_tokens, *arguments, **options)
        except AssertionError as error:
            # Not even an end of sentence is possible at the greatest length.
            if prefix_tokens is not None or not re.fullmatch(r"\d+ < \d+", str(error)):
                raise
            found = [[] for _ in sample["net_input"]["src_tokens"]]
        refuse_missing(found, self.model.models)
        return found

    generator._generate = _generate
