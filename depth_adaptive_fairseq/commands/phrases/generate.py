"""Generates a small German-English corpus of real language: dates, times, numbers, prices, units, lists.

    python -m depth_adaptive_fairseq.commands.phrases.generate --out DIR --seed 1

A phrase grammar builds German sentences and their English translations from Unicode's CLDR data (through Babel) and
written-out numbers (num2words). Some parts are easy, such as names and digits to copy and words to look up; some are
hard: number words with tens and units exchanged, the clock (halb acht is half past seven), separable verbs and
clauses with the verb at the end, cases and endings. Writes train, valid and test, with endings .de and .en; no German
sentence is in two of them. The same seed and sizes give the same files; validation and test do not change with --train.
"""

import argparse
import hashlib
import sys
from importlib.metadata import version
from pathlib import Path

from depth_adaptive_fairseq.commands.shared.numbers import whole_number


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to write into")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other sentences (default: %(default)s)")
    parser.add_argument(
        "--train", type=whole_number(1), default=12000, metavar="N", help="training pairs (default: %(default)s)"
    )
    parser.add_argument(
        "--valid", type=whole_number(1), default=500, metavar="N", help="validation pairs (default: %(default)s)"
    )
    parser.add_argument("--test", type=whole_number(1), default=500, metavar="N", help="test pairs (default: %(default)s)")
    parser.add_argument("--show", type=whole_number(1), metavar="N", help="print so many pairs instead of writing files")
    parser.add_argument(
        "--fingerprint",
        action="store_true",
        help="only print a line that changes when the same options give other sentences",
    )
    arguments = parser.parse_args()
    if not (arguments.out or arguments.show or arguments.fingerprint):
        parser.error("give the folder to write into with --out DIR, or the number of pairs to print with --show N")
    return arguments


def fingerprint() -> str:
    """What decides the sentences apart from the options: the grammar and the data of the libraries."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return f"grammar {digest.hexdigest()[:16]}, Babel {version('babel')}, num2words {version('num2words')}"


def run(arguments: argparse.Namespace) -> int:
    if arguments.fingerprint:
        print(fingerprint())
        return 0
    # here, not above, so that `--help` works and a missing library is named in a sentence
    from .corpus import TooManySentences, draw_pair, generate
    from .pair import Draw

    if arguments.show:
        draw = Draw(arguments.seed)
        for _ in range(arguments.show):
            print("\n".join(draw_pair(draw)), end="\n\n")
        return 0
    sizes = {"valid": arguments.valid, "test": arguments.test, "train": arguments.train}
    try:
        splits = generate(arguments.seed, sizes)
    except TooManySentences as error:
        print(f"phrases: {error}, but {sum(sizes.values())} were asked for.", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    for split, pairs in splits.items():
        for language in ("de", "en"):
            text = "".join(getattr(pair, language) + "\n" for pair in pairs)
            (arguments.out / f"{split}.{language}").write_text(text, encoding="utf-8", newline="\n")
    return 0


def main() -> int:
    arguments = parse_arguments()
    try:
        return run(arguments)
    except ImportError as error:
        print(f"phrases: {error.name} is not installed; needed are Babel and num2words.", file=sys.stderr)
    except OSError as error:
        print(f"phrases: {error.filename}: {error.strerror}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
