"""Translate a subset once for each exit policy; report BLEU, average exit, FLOPs and speed.

    depth-adaptive evaluate data-bin/multi30k.de-en --path checkpoints/checkpoint_best.pt \\
        --gen-subset test --policies full fixed:1 uniform confidence:0.5 confidence:0.9 --results results.csv

A policy is written `policy` or `policy:argument`: the exit of `fixed`, the seed of `uniform`, the thresholds of
`confidence` and `geometric`, the value of `entropy`, `margin`, `saturation` and `patience`; `stock` decodes a model without exits
(with `--task translation`). The options of fairseq-generate hold, or are refused with the reason, and
`--beam 5 --max-tokens 4096 --remove-bpe sentencepiece --num-workers 0` unless said otherwise. The data folder is one that
depth-adaptive prepare made. Each translation is scored against the reference of its own sentence. Rows that the file of results
holds already, measured with the same options, are not measured again.
"""

from pathlib import Path
from typing import Sequence

from depth_adaptive_fairseq.commands.evaluation.comparison import describe_gains
from depth_adaptive_fairseq.commands.evaluation.decoding_digest import decoding_digest
from depth_adaptive_fairseq.commands.evaluation.loading import generation_parser, load, parse
from depth_adaptive_fairseq.commands.evaluation.measuring import measure
from depth_adaptive_fairseq.commands.evaluation.results import add_result, as_table, has_result, read_results
from depth_adaptive_fairseq.compat.whole_files import refuse_special

USAGE = "DATA_BIN --path CHECKPOINT [--policies POLICY ...] [--results CSV] [options]"
REASONS = {
    "exit_policy": "--policies says what to decode with",
    "exit_log": "each policy would write its own over it; --exit-logs FOLDER keeps them all",
}


def parse_arguments(arguments):
    """fairseq-generate's arguments and this command's own."""
    parser = generation_parser("evaluate", __doc__, USAGE)
    group = parser.add_argument_group("evaluation")
    group.add_argument("--policies", nargs="+", default=["full"], metavar="POLICY", help="exit policies to decode with")
    group.add_argument("--results", type=Path, default=Path("results.csv"), help="CSV to add the rows to")
    group.add_argument("--model-name", default=None, help="the model's name in the results (its folder's by default)")
    group.add_argument("--exit-logs", type=Path, default=None, help="write each policy's exit log to this folder")
    args = parse(parser, arguments, reasons=REASONS)
    refuse_special(args.results, "--results")
    return args


def main(arguments: Sequence[str]) -> None:
    args = parse_arguments(arguments)
    loaded = load(args)
    identity = {"model": args.model_name or loaded.model_name, **loaded.identity(), "decoding_sha256": decoding_digest(loaded.cfg)}
    for policy in args.policies:
        key = {**identity, "policy": policy}
        if has_result(read_results(args.results), key):
            continue
        log = ""
        if args.exit_logs is not None:
            args.exit_logs.mkdir(parents=True, exist_ok=True)
            log = str(args.exit_logs / f"{identity['model']}.{identity['subset']}.{policy.replace(':', '-')}.jsonl")
        add_result(args.results, {**key, **measure(loaded, policy, exit_log=log)})
    wanted = [row for row in read_results(args.results) if has_result([row], {**identity, "policy": row["policy"]})]
    print(as_table(wanted))
    for text in (loaded.describe_skipped(), describe_gains(wanted)):
        if text:
            print(text)
