"""A corpus whose sides have unequal numbers of sentences is binarised, and fails, or is mispaired, in training.

Concerns: fairseq 0.12.2. ``fairseq-preprocess`` never compares the sides; loading them ends in an assertion, or, where
``train`` and ``train1`` are unequal and their sums are not, in wrong pairs. Alignments are never compared at all.
No longer needed when: ``fairseq-preprocess`` refuses such files before it writes anything, and fairseq such data folders.
"""

import contextvars
import functools
import os

from .user_errors import user_error

MODULES = ("fairseq_cli.preprocess", "fairseq.data.data_utils", "fairseq.data.language_pair_dataset", "fairseq.tasks.translation")

_BINARISE_AGAIN = "mend the text, or restore what is missing, and binarise it again with fairseq-preprocess"

# What one call of load_langpair_dataset has loaded so far: for each part of the corpus, {path: number of sentences}.
_parts = contextvars.ContextVar("parts", default=None)


def after(module):
    _MENDS[module.__name__](module)


def count_lines(path):
    """How many lines a file has; one that the file's end cuts off counts."""
    count, last = 0, b"\n"
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def _mend_preprocess(module):
    original = module.main

    @functools.wraps(original)
    def main(args):
        for files in _files_that_belong_together(args):
            _refuse_unequal(
                {path: count_lines(path) for path in files if os.path.isfile(path)},
                "lines",
                "lines of the same number belong together: mend the files, and run again; nothing was written",
            )
        return original(args)

    module.main = main


def _files_that_belong_together(args):
    if args.dict_only:
        return
    languages = [args.source_lang] if args.only_source else [args.source_lang, args.target_lang]
    held_out = (prefix for prefixes in (args.validpref, args.testpref) if prefixes for prefix in prefixes.split(","))
    for prefix in filter(None, [args.trainpref, *held_out]):
        files = [f"{prefix}.{language}" if language else prefix for language in languages]
        if args.align_suffix:
            files.append(f"{prefix}.{args.align_suffix}")
        if args.alignfile and prefix == args.trainpref:
            files.append(args.alignfile)
        yield files


def _refuse_unequal(counts, unit, advice):
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{path} has {count:,}" for path, count in counts.items())
        raise user_error(f"unequal numbers of {unit}: {told}; {advice}")


def _mend_loading(module):
    original = module.load_indexed_dataset

    @functools.wraps(original)
    def load_indexed_dataset(path, *arguments, **options):
        dataset = original(path, *arguments, **options)
        parts = _parts.get()
        if parts is not None and dataset is not None:
            counts = parts.setdefault(path.rpartition(".")[0], {})
            counts[path] = len(dataset)
            _refuse_unequal(counts, "sentences", _BINARISE_AGAIN)
        return dataset

    module.load_indexed_dataset = load_indexed_dataset


def _mend_translation(module):
    original = module.load_langpair_dataset

    @functools.wraps(original)
    def load_langpair_dataset(*arguments, **options):
        token = _parts.set({})
        try:
            return original(*arguments, **options)
        finally:
            _parts.reset(token)

    module.load_langpair_dataset = load_langpair_dataset


def _mend_pairs(module):
    original = module.LanguagePairDataset.__init__

    @functools.wraps(original)
    def __init__(self, src, src_sizes, src_dict, tgt=None, *arguments, **options):
        sides = {"the source side": src, "the target side": tgt, "the alignment": options.get("align_dataset")}
        counts = {name: len(side) for name, side in sides.items() if side is not None}
        _refuse_unequal(counts, "sentences", _BINARISE_AGAIN)
        original(self, src, src_sizes, src_dict, tgt, *arguments, **options)

    module.LanguagePairDataset.__init__ = __init__


_MENDS = {
    "fairseq_cli.preprocess": _mend_preprocess,
    "fairseq.data.data_utils": _mend_loading,
    "fairseq.data.language_pair_dataset": _mend_pairs,
    "fairseq.tasks.translation": _mend_translation,
}
