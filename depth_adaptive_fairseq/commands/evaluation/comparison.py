"""Do adaptive exits beat fixed ones of the same depth?"""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np


def fixed_curve(rows: Sequence[Dict[str, str]]) -> List[Tuple[float, float]]:
    """(exit, BLEU) of the rows of one depth, sorted by exit."""
    fixed = {float(row["average_exit"]): float(row["bleu"]) for row in rows if row["policy"].startswith(("fixed", "full"))}
    return sorted(fixed.items())


def gain_over_fixed(bleu: float, average_exit: float, curve: Sequence[Tuple[float, float]]) -> Optional[float]:
    """*bleu* above that of fixed exits, interpolated at *average_exit*; None outside their range.

    Args:
        curve: (exit, BLEU) of the fixed exits, sorted.
    """
    if len(curve) < 2 or not curve[0][0] <= average_exit <= curve[-1][0]:
        return None
    return bleu - float(np.interp(average_exit, *zip(*curve)))


def describe_gains(rows: Sequence[Dict[str, str]]) -> str:
    """Sentences for people: each adaptive row against fixed exits; empty where there is nothing to compare."""
    curve = fixed_curve(rows)
    lines, gains = [], []
    for row in rows:
        if row["policy"].startswith(("fixed", "full", "stock", "uniform")):
            continue
        gain = gain_over_fixed(float(row["bleu"]), float(row["average_exit"]), curve)
        if gain is None:
            continue
        gains.append(gain)
        lines.append(
            f"{row['policy']}: {float(row['bleu']):.2f} BLEU at average exit {float(row['average_exit']):.2f}, "
            f"{abs(gain):.2f} {'above' if gain >= 0 else 'below'} fixed exits of that depth (interpolated)"
        )
    if gains:
        better = sum(gain > 0 for gain in gains)
        lines.append(
            f"{better} of {len(gains)} adaptive rows beat fixed exits of the same average depth."
            + ("" if better == len(gains) else " The others spend blocks on tokens that an early exit had right, or leave too soon.")
        )
    return "\n".join(lines)
