"""``--no-repeat-ngram-size`` blocks nothing but by accident.

Concerns: fairseq 0.12.2. To see which n-grams the next token would complete, it reads the end of its buffer, which is padding
until the last step. And with a size of 1 it blocks the end of sentence, for a sentence starts with that symbol.

What holds here: no n-gram occurs twice in a translation, counted from its first token to the end of sentence; the symbol
that starts the decoder does not count, and the end of sentence is never blocked. A forced prefix is left as it is, and its
n-grams count. A hypothesis that may neither go on nor, for ``--min-len``, end, ends all the same, with a
log-probability of 0.
No longer needed when: the translations of ``SequenceGenerator(..., no_repeat_ngram_size=2)`` repeat no bigram.
"""

import functools
import math

MODULES = ("fairseq.ngram_repeat_block", "fairseq.sequence_generator")


def after(module):
    if module.__name__ == "fairseq.ngram_repeat_block":
        module.NGramRepeatBlock.eos = None
        module.NGramRepeatBlock.forward = block_repeated_ngrams
    else:
        _tell_the_end(module.SequenceGenerator)


def _tell_the_end(generator):
    original = generator.__init__

    @functools.wraps(original)
    def __init__(self, *arguments, **options):
        original(self, *arguments, **options)
        if self.repeat_ngram_blocker is not None:
            self.repeat_ngram_blocker.eos = self.eos

    generator.__init__ = __init__


def block_repeated_ngrams(self, tokens, lprobs, bsz: int, beam_size: int, step: int):
    """Make the tokens impossible that would complete an n-gram for the second time (``NGramRepeatBlock.forward``).

    Written so that TorchScript takes it, as it takes the generator.

    Args:
        tokens: ``(rows, length)``, of which the symbol that starts the decoder and *step* more are there.
        lprobs: of the next token, ``(rows, V)``; changed in place.

    Returns:
        *lprobs*
    """
    size = self.no_repeat_ngram_size
    if step < size:
        return lprobs
    translation = tokens[:, 1 : step + 1]
    ngrams = translation.unfold(1, size, 1)  # (rows, step - size + 1, size)
    last = translation[:, step - size + 1 :].unsqueeze(1)  # what the next token makes an n-gram of
    repeated = (ngrams[:, :, :-1] == last).all(dim=2) & _has_a_choice(lprobs).unsqueeze(1)
    found = repeated.nonzero()  # (repetitions, 2)
    if len(found) == 0:
        return lprobs
    rows, places = found[:, 0], found[:, 1]
    if self.eos is not None:
        end = lprobs[:, self.eos].clone()
    lprobs[rows, ngrams[rows, places, size - 1]] = -math.inf
    if self.eos is not None:
        lprobs[:, self.eos] = end
        stuck = repeated.any(dim=1) & lprobs.eq(-math.inf).all(dim=1)
        lprobs[stuck, self.eos] = 0.0
    return lprobs


def _has_a_choice(lprobs):
    """Of which rows more than one token may follow: neither the prefix is forced there, nor the end, ``(rows,)``."""
    return lprobs.gt(-math.inf).sum(dim=1) > 1
