"""What the passes of ``depth-adaptive benchmark`` add up to, and the tables of it."""

import json
import statistics
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
from tabulate import tabulate

# Of one pass; None for engines that cannot tell.
WORK = ("steps", "block_calls", "block_rows", "copied_states", "classifier_calls", "classifier_rows")


def summarise(rows: Dict[tuple, Dict], reference: str) -> List[Dict]:
    """Medians, and ratios to the engine *reference* at the same batch size and threads: larger is faster."""
    summary = []
    for (threads, batch_size, engine), row in rows.items():
        summary.append({"threads": threads, "batch_size": batch_size, "engine": engine, **_summary(row["passes"])})
    for row in summary:
        other = next(
            one
            for one in summary
            if (one["threads"], one["batch_size"], one["engine"]) == (row["threads"], row["batch_size"], reference)
        )
        row["speedup"] = other["seconds"] / row["seconds"]
        row["processor_speedup"] = other["processor_seconds"] / row["processor_seconds"]
        row["speedup_after_encoder"] = None
        if row["encoder_seconds"] is not None and other["encoder_seconds"] is not None:
            rest = [one["seconds"] - one["encoder_seconds"] for one in (other, row)]
            row["speedup_after_encoder"] = rest[0] / rest[1]
    return summary


def _summary(passes: List[Dict]) -> Dict:
    seconds = [one["seconds"] for one in passes]
    median = statistics.median(seconds)
    first = passes[0]
    encoder: Optional[float] = None
    if first["encoder_seconds"] is not None:
        encoder = statistics.median(one["encoder_seconds"] for one in passes)
    return {
        "seconds": median,
        "spread": (max(seconds) - min(seconds)) / 2 / median,
        "processor_seconds": statistics.median(one["processor_seconds"] for one in passes),
        "encoder_seconds": encoder,
        "sentences_per_second": first["sentences"] / median,
        "tokens_per_second": first["tokens"] / median,
        "memory_bytes": max(one["memory_bytes"] for one in passes),
        **{name: first.get(name) for name in ("bleu", "average_exit", "sentences", "tokens", *WORK)},
        "passes": passes,
    }


def as_table(summary: List[Dict]) -> str:
    """The rows as a Markdown table."""
    header = ["threads", "batch", "engine", "BLEU", "average exit", "s", "spread", "of it encoder", "sentences/s", "tokens/s", "MiB"]
    header += ["times as fast", "after the encoder"]
    rows = []
    for row in summary:
        names = ("average_exit", "encoder_seconds", "speedup_after_encoder")
        optional = ["-" if row[name] is None else f"{row[name]:.2f}" for name in names]
        rows.append(
            [row["threads"], row["batch_size"], row["engine"], f"{row['bleu']:.2f}", optional[0], f"{row['seconds']:.2f}"]
            + [f"{row['spread']:.0%}", optional[1], f"{row['sentences_per_second']:.1f}", f"{row['tokens_per_second']:.0f}"]
            + [f"{row['memory_bytes'] / 2**20:.0f}", f"{row['speedup']:.2f}", optional[2]]
        )
    return tabulate(rows, header, tablefmt="github", disable_numparse=True, colalign=["right"] * 2 + ["left"] + ["right"] * 10)


def price_of_deciding(summary: List[Dict]) -> str:
    """What per-token exits cost beside the blocks they run, a sentence for each adaptive engine; empty without fixed exits.

    Time after the encoder, for each block call at batch 1 and for each row and block in larger batches, against that of
    fixed exits of the same precision, interpolated at the same number of block calls, or block rows, a step; and at the same
    average exit, which at batch 1 is lower than the deepest of a beam's rows, up to which blocks are called.
    """
    lines = []
    for row in summary:
        if row.get("steps") is None or _is_fixed(row):
            continue
        unit = "block_calls" if row["batch_size"] == 1 else "block_rows"
        fixed = [
            each
            for each in summary
            if (each["threads"], each["batch_size"], _precision(each)) == (row["threads"], row["batch_size"], _precision(row))
            and _is_fixed(each)
        ]
        fixed.sort(key=lambda each: each[unit] / each["steps"])
        depths = [each[unit] / each["steps"] for each in fixed]
        depth = row[unit] / row["steps"]
        if len(set(depths)) < 2 or not depths[0] <= depth <= depths[-1]:
            continue
        costs = [_each(each, unit) for each in fixed]
        ratio = _each(row, unit) / float(np.interp(depth, depths, costs))
        more = ""
        exits = [each["average_exit"] for each in fixed]
        if None not in (row["average_exit"], *exits):
            at_exit = _each(row, unit) / float(np.interp(row["average_exit"], exits, costs))
            more = f", {at_exit:.2f} times at its average exit"
        if row.get("classifier_calls") is not None:  # earlier benchmarks did not count them
            more += f"; {row['classifier_calls'] / row['steps']:.2f} classifiers a step, theirs are 1, and "
            more += f"{row['copied_states'] / row['block_rows']:.2f} copied states a row and block, theirs are 0"
        name = "block call" if unit == "block_calls" else "row and block"
        lines.append(
            f"{row['engine']}, batch {row['batch_size']}, {row['threads']} threads: {1e3 * _each(row, unit):.3f} ms a {name}, "
            f"{ratio:.2f} times that of fixed exits with as many a step ({depth:.2f}){more}"
        )
    return "\n".join(lines)


def _is_fixed(row: Dict) -> bool:
    return row["engine"].partition("@")[0].partition(":")[0] in ("fixed", "full")


def _precision(row: Dict) -> str:
    return row["engine"].partition("@")[2] or "float32"


def _each(row: Dict, unit: str) -> float:
    return (row["seconds"] - row["encoder_seconds"]) / row[unit]


def read_measurements(path: Path, kind: str) -> List[Dict]:
    """The measurements that a benchmark's ``--out`` wrote: *kind* is "rows" for decoding, "results" for training.

    Raises:
        ValueError: *path* is no such file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))[kind]
    except (OSError, ValueError, KeyError, TypeError) as error:
        verb = {"rows": "benchmark", "results": "benchmark-training"}[kind]
        raise ValueError(f"{path} is not a file of depth-adaptive {verb}: {error}") from None
