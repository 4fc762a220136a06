"""``--replace-unk`` does not work at all: a TypeError or IndexError at the first unknown word of a translation.

Concerns: fairseq 0.12.2. It reads alignments that it computes with ``--print-alignment`` only, and then in another form; without a value
it looks for a dictionary named ``@@ ``; it counts words after subwords are joined, where alignments count them before; and
fairseq-interactive takes the source words from the dictionary, which does not have the unknown ones.

Here the generator computes alignments whenever unknown words are to be replaced, and each hypothesis carries its source's words as they
were typed. An unknown word becomes the source word with the largest attention, or what the alignment dictionary has for that.
No longer needed when: ``fairseq-interactive --replace-unk`` copies names that it does not know.
"""

import argparse
import copy
import functools

from .user_errors import user_error

MODULES = ("fairseq.tasks.fairseq_task", "fairseq.utils", "fairseq_cli.generate", "fairseq_cli.interactive")

# What argparse puts where --replace-unk has no value.
_NO_VALUE = "@@ "


def after(module):
    {
        "fairseq.tasks.fairseq_task": _mend_build_generator,
        "fairseq.utils": _mend_utils,
        "fairseq_cli.generate": _mend_generate,
        "fairseq_cli.interactive": _mend_interactive,
    }[module.__name__](module)


class Alignment(list):
    """What fairseq has as a hypothesis' alignment, and the words of its source.

    Attributes:
        pairs: the source position of each target position
        source_words: a list of strings
    """

    def __init__(self, alignment, source_words):
        super().__init__(alignment)
        self.source_words = source_words
        if alignment and isinstance(alignment[0], list):  # soft: a text for each source position, end of sentence included
            self.pairs = {target: _largest(row, len(source_words)) for target, row in enumerate(alignment)}
        else:
            self.pairs = {target: source for source, target in alignment}


def _largest(row, size):
    return max(range(min(size, len(row))), key=lambda position: float(row[position]), default=-1)


def replace(tokens, alignment, replacements, dictionary, ignored=()):
    """The words of a translation, with source words in the place of unknown ones.

    Args:
        tokens: of the translation, end of sentence and padding included
        alignment: an ``Alignment``
        replacements: what replaces which source word; others are copied
        dictionary: of the target language
        ignored: tokens that are no words
    """
    words, position = [], -1
    for token in tokens:
        if token in (dictionary.eos(), dictionary.pad()):
            continue
        position += 1
        source = alignment.pairs.get(position, -1)
        if token == dictionary.unk() and 0 <= source < len(alignment.source_words):
            copied = alignment.source_words[source]
            words.append(replacements.get(copied, copied))
        elif token not in ignored and token != dictionary.bos():
            words.append(dictionary[token])
    return words


def _mend_utils(module):
    load, post_process = module.load_align_dict, module.post_process_prediction

    @functools.wraps(load)
    def load_align_dict(replace_unk):
        if replace_unk in (None, "", _NO_VALUE):
            return load(None if replace_unk is None else "")
        return _read_dictionary(replace_unk)

    @functools.wraps(post_process)
    def post_process_prediction(
        hypo_tokens, src_str, alignment, align_dict, tgt_dict, remove_bpe=None, extra_symbols_to_ignore=None
    ):
        if align_dict is None or not isinstance(alignment, Alignment):
            return post_process(hypo_tokens, src_str, alignment, align_dict, tgt_dict, remove_bpe, extra_symbols_to_ignore)
        from fairseq.data import data_utils

        words = replace(hypo_tokens.tolist(), alignment, align_dict, tgt_dict, extra_symbols_to_ignore or ())
        text = data_utils.post_process(" ".join(words), remove_bpe)
        # Back to tokens, as fairseq does it, for the score.
        return tgt_dict.encode_line(text, add_if_not_exist=True), text, alignment

    module.load_align_dict, module.post_process_prediction = load_align_dict, post_process_prediction


