"""Where the time of decoding goes, by part.

    depth-adaptive profile data-bin/multi30k.de-en --path checkpoints/checkpoint_best.pt \\
        --policies full geometric:0.5 --batch-size 1 --sentences 100

Processor time of one thread, milliseconds for each decoding step, each part without the parts that it calls. The options
of fairseq-generate hold, or are refused with the reason; policies are written as in depth-adaptive evaluate.

The native kernels can take a whole step at once, which hides its parts: they run block by block here, unless --whole-steps is
given. Copied states are projected inside a native block, and a native classifier inside "best tokens".
"""

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, List, Sequence

import torch
from tabulate import tabulate

import depth_adaptive_fairseq.inference.generator as generator
from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.benchmarking.decoding_worker import Worker
from depth_adaptive_fairseq.commands.benchmarking.engines import CTRANSLATE2, STOCK, parse_engine
from depth_adaptive_fairseq.exits.policy import Comparison
from depth_adaptive_fairseq.exits.registry import POLICIES
from depth_adaptive_fairseq.inference import plan
from depth_adaptive_fairseq.inference.batch_decoder import BatchDecoder
from depth_adaptive_fairseq.inference.native_backend import NativeDecoder
from depth_adaptive_fairseq.inference.packed_weights import ClassifierWeights, NativeBlock
from depth_adaptive_fairseq.inference.torch_backend import TorchDecoder

REST = "beam search and bookkeeping"
# Each part and the functions that it is made of.
PARTS = {
    "encoder": [(generator, "encode")],
    "native steps of the search": [(NativeDecoder, "search_step")],
    "native blocks": [(NativeBlock, "run")],
    "embedding": [(TorchDecoder, "begin_step"), (NativeDecoder, "begin_step")],
    "self-attention": [(TorchDecoder, "_self_attention")],
    "copied states": [(TorchDecoder, "_project_copied_states")],
    "cross-attention": [(TorchDecoder, "_cross_attention")],
    "rest of the blocks": [(TorchDecoder, "run_block"), (NativeDecoder, "run_block")],
    "classifiers": [(ClassifierWeights, "__call__")],
    "exit decisions": [(Comparison, "holds"), (BatchDecoder, "_exits")],  # and the statistics, see install
    "packing of rows": [(BatchDecoder, name) for name in ("step", "leave", "reorder")],
    "best tokens": [(TorchDecoder, "best_tokens"), (NativeDecoder, "best_tokens")],
}


class Profile:
    """Exclusive processor time by part."""

    def __init__(self):
        self.seconds: Counter = Counter()
        self._running: List[str] = [REST]
        self._since = time.process_time()

    def _switch(self) -> None:
        now = time.process_time()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def timed(self, function: Callable, part: str) -> Callable:
        """*function*, its time booked on *part*."""

        def call(*args, **kwargs):
            self._switch()
            self._running.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._switch()
                self._running.pop()

        return call

    def start(self) -> None:
        self.seconds.clear()
        self._since = time.process_time()

    def stop(self) -> None:
        self._switch()


def profile(policy: str, arguments: argparse.Namespace) -> Dict[str, float]:
    """Decode with *policy*; returns milliseconds a step by part.

    The parts stay wrapped, so a process profiles one policy after another through one Profile.
    """
    words = [str(arguments.data), "--path", str(arguments.path), "--gen-subset", arguments.gen_subset, *arguments.options]
    worker = Worker(argparse.Namespace(engine=policy, threads=1, sentences=arguments.sentences, options=words))
    batches = worker.batches(arguments.batch_size)
    worker.engine.translate(batches[0])
    worker.engine.start()
    PROFILE.start()
    for batch in batches:
        worker.engine.translate(batch)
    PROFILE.stop()
    steps = worker.engine.work["steps"] / len(worker.engine.models)  # each member of an ensemble counts its own
    return {part: 1e3 * PROFILE.seconds[part] / steps for part in [*PARTS, REST]}


PROFILE = Profile()


def install(whole_steps: bool) -> None:
    """Put the profile's timers around all parts."""
    if not whole_steps:
        plan._why_no_whole_steps = lambda models, rule: "--whole-steps was not given"
        for statistic in {policy.statistic for policy in POLICIES.values() if policy.statistic is not None}:
            object.__setattr__(statistic, "compute", PROFILE.timed(statistic.compute, "exit decisions"))
    for part, places in PARTS.items():
        for owner, name in places:
            setattr(owner, name, PROFILE.timed(getattr(owner, name), part))


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("profile", __doc__)
    parser.add_argument("data", type=Path, metavar="DATA_BIN", help="binarised data")
    parser.add_argument("--path", type=Path, required=True, help="checkpoint of a depth-adaptive transformer")
    parser.add_argument("--gen-subset", default="test", help="(default: %(default)s)")
    parser.add_argument("--policies", nargs="+", default=["full"], metavar="POLICY", help="(default: full); with @int8 too")
    parser.add_argument("--batch-size", type=int, default=1, help="sentences (default: 1)")
    parser.add_argument("--sentences", type=int, default=100, help="about so many of the subset (default: 100)")
    parser.add_argument("--whole-steps", action="store_true", help="let the kernels take whole steps, as they do when not profiled")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="more options of fairseq-generate")
    args = parser.parse_args(arguments)
    if args.batch_size < 1:
        parser.error(f"--batch-size {args.batch_size} was given; give 1 or more")
    for policy in args.policies:
        if parse_engine(policy)[0] in (STOCK, CTRANSLATE2):
            raise ValueError(f"--policies {policy} was given, which has none of these parts: give policies of this plugin")
    if not args.path.is_file():
        raise ValueError(f"--path {args.path} is not a file: give a checkpoint")
    install(args.whole_steps)
    torch.set_num_threads(1)
    columns = {policy: profile(policy, args) for policy in args.policies}
    parts = [part for part in [*PARTS, REST] if any(column[part] > 0 for column in columns.values())]
    rows = [[part, *(f"{column[part]:.2f}" for column in columns.values())] for part in parts]
    rows.append(["all", *(f"{sum(column.values()):.2f}" for column in columns.values())])
    print(tabulate(rows, ["ms a step", *columns], tablefmt="github", disable_numparse=True, colalign=["left"] + ["right"] * len(columns)))
