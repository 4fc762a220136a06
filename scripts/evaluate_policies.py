#!/usr/bin/env python
"""Translate a subset once for each exit policy; report BLEU, average exit, FLOPs and speed.

    python scripts/evaluate_policies.py data-bin/multi30k.de-en --path checkpoints/checkpoint_best.pt \\
        --gen-subset test --policies full fixed:1 uniform confidence:0.5 confidence:0.9 --results results.csv

A policy is written `policy` or `policy:argument`: the exit of `fixed`, the seed of `uniform`, the thresholds of
`confidence` and `geometric`, the value of `entropy`, `margin`, `saturation` and `patience`; `stock` decodes a model without exits (with `--task translation`). All options of fairseq-generate hold,
and `--beam 5 --max-tokens 4096 --remove-bpe sentencepiece` unless said otherwise. The data folder is one that
prepare_data.py made. Rows that the file of results holds already are not measured again.
"""

import hashlib
import json
import logging
import sys
from pathlib import Path

import torch
from evaluation.comparison import describe_gains
from evaluation.decoding import decode
from evaluation.results import add_result, as_table, has_result, read_results
from evaluation.scoring import score
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf


def parse_arguments(arguments):
    """fairseq-generate's arguments and this script's own."""
    defaults = ["--user-dir", "depth_adaptive_fairseq", "--max-tokens", "4096", "--remove-bpe", "sentencepiece"]
    utils.import_user_module(_UserDir)
    parser = options.get_generation_parser(default_task="depth_adaptive_translation")
    group = parser.add_argument_group("evaluation")
    group.add_argument("--policies", nargs="+", default=["full"], metavar="POLICY", help="exit policies to decode with")
    group.add_argument("--results", type=Path, default=Path("results.csv"), help="CSV to add the rows to")
    group.add_argument("--model-name", default=None, help="the model's name in the results (its folder's by default)")
    group.add_argument("--exit-logs", type=Path, default=None, help="write each policy's exit log to this folder")
    parser.usage = "evaluate_policies.py DATA_BIN --path CHECKPOINT [--policies POLICY ...] [--results CSV] [options]"
    return options.parse_args_and_arch(parser, input_args=defaults + list(arguments))


class _UserDir:
    user_dir = "depth_adaptive_fairseq"


def main(arguments=None) -> None:
    if arguments is None:
        arguments = sys.argv[1:]
    if "-h" in arguments or "--help" in arguments:
        print(__doc__.strip() + "\n")
    args = parse_arguments(arguments)
    logging.disable(logging.INFO)
    cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    paths = utils.split_paths(cfg.common_eval.path)
    models, _ = checkpoint_utils.load_model_ensemble(paths, task=task)
    task.load_dataset(cfg.dataset.gen_subset)
    for model in models:
        if cfg.common.fp16:
            model.half()
        if torch.cuda.is_available() and not cfg.common.cpu:
            model.cuda()
        model.prepare_for_inference_(cfg)

    identity = {
        "model": args.model_name or Path(paths[0]).resolve().parent.name,
        "subset": cfg.dataset.gen_subset,
        "beam": cfg.generation.beam,
        "checkpoint_sha256": "+".join(hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] for path in paths),
    }
    for policy in args.policies:
        key = {**identity, "policy": policy}
        if has_result(read_results(args.results), key):
            continue
        log = ""
        if args.exit_logs is not None:
            args.exit_logs.mkdir(parents=True, exist_ok=True)
            log = str(args.exit_logs / f"{identity['model']}.{identity['subset']}.{policy.replace(':', '-')}.jsonl")
        decoded = decode(task, models, cfg, policy, exit_log=log)
        scores = score(Path(utils.split_paths(cfg.task.data)[0]), cfg.dataset.gen_subset, decoded.hypotheses)
        statistics = decoded.statistics
        add_result(
            args.results,
            {
                **key,
                "bleu": round(scores.tokenised, 4),
                "sacrebleu": round(scores.detokenised, 4),
                "signature": scores.signature,
                "average_exit": round(statistics.average_exit, 4),
                "flops_per_token": round(statistics.flops / statistics.tokens),
                "tokens_per_second": round(statistics.tokens / decoded.seconds, 1),
                "seconds": round(decoded.seconds, 2),
                "sentences": len(decoded.hypotheses),
                "tokens": statistics.tokens,
                "exits": json.dumps([statistics.histogram[n + 1] for n in range(statistics.members[0].num_exits)]),
            },
        )
    wanted = [row for row in read_results(args.results) if has_result([row], {**identity, "policy": row["policy"]})]
    print(as_table(wanted))
    print(describe_gains(wanted))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
