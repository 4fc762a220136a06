#!/usr/bin/env python
"""Time and memory of an aligned training step against stock fairseq's transformer of the same sizes.

    python scripts/benchmark_training.py --out outputs/benchmark_training.json

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
from typing import Dict, List

from shared.whole_files import new_file
from tabulate import tabulate
from tqdm import tqdm

STEP = Path(__file__).resolve().parent / "benchmarking" / "training_step.py"

LENGTH = 32  # tokens of every sentence, as in training_step.py, which takes seconds to import

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
        RuntimeError: it failed; the message holds its last line.
    """
    sizes = SETTINGS[setting]
    command: List[str] = [sys.executable, str(STEP), "--vocabulary", str(sizes["vocabulary"])]
    command += ["--max-tokens", str(arguments.max_tokens), "--steps", str(arguments.steps)]
    command += ["--threads", str(arguments.threads), *(["--flops"] if count_flops else []), "--"]
    command += ["--arch", ARCHITECTURES[kind], *KINDS[kind], *SHARED]
    command += [*sizes["options"], *sizes.get(kind, []), *arguments.options]
    # Without a fixed threshold, glibc would keep freed logits or give them back depending on what was freed before.
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{setting}, {kind}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--max-tokens", type=int, default=4096, help="target tokens of a batch (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=2, help="steps timed in each process (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="processes for each model (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all measurements here, as JSON")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="more options of fairseq-train, for both")
    parser.add_argument("--show", type=Path, metavar="JSON", help="print the table of earlier measurements, and measure nothing")
    arguments = parser.parse_args()
    if arguments.show is not None:
        try:
            results = json.loads(arguments.show.read_text(encoding="utf-8"))["results"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            sys.exit(f"error: {arguments.show} is not a file of benchmark_training.py: {error}")
        print(as_table(results))
        return
    for name in ("max_tokens", "steps", "repetitions", "threads"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(arguments, name)} was given; give 1 or more")
    if arguments.max_tokens < LENGTH:
        parser.error(f"--max-tokens {arguments.max_tokens} was given; give {LENGTH} or more, the length of a sentence")
    if arguments.out is not None and arguments.out.is_dir():
        parser.error(f"--out {arguments.out} was given, which is a folder: name a file")
    total = len(arguments.settings) * len(KINDS) * arguments.repetitions
    with tqdm(total=total, unit="run", disable=None) as progress:
        results = [compare(setting, arguments, progress) for setting in arguments.settings]
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        settings = {"max_tokens": arguments.max_tokens, "threads": arguments.threads}
        with new_file(arguments.out) as file:
            file.write(json.dumps({**settings, "results": results}, indent=1) + "\n")
    print(as_table(results))


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
