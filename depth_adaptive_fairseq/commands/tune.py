"""Tune the thresholds of the exit policies confidence and geometric as the paper does: draw many, keep the best.

    depth-adaptive tune data-bin/multi30k.de-en --path checkpoints/checkpoint_best.pt \\
        --exit-policy confidence --draws 500 --results draws.csv --out tuned.md tuned.json

Each draw is tau_1 .. tau_{N-1}, uniform on 0..1, with which the validation set is decoded once. Of the draws in each segment of
the cost, the average exit or the FLOPs per token, the one of highest BLEU is kept. The options of fairseq-generate hold, or are refused
with the reason, and `--gen-subset valid --beam 5 --max-tokens 4096 --remove-bpe sentencepiece --num-workers 0` unless said
otherwise. The data folder is one that depth-adaptive prepare made.

Every draw is written to the CSV as soon as it is measured, and none that is there is measured again: a run that was
interrupted goes on, and more --draws add to what is there. Draw k of a seed is always the same.
"""

import argparse
import sys
from pathlib import Path
from typing import Sequence

from tqdm import tqdm

from depth_adaptive_fairseq.commands.evaluation.decoding_digest import decoding_digest
from depth_adaptive_fairseq.commands.evaluation.draws import DrawLog, as_option, draw_thresholds
from depth_adaptive_fairseq.commands.evaluation.generation_options import BATCHING, HONOURED
from depth_adaptive_fairseq.commands.evaluation.loading import DEFAULTS, Loaded, generation_parser, load, parse
from depth_adaptive_fairseq.commands.evaluation.measuring import measure
from depth_adaptive_fairseq.commands.evaluation.segments import as_json, as_markdown, best_of_segments
from depth_adaptive_fairseq.compat.whole_files import new_file, refuse_special
from depth_adaptive_fairseq.tasks.depth_adaptive_translation import common_depth

USAGE = "DATA_BIN --path CHECKPOINT --exit-policy {confidence,geometric} [--draws D] [options]"
POLICIES = ("confidence", "geometric")
COSTS = {"average-exit": "average_exit", "flops": "flops_per_token"}
TABLES = (".md", ".json")
REASONS = {"exit_thresholds": "they are drawn here", "exit_log": "each draw would write its own over it"}


def parse_arguments(arguments) -> argparse.Namespace:
    """fairseq-generate's arguments and this command's own.

    Raises:
        ValueError: options that make no sense here; nothing has been loaded yet.
    """
    parser = generation_parser("tune", __doc__, USAGE)
    group = parser.add_argument_group("tuning")
    group.add_argument("--draws", type=int, default=10000, metavar="D", help="how many to draw (default: 10000, the paper's)")
    group.add_argument("--draw-seed", type=int, default=1, metavar="SEED", help="another seed gives other draws (default: 1)")
    group.add_argument("--segments", type=int, default=10, metavar="S", help="how many segments the cost has (default: 10)")
    group.add_argument("--segment-by", choices=COSTS, default="average-exit", help="the cost (default: average-exit)")
    group.add_argument("--metric", choices=("bleu", "sacrebleu"), default="bleu", help="what is maximised (default: bleu)")
    group.add_argument("--results", type=Path, default=Path("draws.csv"), metavar="CSV", help="all draws (default: draws.csv)")
    group.add_argument("--out", type=Path, nargs="+", default=[], metavar="FILE", help="write the table to .md or .json, too")
    honoured = {*HONOURED, *BATCHING, "exit_policy"} - {"exit_thresholds"}
    args = parse(parser, arguments, (*DEFAULTS, "--gen-subset", "valid"), honoured, REASONS)
    refuse_senseless(args)
    return args


def refuse_senseless(args: argparse.Namespace) -> None:
    """Raise a :class:`ValueError` for the first option that cannot be tuned with."""
    if args.task != "depth_adaptive_translation":
        raise ValueError(f"--task {args.task} was given; only depth_adaptive_translation has thresholds: leave the option out")
    if args.exit_policy not in POLICIES:
        raise ValueError(f"--exit-policy {args.exit_policy} has no thresholds to tune: give {' or '.join(POLICIES)}")
    refuse_special(args.results, "--results")
    for name in ("draws", "segments"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} {getattr(args, name)} was given; it must be 1 or more")
    for path in args.out:
        if path.suffix not in TABLES:
            raise ValueError(f"--out {path} was given; its name must end in {' or '.join(TABLES)}")
        if not path.parent.is_dir():
            raise ValueError(f"--out {path} was given, and {path.parent} is not a folder")
        if path.is_dir():
            raise ValueError(f"--out {path} was given, which is a folder: name a file")


def measure_draws(loaded: Loaded, log: DrawLog, num_exits: int, draws: int) -> None:
    """Decode with each of the first *draws* draws that *log* does not have yet."""
    policy, seed = log.key["policy"], int(log.key["draw_seed"])
    missing = [draw for draw in range(1, draws + 1) if draw not in log.rows]
    with tqdm(total=draws, initial=draws - len(missing), desc=policy, unit="draw") as bar:
        for draw in missing:
            thresholds = as_option(draw_thresholds(seed, draw, num_exits - 1))
            measured = measure(loaded, f"{policy}:{thresholds}", progress=False)
            log.add(draw, thresholds, measured)
            bar.set_postfix(bleu=measured["bleu"], exit=measured["average_exit"], refresh=False)
            bar.update()


def report(args: argparse.Namespace, log: DrawLog, num_exits: int) -> None:
    """Print the table of kept draws and write it to the files that were asked for."""
    rows = [row for draw, row in sorted(log.rows.items()) if draw <= args.draws]
    cost = COSTS[args.segment_by]
    costs = [float(row[cost]) for row in rows]
    # The average exit has a range of its own; that of the FLOPs depends on the lengths of sentences.
    span = (1.0, float(num_exits)) if args.segment_by == "average-exit" else (min(costs), max(costs))
    segments = best_of_segments(rows, cost, span, args.segments, args.metric)
    table = as_markdown(segments, cost)
    print(table)
    tuning = {**log.key, "draws": len(rows), "segment_by": args.segment_by, "metric": args.metric}
    for path in args.out:
        with new_file(path) as file:
            file.write((table if path.suffix == ".md" else as_json(segments, tuning)) + "\n")


def main(arguments: Sequence[str]) -> int:
    args = parse_arguments(arguments)
    loaded = load(args)
    num_exits = common_depth(loaded.models)
    if num_exits < 2:
        raise ValueError("the model has 1 exit, so it has no threshold to tune")
    tuning = {"policy": args.exit_policy, "draw_seed": args.draw_seed, "decoding_sha256": decoding_digest(loaded.cfg)}
    log = DrawLog(args.results, {**loaded.identity(), **tuning})
    status = 0
    try:
        measure_draws(loaded, log, num_exits, args.draws)
    except KeyboardInterrupt:
        print(f"interrupted with {len(log.rows)} draws; the same command goes on from there", file=sys.stderr)
        status = 130
    if log.rows:
        report(args, log, num_exits)
        skipped = loaded.describe_skipped()
        if skipped:
            print(skipped)
    return status
