#!/usr/bin/env python
"""Show translations with the exit of every token, as a web page in one file.

    python scripts/view_exits.py exits.jsonl --data data-bin/multi30k.de-en --subset test --out exits.html

exits.jsonl is the file that --exit-log of fairseq-generate wrote. With --data, a folder of prepare_data.py, the source and the
reference stand above each translation.
"""

import argparse
import json
import sys
from html import escape
from pathlib import Path

from matplotlib import colormaps
from matplotlib.colors import to_hex
from shared.exit_log import read_exit_records

STYLE = """
body { font: 16px/1.4 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
.sentence { margin: 1.6rem 0; border-top: 1px solid #ddd; padding-top: .8rem; }
.text { color: #555; margin: .15rem 0; }
.label { display: inline-block; width: 6rem; color: #999; font-size: .8rem; }
.tokens { margin-top: .7rem; }
.token { display: inline-block; text-align: center; margin: 0 .1rem .5rem 0; padding: .1rem .3rem; border-radius: .3rem; }
.token b { display: block; font-size: .72rem; font-weight: 600; opacity: .8; }
.word { margin-left: .45rem; }
"""


def read_log(path: Path) -> list:
    """The records of an exit log, in the order of their ids.

    Raises:
        ValueError: the file is not an exit log.
    """
    return sorted(read_exit_records(path, "id", "tokens", "exits", "scores"))


def token_html(token: str, exit_index: int, log_probability: float, depth: int) -> str:
    """One token in the colour of its exit; a word's first subword stands a little apart."""
    colour = to_hex(colormaps["viridis_r"](0.12 + 0.76 * (exit_index - 1) / max(depth - 1, 1)))
    ink = "#fff" if (exit_index - 1) / max(depth - 1, 1) > 0.45 else "#222"
    word = " word" if token.startswith("\u2581") else ""
    text = escape(token.lstrip("\u2581")) or "&middot;"
    return (
        f'<span class="token{word}" style="background:{colour};color:{ink}" '
        f'title="exit {exit_index}, log probability {log_probability:.3f}"><b>{exit_index}</b>{text}</span>'
    )


def page(records: list, texts: dict, title: str) -> str:
    """The page of *records*; *texts* maps a label to the subset's lines."""
    depth = max(max(exits) for _, _, exits, _ in records)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>",
        f"<h1>{escape(title)}</h1><p>The number above a token is the decoder block after which it was predicted; "
        "darker is deeper.</p>",
    ]
    for sentence_id, tokens, exits, scores in records:
        parts.append('<div class="sentence">')
        for label, lines in texts.items():
            parts.append(f'<div class="text"><span class="label">{label}</span>{escape(lines[sentence_id])}</div>')
        parts.append(f'<div class="text"><span class="label">average exit</span>{sum(exits) / len(exits):.2f}</div>')
        parts.append('<div class="tokens">')
        parts += [token_html(*each, depth) for each in zip(tokens, exits, scores)]
        parts.append("</div></div>")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, help="exit log")
    parser.add_argument("--data", type=Path, help="data folder with the raw text of the subset")
    parser.add_argument("--subset", default="test", help="default: test")
    parser.add_argument("--sentences", type=int, default=25, help="how many to show (default: 25)")
    parser.add_argument("--out", type=Path, default=Path("exits.html"), help="page to write")
    args = parser.parse_args()
    try:
        records = read_log(args.log)[: args.sentences]
        texts = {}
        if args.data is not None:
            languages = json.loads((args.data / "prepared.json").read_text(encoding="utf-8"))["template"]["languages"]
            for label, language in (("source", languages["source"]), ("reference", languages["target"])):
                file = args.data / "raw" / f"{args.subset}.{language}"
                texts[label] = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if not records:
        sys.exit(f"error: {args.log} has no sentences")
    args.out.write_text(page(records, texts, f"Exits of {args.log.name}"), encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
