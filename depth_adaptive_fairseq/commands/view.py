"""Show translations with the exit of every token, as a web page in one file.

    depth-adaptive view exits.jsonl --data data-bin/multi30k.de-en --subset test --out exits.html

exits.jsonl is the file that --exit-log of fairseq-generate wrote. With --data, a folder of depth-adaptive prepare, the source and the
reference stand above each translation.
"""

import json
from html import escape
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

from matplotlib import colormaps
from matplotlib.colors import to_hex

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.shared.exit_log import read_exit_records
from depth_adaptive_fairseq.commands.shared.text_lines import read_lines
from depth_adaptive_fairseq.compat.whole_files import is_special, new_file

# content-visibility: a browser lays out only what is looked at, or thousands of sentences would take it long.
STYLE = """
body { font: 16px/1.4 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
.sentence { margin: 1.6rem 0; border-top: 1px solid #ddd; padding-top: .8rem; content-visibility: auto; contain-intrinsic-size: auto 9rem; }
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
        ValueError: the file is not an exit log, or has no records.
    """
    records = sorted(read_exit_records(path, "id", "tokens", "exits", "scores"), key=lambda record: record[0])
    if not records:
        raise ValueError(f"{path} has no sentences")
    return records


def read_texts(data: Path, subset: str, records: list) -> Dict[str, List[str]]:
    """The subset's sentences and references, by what they are called on the page.

    Raises:
        ValueError: *data* is not a folder of ``depth-adaptive prepare``, or *subset* is not what *records* are of.
        OSError: a file cannot be read.
    """
    try:
        languages = json.loads((data / "prepared.json").read_text(encoding="utf-8"))["template"]["languages"]
        names = {label: f"{subset}.{languages[side]}" for label, side in (("source", "source"), ("reference", "target"))}
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        raise ValueError(f"--data {data} was given, which is not a folder that depth-adaptive prepare made: give one") from None
    texts = {label: read_lines(data / "raw" / name) for label, name in names.items()}
    count = len(texts["source"])
    if count != len(texts["reference"]):
        raise ValueError(f"{data}/raw has {count} sentences and {len(texts['reference'])} references of {subset}: prepare it again")
    last = records[-1][0]
    if last >= count:
        raise ValueError(f"the log has sentence {last}, but {subset} of {data} has {count}, from 0 on: give the --subset it is of")
    return texts


def colours(depth: int, exits: Iterator[int]) -> str:
    """The style of the tokens of each of *exits*: light to dark, of *depth* colours."""
    colormap = colormaps["viridis_r"]
    lines = []
    for exit_index in sorted(exits):
        share = (exit_index - 1) / max(depth - 1, 1)
        ink = "#fff" if share > 0.45 else "#222"
        lines.append(f".e{exit_index} {{ background: {to_hex(colormap(0.12 + 0.76 * share))}; color: {ink}; }}\n")
    return "".join(lines)


def token_html(token: str, exit_index: int, log_probability: float) -> str:
    """One token in the colour of its exit; a word's first subword stands a little apart."""
    word = " word" if token.startswith("\u2581") else ""
    text = escape(token.lstrip("\u2581")) or "&middot;"
    return (
        f'<span class="token{word} e{exit_index}" title="exit {exit_index}, log probability {log_probability:.3f}">'
        f"<b>{exit_index}</b>{text}</span>"
    )


def page(records: list, texts: dict, title: str) -> Iterator[str]:
    """The lines of the page of *records*; *texts* maps a label to the subset's lines."""
    found = {exit_index for _, _, exits, _ in records for exit_index in exits}
    style = STYLE + colours(max(found), found)
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{style}</style>"
    yield f"<h1>{escape(title)}</h1><p>The number above a token is the decoder block after which it was predicted; "
    yield "darker is deeper.</p>"
    for sentence_id, tokens, exits, scores in records:
        yield '<div class="sentence">'
        for label, lines in texts.items():
            yield f'<div class="text"><span class="label">{label}</span>{escape(lines[sentence_id])}</div>'
        yield f'<div class="text"><span class="label">average exit</span>{sum(exits) / len(exits):.2f}</div>'
        yield '<div class="tokens">'
        yield from map(token_html, tokens, exits, scores)
        yield "</div></div>"


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("view", __doc__)
    parser.add_argument("log", type=Path, help="exit log")
    parser.add_argument("--data", type=Path, help="data folder with the raw text of the subset")
    parser.add_argument("--subset", default="test", help="default: test")
    parser.add_argument("--sentences", type=int, default=25, help="how many to show (default: 25)")
    parser.add_argument("--out", type=Path, default=Path("exits.html"), help="page to write")
    args = parser.parse_args(arguments)
    if args.sentences < 1:
        parser.error(f"--sentences {args.sentences} was given; give 1 or more")
    records = read_log(args.log)
    texts = {} if args.data is None else read_texts(args.data, args.subset, records)
    # Half a character, of a strange log or in its name, becomes a reference, which browsers show as unknown.
    with new_file(args.out, errors="xmlcharrefreplace", newline="\n") as file:
        file.writelines(f"{line}\n" for line in page(records[: args.sentences], texts, f"Exits of {args.log.name}"))
    if not is_special(args.out):
        print(f"wrote {str(args.out).encode(errors='backslashreplace').decode()}")
