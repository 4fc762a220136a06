"""A data folder whose dictionary came with ``#fairseq:overwrite`` cannot be loaded: ``Duplicate word found``.

Concerns: fairseq 0.12.2. The flag marks a row whose word the dictionary has already, often one of the special symbols that
SentencePiece lists, too. fairseq reads it, and leaves it out when fairseq-preprocess saves the dictionary with the data.
Here it is saved again, so that all rows, and so the numbers in the binarised data, stay what they were.

What the flag means stays as it is, for published models (CamemBERT) are made so: the word in a text is the later row, while
padding, start, end and unknown words keep the first four places.
No longer needed when: a dictionary that is loaded and saved is the same file.
"""

import functools

MODULES = ("fairseq.data.dictionary",)

FLAG = "#fairseq:overwrite"


def after(module):
    original = module.Dictionary._save

    @functools.wraps(original)
    def _save(self, f, kv_iterator):
        return original(self, f, _flagged(kv_iterator, known=self.symbols[: self.nspecial]))

    module.Dictionary._save = _save


def _flagged(rows, known):
    seen = set(known)
    for word, count in rows:
        yield word, f"{count} {FLAG}" if word in seen else count
        seen.add(word)
