"""Time and memory of an aligned training step against stock fairseq's transformer of the same sizes.

    depth-adaptive benchmark-training --out outputs/benchmark_training.json

Sentences are random, 32 tokens long, `--max-tokens` of them on either side. Each measurement is a fresh process that
makes whole update steps (forward, backward, clipping, Adam); the two models take turns, so that what else the machine
does hits both. Reported are medians over all repetitions:

  time         of a step; by the clock, and processor time, which other processes disturb less
  FLOPs        of the matrix products of the forward and backward passes, counted by PyTorch
  memory       most resident at any time less resident before the model was built: weights, gradients, Adam's state,
               activations (on a GPU: most allocated)

and their ratios, adaptive to stock. Other sizes: `--options --decoder-layers 3 ...`, for both models.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Sequence

from tabulate import tabulate
from tqdm import tqdm

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.benchmarking.report import read_measurements
from depth_adaptive_fairseq.compat.whole_files import new_file
from depth_adaptive_fairseq.errors import DepthAdaptiveError

LENGTH = 32  # tokens of every sentence, as in benchmarking/training_step.py, which takes seconds to import

SHARED = ["--label-smoothing", "0.1", "--optimizer", "adam", "--lr", "1e-4", "--clip-norm", "3", "--dropout", "0.1"]
KINDS = {
    "stock": ["--task", "translation", "--criterion", "label_smoothed_cross_entropy"],
    "adaptive": ["--task", "depth_adaptive_translation", "--criterion", "depth_adaptive_cross_entropy"],
}
IWSLT = ["--encoder-embed-dim", "512", "--encoder-ffn-embed-dim", "1024", "--encoder-attention-heads", "4"]
IWSLT += ["--decoder-embed-dim", "256", "--decoder-ffn-embed-dim", "1024", "--decoder-attention-heads", "4"]
NARROW = ["--encoder-embed-dim", "256", "--encoder-ffn-embed-dim", "1024", "--encoder-attention-heads", "4"]
NARROW += ["--decoder-embed-dim", "256", "--decoder-ffn-embed-dim", "1024", "--decoder-attention-heads", "4"]
# Sizes of each setting and the options that only one of the two models takes.
SETTINGS: Dict[str, Dict] = {
    "tied": {
        "describe": "6+6 blocks of 256, feed-forward 1024, one matrix of 44,000 for embeddings and all classifiers",
        "vocabulary": 44_000,
        "options": ["--share-all-embeddings", *NARROW],
        "adaptive": ["--share-exit-classifiers"],
    },
    "untied": {
        "describe": "the paper's IWSLT sizes, a classifier of 10,000 at each exit",
        "vocabulary": 10_000,
        "options": IWSLT,
        "adaptive": [],
    },
}
ARCHITECTURES = {"stock": "transformer", "adaptive": "depth_adaptive_transformer"}


def run_once(setting: str, kind: str, arguments: argparse.Namespace, count_flops: bool) -> Dict:
    """One measurement in a process of its own.

    Raises:
        DepthAdaptiveError: it failed; the message holds its last line.
    """
    sizes = SETTINGS[setting]
    command: List[str] = [sys.executable, "-m", "depth_adaptive_fairseq.commands.benchmarking.training_step", "--vocabulary", str(sizes["vocabulary"])]
    command += ["--max-tokens", str(arguments.max_tokens), "--steps", str(arguments.steps)]
    command += ["--threads", str(arguments.threads), *(["--flops"] if count_flops else []), "--"]
    command += ["--arch", ARCHITECTURES[kind], *KINDS[kind], *SHARED]
    command += [*sizes["options"], *sizes.get(kind, []), *arguments.options]
    # Without a fixed threshold, glibc would keep freed logits or give them back depending on what was freed before.
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise DepthAdaptiveError(f"{setting}, {kind}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(setting: str, arguments: argparse.Namespace, progress: tqdm) -> Dict:
    """Both models' medians and their ratios."""
    runs: Dict[str, List[Dict]] = {kind: [] for kind in KINDS}
    for repetition in range(arguments.repetitions):
        for kind in KINDS:
            progress.set_description(f"{setting}, {kind}")
            runs[kind].append(run_once(setting, kind, arguments, count_flops=repetition == 0))
            progress.update()
    result: Dict = {"setting": setting, "description": SETTINGS[setting]["describe"], "runs": runs}
    for kind in KINDS:
        names = ("wall", "processor", "peak_bytes")
        result[kind] = {name: statistics.median(run[name] for run in runs[kind]) for name in names}
        result[kind]["flops"] = runs[kind][0]["flops"]
        result[kind]["state_bytes"] = runs[kind][0]["state_bytes"]
    ratios = {name: result["adaptive"][name] / result["stock"][name] for name in result["stock"]}
    per_flop = {f"{name}_per_flop": ratios[name] / ratios["flops"] for name in ("wall", "processor")}
    result["ratios"] = {**ratios, **per_flop}
    return result


def as_table(results: List[Dict]) -> str:
    """A Markdown table: a line for each setting and model, and one with the ratios."""
    rows = []
    for result in results:
        for kind in KINDS:
            each = result[kind]
            memory = [each["peak_bytes"] / 2**30, each["state_bytes"] / 2**30]
            rows.append([result["setting"], kind, each["wall"], each["processor"], each["flops"] / 1e12, *memory])
        ratios = result["ratios"]
        names = ("wall", "processor", "flops", "peak_bytes", "state_bytes")
        rows.append([result["setting"], "ratio", *(ratios[name] for name in names)])
        per_flop = [ratios["wall_per_flop"], ratios["processor_per_flop"]]
        rows.append([result["setting"], "ratio / FLOPs' ratio", *per_flop, None, None, None])
    header = ["setting", "model", "s/step", "processor s/step", "TFLOPs", "peak GiB", "of it weights and Adam"]
    return tabulate(rows, header, tablefmt="github", floatfmt=".2f", missingval="-")


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("benchmark-training", __doc__)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--max-tokens", type=int, default=4096, help="target tokens of a batch (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=2, help="steps timed in each process (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="processes for each model (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all measurements here, as JSON")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="more options of fairseq-train, for both")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print the table of earlier measurements, and measure nothing")
    args = parser.parse_args(arguments)
    if args.show is not None:
        print(as_table(read_measurements(args.show, "results")))
        return
    for name in ("max_tokens", "steps", "repetitions", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(args, name)} was given; give 1 or more")
    if args.max_tokens < LENGTH:
        parser.error(f"--max-tokens {args.max_tokens} was given; give {LENGTH} or more, the length of a sentence")
    if args.out is not None and args.out.is_dir():
        parser.error(f"--out {args.out} was given, which is a folder: name a file")
    total = len(args.settings) * len(KINDS) * args.repetitions
    with tqdm(total=total, unit="run", disable=None) as progress:
        results = [compare(setting, args, progress) for setting in args.settings]
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        settings = {"max_tokens": args.max_tokens, "threads": args.threads}
        with new_file(args.out) as file:
            file.write(json.dumps({**settings, "results": results}, indent=1) + "\n")
    print(as_table(results))