def _read_dictionary(path):
    """Pairs of words, one a line.

    Raises:
        ValueError: a user error; the file cannot be read
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            lines = [line.split() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise user_error(
            f"--replace-unk {path}: cannot read the alignment dictionary ({getattr(error, 'strerror', None) or error.reason}); "
            "give a file of UTF-8 with a source word and a target word a line, or no file to copy source words"
        ) from error
    for number, line in enumerate(lines, 1):
        if len(line) != 2:
            raise user_error(
                f"--replace-unk {path}: line {number} has {len(line)} words; it must have a source word and a target word"
            )
    return dict(lines)


def _mend_build_generator(module):
    original = module.FairseqTask.build_generator

    @functools.wraps(original)
    def build_generator(self, models, args, *arguments, **options):
        if getattr(args, "replace_unk", None) is None:
            return original(self, models, args, *arguments, **options)
        if getattr(args, "score_reference", False):
            raise user_error("--replace-unk was given with --score-reference, which translates nothing: leave one of them out")
        for dataset in self.datasets.values():  # one in fairseq-generate, none in fairseq-interactive
            _check_data(dataset)
        if getattr(args, "print_alignment", None) is None:
            args = copy.deepcopy(args)
            args.print_alignment = "hard"
        generator = original(self, models, args, *arguments, **options)
        generate = generator.generate

        @functools.wraps(generate)
        def with_source_words(models, sample, **options):
            hypotheses = generate(models, sample, **options)
            for words, sentence in zip(_source_words(self, sample), hypotheses):
                for hypothesis in sentence:
                    hypothesis["alignment"] = Alignment(hypothesis["alignment"], words)
            return hypotheses

        generator.generate = with_source_words
        return generator

    module.FairseqTask.build_generator = build_generator


def _check_data(dataset):
    if not hasattr(dataset.src, "get_original_text") or not hasattr(dataset.tgt, "get_original_text"):
        raise user_error(
            "--replace-unk needs source and references as raw text, whole and unchanged (no --truncate-source): give such data, or "
            "translate the text with fairseq-interactive"
        )


def _source_words(task, sample):
    """The words of each sentence of a batch, as they were before the dictionary knew or did not know them."""
    if "id" not in sample:  # fairseq-interactive
        return task.typed_words
    from fairseq.tokenizer import tokenize_line

    (dataset,) = task.datasets.values()
    return [tokenize_line(dataset.src.get_original_text(index)) for index in sample["id"].tolist()]


def _mend_generate(module):
    original = module.main

    @functools.wraps(original)
    def main(cfg, *arguments, **options):
        if isinstance(cfg, argparse.Namespace):
            cfg = module.convert_namespace_to_omegaconf(cfg)
        module.utils.load_align_dict(cfg.generation.replace_unk)  # before anything is loaded
        if cfg.generation.replace_unk is not None and cfg.dataset.dataset_impl != "raw":
            raise user_error(
                "--replace-unk was given for binarised data, which does not hold the words that are unknown: give --dataset-impl raw with a "
                "folder made by fairseq-preprocess --dataset-impl raw, or translate the text with fairseq-interactive"
            )
        return original(cfg, *arguments, **options)

    module.main = main


def _mend_interactive(module):
    main, make_batches = module.main, module.make_batches

    @functools.wraps(main)
    def mended_main(cfg, *arguments, **options):
        generation = getattr(cfg, "generation", cfg)
        module.utils.load_align_dict(generation.replace_unk)  # before anything is loaded
        return main(cfg, *arguments, **options)

    from fairseq.tokenizer import tokenize_line

    @functools.wraps(make_batches)
    def mended_make_batches(lines, cfg, task, max_positions, encode_fn):
        encoded = []

        def remembering(text):
            encoded.append(encode_fn(text))
            return encoded[-1]

        for batch in make_batches(lines, cfg, task, max_positions, remembering):
            # Those of the constraints come before those of the lines.
            typed = encoded[len(encoded) - len(lines) :]
            task.typed_words = [tokenize_line(typed[index]) for index in batch.ids.tolist()]
            yield batch

    module.main, module.make_batches = mended_main, mended_make_batches
