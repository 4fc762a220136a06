"""Time decoding: this plugin by policy and precision, stock fairseq, and CTranslate2, side by side.

    depth-adaptive benchmark data-bin/multi30k.de-en --path checkpoints/checkpoint_best.pt \\
        --engines stock full geometric:0.5 geometric:0.5@int8 --batch-sizes 1 32 128 --threads 1 2 --out benchmark.json

Engines: a policy as in depth-adaptive evaluate (`full`, `fixed:2`, `geometric:0.5`, ...), `stock` for fairseq's own generator and
`ct2` for CTranslate2 (`pip install .[benchmark]`), both on the full depth exported with depth-adaptive export; `@float16` or
`@int8` behind an engine for weights of that precision. The first engine is what the others are compared with.

Each engine decodes in a process of its own. They take turns, `--repetitions` times, after a batch to warm up; loading and
batching are left out. The table shows medians, and the spread as half the range over the median. `--options` hands on
options of fairseq-generate, `--lenpen 0.6` or `--fp16` for example; what an engine does not honour is refused. `--table JSON` prints
the table of what --out wrote earlier.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Sequence

from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from tqdm import tqdm

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.benchmarking.engines import CTRANSLATE2, STOCK, parse_engine
from depth_adaptive_fairseq.commands.benchmarking.report import as_table, price_of_deciding, read_measurements, summarise
from depth_adaptive_fairseq.commands.checkpoint_files.fixed_depth import to_fixed_depth
from depth_adaptive_fairseq.commands.checkpoint_files.writing import write_checkpoint
from depth_adaptive_fairseq.compat.whole_files import is_special, new_file
from depth_adaptive_fairseq.errors import DepthAdaptiveError


class WorkerProcess:
    """A :mod:`.benchmarking.decoding_worker` and the pipe to it, as a context; it loads while others do, until it is waited for.

    Raises:
        DepthAdaptiveError: it failed, now or later; the message holds its last line.
    """

    def __init__(self, engine: str, threads: int, arguments: argparse.Namespace, exported: "Exported"):
        name = parse_engine(engine)[0]
        checkpoint = exported.checkpoint() if name in (STOCK, CTRANSLATE2) else arguments.path
        command = [sys.executable, "-m", "depth_adaptive_fairseq.commands.benchmarking.decoding_worker", "--engine", engine, "--threads", str(threads)]
        command += ["--sentences", str(arguments.sentences)]
        if name == CTRANSLATE2:
            command += ["--ctranslate2-model", str(exported.ctranslate2_model())]
        command += ["--", str(arguments.data.resolve()), "--path", str(Path(checkpoint).resolve())]
        command += ["--gen-subset", arguments.gen_subset, *arguments.options]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.engine = engine
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
        )

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def wait_until_ready(self) -> None:
        """Wait until it has loaded everything."""
        self._answer()

    def decode(self, batch_size: int) -> Dict:
        """One pass over the subset."""
        with contextlib.suppress(BrokenPipeError):  # it has ended; there is no answer then
            self.process.stdin.write(f"{batch_size}\n")
            self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Dict:
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.errors.seek(0)
        last = (self.errors.read().strip().splitlines() or [f"no message, status {status}"])[-1]
        raise DepthAdaptiveError(f"engine {self.engine} failed: {last}")

    def close(self) -> None:
        """Let the process end."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


class Exported:
    """The full depth as stock fairseq and CTranslate2 read it, written once if anyone asks.

    Args:
        path: the depth-adaptive checkpoint.
        folder: where the exports go.
    """

    def __init__(self, path: Path, data: Path, folder: Path):
        self.path, self.data, self.folder = path, data, folder

    def checkpoint(self) -> Path:
        out = self.folder / "full_depth.pt"
        if not out.exists():
            state = load_checkpoint_to_cpu(str(self.path))
            write_checkpoint(to_fixed_depth(state, int(state["cfg"]["model"].decoder_layers)), out)
        return out

    def ctranslate2_model(self) -> Path:
        out = self.folder / "ctranslate2"
        if not out.exists():
            converter = "from ctranslate2.converters.fairseq import main; main()"
            paths = ["--model_path", self.checkpoint(), "--data_dir", self.data, "--output_dir", out]
            _run([sys.executable, "-c", converter, *map(str, paths)])
        return out


