"""Turns a template of data-bin-templates/ into a binarised folder for fairseq.

    depth-adaptive prepare multi30k.de-en --raw FOLDER
    depth-adaptive prepare phrases.de-en

Steps: obtain the raw text and verify it, normalise and tokenise, cut the training data, learn and apply BPE,
binarise. Each keeps its result in OUT.work/ until its settings or inputs change: an interrupted run goes on where it
stopped, and a changed template redoes only what depends on the change. OUT appears when it is complete.

OUT holds fairseq's binarised data and dictionaries, sentencepiece.bpe.model, raw/ and tokenized/ (validation and test
text, line n for sentence n) and prepared.json (template, checksums, counts, versions).
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.data_preparation.pipeline import prepare
from depth_adaptive_fairseq.commands.data_preparation.report import announce, summary
from depth_adaptive_fairseq.commands.data_preparation.template import Bpe, available_templates, find_template, load_template
from depth_adaptive_fairseq.commands.shared.numbers import whole_number


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command_parser("prepare", __doc__)
    parser.add_argument(
        "template",
        metavar="TEMPLATE",
        help=f"a data set's name ({', '.join(available_templates())}), a folder with a template.yaml, or a YAML file",
    )
    parser.add_argument("--raw", type=Path, metavar="FOLDER", help="where the raw files are: plain, .gz or .xz")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to make (default: data-bin/NAME)")
    parser.add_argument(
        "--workers",
        type=whole_number(1, 1000),
        default=os.cpu_count(),
        metavar="N",
        help="processes to use (default: all cores, %(default)s)",
    )
    parser.add_argument(
        "--vocabulary-size", type=whole_number(1), metavar="N", help="pieces of the BPE model, instead of the template's number"
    )
    parser.add_argument("--clean", action="store_true", help="remove OUT.work/ when OUT is complete")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> Optional[int]:
    args = parse_arguments(arguments)
    template = load_template(find_template(args.template))
    if args.vocabulary_size is not None:
        template = replace(template, bpe=Bpe(args.vocabulary_size))
        template.bpe.check(args.template)
    out = args.out or Path("data-bin") / template.name
    try:
        result = prepare(template, args.raw, out, args.workers, args.clean, announce)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(summary(*result, out))
