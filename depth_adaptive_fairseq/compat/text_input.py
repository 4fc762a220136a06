"""Input files that are missing, empty or not UTF-8 end in a traceback, half-way through where the text is long.

Concerns: fairseq 0.12.2: fairseq-preprocess and fairseq-interactive. The files of fairseq-preprocess are read once before anything is
written.
No longer needed when: ``fairseq-preprocess --trainpref nowhere`` ends with a sentence and leaves no folder behind.
"""

import codecs
import functools
import os

from .user_errors import user_error

MODULES = ("fairseq_cli.interactive", "fairseq_cli.preprocess")

_CHUNK = 1 << 20  # bytes


def after(module):
    if module.__name__ == "fairseq_cli.interactive":
        _mend_interactive(module)
    else:
        _mend_preprocess(module)


def check_text(path, option, may_be_empty=False):
    """Read a file from end to end to see that it is UTF-8 and, unless told otherwise, not empty.

    Raises:
        ValueError: a user error; it is not, or it cannot be read
    """
    decoder, line, size = codecs.getincrementaldecoder("utf-8")(), 1, 0
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                try:
                    text = decoder.decode(chunk)
                except UnicodeDecodeError as error:
                    line += error.object.count(b"\n", 0, error.start)
                    raise user_error(
                        f"{option}: line {line} of {path} is not UTF-8: convert the file, for instance with iconv -f LATIN1 -t UTF-8"
                    ) from error
                line += text.count("\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise user_error(
            f"{option}: {path} ends in the middle of a character of UTF-8: it is truncated, or in another encoding"
        ) from error
    except OSError as error:
        raise user_error(f"{option}: cannot read {path}: {error.strerror}") from error
    if size == 0 and not may_be_empty:
        raise user_error(f"{option}: {path} is empty: give a file with a sentence a line, or leave the option out")


def _mend_preprocess(module):
    original = module.main

    @functools.wraps(original)
    def main(args):
        _check_preprocessing(module, args)
        return original(args)

    module.main = main


def _check_preprocessing(module, args):
    languages = [args.source_lang, *([] if args.only_source else [args.target_lang])]
    if not args.only_source and None in languages:
        raise user_error("--source-lang and --target-lang are needed: name both, or give --only-source for text in one language")
    if args.workers < 1:
        raise user_error(f"--workers {args.workers} was given; it must be 1 or more")
    if args.dataset_impl == "huffman":
        raise user_error("--dataset-impl huffman was given, which fairseq-preprocess cannot write: give mmap, or leave it out")
    dictionaries = {"--srcdict": args.srcdict}
    if not args.only_source:
        dictionaries["--tgtdict"] = args.tgtdict
    if args.joined_dictionary:
        if args.srcdict and args.tgtdict:
            raise user_error("--srcdict and --tgtdict were given with --joined-dictionary, which has one for both: give one of them")
        dictionaries = {"--srcdict or --tgtdict": args.srcdict or args.tgtdict}
    for option, path in dictionaries.items():
        if path is None and not args.trainpref:
            raise user_error(f"neither --trainpref nor {option} was given: a dictionary is made of training text, or read from a file")
        if path is not None:
            check_text(path, option)
    for path, language in zip((args.srcdict, args.tgtdict), languages):
        existing = module._dict_path(language, args.destdir)
        if not path and os.path.exists(existing):
            raise user_error(
                f"{existing} exists, and would be replaced by a new dictionary: use it with --srcdict and --tgtdict, or name another "
                "--destdir",
                FileExistsError,
            )
    prefixes = [("--trainpref", args.trainpref)]
    prefixes += [("--validpref", prefix) for prefix in (args.validpref or "").split(",")]
    prefixes += [("--testpref", prefix) for prefix in (args.testpref or "").split(",")]
    for option, prefix in prefixes:
        for language in languages if prefix else ():
            check_text(module._file_name(prefix, language), f"{option} {prefix}")
    if args.alignfile:
        if not args.trainpref:
            raise user_error("--alignfile was given without --trainpref, whose words it aligns: give both")
        check_text(args.alignfile, "--alignfile")


def _mend_interactive(module):
    original = module.main

    @functools.wraps(original)
    def main(cfg, *arguments, **options):
        path = getattr(getattr(cfg, "interactive", cfg), "input", "-")
        if path != "-" and (os.path.isfile(path) or not os.path.exists(path)):
            check_text(path, "--input", may_be_empty=True)
        elif os.path.isdir(path):
            raise user_error(f"--input {path} is a folder: name a file, or - for what is typed")
        return original(cfg, *arguments, **options)

    read = module.buffered_read

    @functools.wraps(read)
    def buffered_read(*arguments):
        try:
            yield from read(*arguments)
        except UnicodeDecodeError as error:
            raise user_error(f"the input is not UTF-8 ({error.reason}): convert the text, or set the terminal to UTF-8") from error

    module.main, module.buffered_read = main, buffered_read
