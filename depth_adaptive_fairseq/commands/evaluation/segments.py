"""The best draw of each segment of the cost (section 4 of the paper), and its tables."""

import json
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from depth_adaptive_fairseq.commands.shared.tables import markdown


@dataclass(frozen=True)
class Segment:
    """The part of the cost's range from *low* to *high*, how many draws fell into it, and the row of the best."""

    low: float
    high: float
    draws: int
    best: Dict[str, str]


def best_of_segments(
    rows: Sequence[Dict[str, str]], cost: str, span: Tuple[float, float], count: int, metric: str
) -> List[Segment]:
    """Keep, in each of *count* equal segments of *span*, the row of highest *metric*; segments without rows are left out.

    A row on the border of two segments belongs to the higher one. Of equally good rows the cheaper is kept, then the one
    drawn first.

    Args:
        cost: the column that is segmented.
        span: lowest and highest cost.
        metric: the column that is maximised.
    """
    low, high = span
    width = (high - low) / count
    members: Dict[int, List[Dict[str, str]]] = {}
    for row in rows:
        index = int((float(row[cost]) - low) / width) if width else 0
        members.setdefault(min(max(index, 0), count - 1), []).append(row)
    return [
        Segment(
            low + index * width,
            low + (index + 1) * width,
            len(found),
            max(found, key=lambda row: (float(row[metric]), -float(row[cost]), -int(row["draw"]))),
        )
        for index, found in sorted(members.items())
    ]


def as_markdown(segments: Sequence[Segment], cost: str) -> str:
    """One line for each segment, with the option that its best draw is."""
    scale, digits, title = (1e-6, 3, "MFLOPs per token") if cost == "flops_per_token" else (1, 2, "average exit")
    rows = [
        [
            f"{segment.low * scale:.{digits}f} to {segment.high * scale:.{digits}f}",
            f"`--exit-thresholds {segment.best['thresholds']}`",
            str(segment.draws),
            *(f"{float(segment.best[name]):.2f}" for name in ("bleu", "sacrebleu", "average_exit")),
            f"{float(segment.best['flops_per_token']) / 1e6:.3f}",
        ]
        for segment in segments
    ]
    return markdown([title, "thresholds", "draws", "BLEU", "sacreBLEU", "average exit", "MFLOPs per token"], rows, texts=2)


def as_json(segments: Sequence[Segment], tuning: Dict[str, object]) -> str:
    """The same for programs; *tuning* says what was tuned, and how."""
    kept = [
        {
            "segment": [segment.low, segment.high],
            "draws": segment.draws,
            "draw": int(segment.best["draw"]),
            "exit_thresholds": segment.best["thresholds"],
            **{name: float(segment.best[name]) for name in ("bleu", "sacrebleu", "average_exit", "flops_per_token")},
        }
        for segment in segments
    ]
    return json.dumps({**tuning, "kept": kept}, indent=2)
