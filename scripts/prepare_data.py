#!/usr/bin/env python3
"""Turns a template of data-bin-templates/ into a binarised folder for fairseq.

    python scripts/prepare_data.py multi30k.de-en --raw FOLDER
    python scripts/prepare_data.py phrases.de-en

Steps: obtain the raw text and verify it, normalise and tokenise, cut the training data, learn and apply BPE,
binarise. Each keeps its result in OUT.work/ until its settings or inputs change: an interrupted run goes on where it
stopped, and a changed template redoes only what depends on the change. OUT appears when it is complete.

OUT holds fairseq's binarised data and dictionaries, sentencepiece.bpe.model, raw/ and tokenized/ (validation and test
text, line n for sentence n) and prepared.json (template, checksums, counts, versions).
"""

import argparse
import os
import sys
from importlib.metadata import PackageNotFoundError
from dataclasses import replace
from pathlib import Path

from data_preparation.errors import PreparationError
from data_preparation.pipeline import prepare
from data_preparation.report import announce, summary
from data_preparation.template import Bpe, available_templates, find_template, load_template


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def processes(text: str) -> int:
    if positive(text) > 1000:
        raise ValueError
    return int(text)


positive.__name__ = "number of at least 1"
processes.__name__ = "number from 1 to 1000"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "template",
        metavar="TEMPLATE",
        help=f"a data set's name ({', '.join(available_templates())}), a folder with a template.yaml, or a YAML file",
    )
    parser.add_argument("--raw", type=Path, metavar="FOLDER", help="where the raw files are: plain, .gz or .xz")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to make (default: data-bin/NAME)")
    parser.add_argument(
        "--workers",
        type=processes,
        default=os.cpu_count(),
        metavar="N",
        help="processes to use (default: all cores, %(default)s)",
    )
    parser.add_argument(
        "--vocabulary-size", type=positive, metavar="N", help="pieces of the BPE model, instead of the template's number"
    )
    parser.add_argument("--clean", action="store_true", help="remove OUT.work/ when OUT is complete")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    try:
        template = load_template(find_template(arguments.template))
        if arguments.vocabulary_size is not None:
            template = replace(template, bpe=Bpe(arguments.vocabulary_size))
            template.bpe.check(arguments.template)
        out = arguments.out or Path("data-bin") / template.name
        result = prepare(template, arguments.raw, out, arguments.workers, arguments.clean, announce)
        print(summary(*result, out))
        return 0
    except PreparationError as error:
        print(f"prepare_data: {error}", file=sys.stderr)
        return 1
    except PackageNotFoundError as error:
        print(f"prepare_data: {error.name} is not installed; scripts/setup.sh installs it.", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the output has gone; the null device spares Python's complaint at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"prepare_data: {error.filename or 'the file system'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("prepare_data: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