def _run(command: List[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise DepthAdaptiveError((done.stderr.strip().splitlines() or [f"{command[1]} failed"])[-1])


def measure(arguments: argparse.Namespace, folder: Path) -> List[Dict]:
    """All measurements, a row for each engine, batch size and number of threads."""
    exported = Exported(arguments.path, arguments.data, folder)
    rows: Dict[tuple, Dict] = {}
    total = len(arguments.threads) * len(arguments.batch_sizes) * len(arguments.engines) * arguments.repetitions
    with tqdm(total=total, unit="pass", disable=None) as progress:
        for threads in arguments.threads:
            with contextlib.ExitStack() as stack:
                workers = [
                    stack.enter_context(WorkerProcess(engine, threads, arguments, exported)) for engine in arguments.engines
                ]
                for worker in workers:
                    worker.wait_until_ready()
                for batch_size in arguments.batch_sizes:
                    for _ in range(arguments.repetitions):
                        for worker in workers:
                            progress.set_description(f"{worker.engine}, batch {batch_size}, {threads} threads")
                            key = (threads, batch_size, worker.engine)
                            rows.setdefault(key, {"passes": []})["passes"].append(worker.decode(batch_size))
                            progress.update()
                    refuse_unequal(rows)
                    if arguments.out is not None and not is_special(arguments.out):  # what is written to that stays there
                        save(arguments, summarise(rows, arguments.engines[0]))
    return summarise(rows, arguments.engines[0])


def refuse_unequal(rows: Dict[tuple, Dict]) -> None:
    """Check that what is compared is of the same sentences.

    Raises:
        ValueError: engines skipped different ones.
    """
    counts = {(batch_size, engine): row["passes"][0]["sentences"] for (_, batch_size, engine), row in rows.items()}
    for (batch_size, engine), count in counts.items():
        first, expected = next((other, count) for (size, other), count in counts.items() if size == batch_size)
        if count != expected:
            raise ValueError(
                f"{engine} decoded {count} sentences and {first} {expected}, which cannot be compared: give a subset without "
                "sentences that are too long for one of them"
            )


def require(engines: List[str]) -> None:
    """Check that *engines* can be had here, before any of them is measured.

    Raises:
        ValueError: there is no such engine or precision, or its program is not installed.
    """
    names = [parse_engine(engine)[0] for engine in engines]
    if CTRANSLATE2 in names:
        try:
            import ctranslate2  # noqa: F401
        except ImportError as error:
            raise ValueError(
                f"--engines {CTRANSLATE2} was given and CTranslate2 cannot be imported ({error}): install it with "
                f"pip install '.[benchmark]', or leave {CTRANSLATE2} out"
            ) from None


def save(arguments: argparse.Namespace, summary: List[Dict]) -> None:
    """Write what has been measured so far to ``--out``."""
    if arguments.out is None:
        return
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"repetitions": arguments.repetitions, "subset": arguments.gen_subset, "options": arguments.options}
    with new_file(arguments.out) as file:
        file.write(json.dumps({"settings": settings, "rows": summary}, indent=1) + "\n")


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("benchmark", __doc__)
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA_BIN", help="binarised data")
    parser.add_argument("--path", type=Path, help="checkpoint of a depth-adaptive transformer")
    parser.add_argument("--gen-subset", default="test", help="(default: %(default)s)")
    parser.add_argument("--engines", nargs="+", default=["stock", "full"], metavar="ENGINE", help="(default: stock full)")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 32, 128], help="sentences (default: 1 32 128)")
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="(default: 1)")
    parser.add_argument("--repetitions", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--sentences", type=int, default=0, help="decode about so many of the subset; 0: all (default)")
    parser.add_argument("--out", type=Path, help="write all measurements here, as JSON, after each batch size")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="more options of fairseq-generate")
    parser.add_argument("--table", type=Path, metavar="JSON", help="print the table of earlier measurements, and measure nothing")
    args = parser.parse_args(arguments)
    if args.table is None and None in (args.data, args.path):
        parser.error("give DATA_BIN and --path CHECKPOINT, or --table JSON")
    summary = read_measurements(args.table, "rows") if args.table is not None else benchmark(args)
    print(as_table(summary))
    print(price_of_deciding(summary))


def benchmark(args: argparse.Namespace) -> List[Dict]:
    """Measure what *args* ask for, and write it where they say.

    Raises:
        ValueError: something of them cannot be; nothing has been measured yet.
    """
    for number in (*args.batch_sizes, *args.threads, args.repetitions):
        if number < 1:
            raise ValueError(f"{number} was given for a number of sentences, threads or repetitions; give 1 or more")
    require(args.engines)
    if not args.path.is_file():
        raise ValueError(f"--path {args.path} is not a file: give a checkpoint")
    if args.out is not None and args.out.is_dir():
        raise ValueError(f"--out {args.out} was given, which is a folder: name a file")
    with tempfile.TemporaryDirectory() as folder:
        summary = measure(args, Path(folder))
    save(args, summary)
    return summary
