"""A model whose weights are no numbers ends in an ``IndexError: list index out of range`` in the middle of a run.

Concerns: fairseq 0.12.2, whose search gives every continuation that is no number a probability of 0, finds no translation, and goes on.
(What a search that finds none says is ``unfinished_searches``'s.)
No longer needed when: ``fairseq-generate`` with a model full of NaN ends with a sentence.
"""

import functools
from weakref import WeakSet

from .user_errors import user_error

MODULES = ("fairseq.tasks.fairseq_task",)


def after(module):
    _mend_build_generator(module.FairseqTask)


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
    # The hub interface builds a generator for each call, and looking at all weights takes as long as a translation. What becomes no
    # number later is seen when a search finds nothing (``unfinished_searches``).
    looked_at = WeakSet()

    @functools.wraps(original)
    def build_generator(self, models, *arguments, **options):
        refuse_no_numbers([model for model in models if model not in looked_at])
        looked_at.update(models)
        return original(self, models, *arguments, **options)

    task.build_generator = build_generator
