"""A search ends in ``AssertionError: 5 < 5`` where a sentence has fewer hypotheses than the beam has places.

Concerns: fairseq 0.12.2. With ``--prefix-size``, an empty reference forces the end of sentence as the first token, of which the
first step takes one hypothesis only; the search then waits for more until the greatest length. So it does where a
constraint cannot be met by then. Here a search is over at the greatest length, with the hypotheses that it has; a
sentence without any is the user's error.
No longer needed when: ``SequenceGenerator.generate`` with the end of sentence as ``prefix_tokens`` returns it.
"""

import functools

from .user_errors import user_error
from .weights_not_numbers import refuse_no_numbers

MODULES = ("fairseq.sequence_generator",)


def after(module):
    _stop_at_the_greatest_length(module.SequenceGenerator)
    _refuse_sentences_without_hypotheses(module.SequenceGenerator)


def _stop_at_the_greatest_length(generator):
    original = generator.__init__

    @functools.wraps(original)
    def __init__(self, *arguments, **options):
        original(self, *arguments, **options)
        self.search.stop_on_max_len = True

    generator.__init__ = __init__


def _refuse_sentences_without_hypotheses(generator):
    original = generator.generate

    @functools.wraps(original)
    def generate(self, models, sample, **options):
        found = original(self, models, sample, **options)
        for place, hypotheses in enumerate(found):
            if not hypotheses:
                refuse_no_numbers(self.model.models)
                number = int(sample["id"][place]) if sample.get("id") is not None else place
                raise user_error(
                    f"sentence {number} has no translation within --max-len-a and --max-len-b that the other options allow "
                    "(--constraints, --match-source-len, forced prefixes) and that has a probability: let it be longer, leave one of "
                    "them out, or take another checkpoint, if the model's probabilities are no numbers"
                )
        return found

    generator.generate = generate
