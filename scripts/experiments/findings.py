"""The paper's findings, each held against the grid's numbers.

A finding is a claim about shape. The sentence that answers it gives the numbers it rests on, so that nobody has to take
the verdict on trust; a difference of a few tenths of BLEU between single runs is noise.
"""

from typing import Callable, Dict, List, NamedTuple, Optional

from .measurements import Measurements, mean, method_of
from .tables import BASELINES, NUM_EXITS


class Answer(NamedTuple):
    """Whether a finding holds here, and the numbers."""

    holds: bool
    numbers: str


Check = Callable[[Measurements], Optional[Answer]]


def answer_findings(measurements: Measurements) -> str:
    """A Markdown list: each finding, whether it is reproduced in shape, and why."""
    lines = []
    for claim, check in FINDINGS.items():
        answer = check(measurements)
        if answer is None:
            lines.append(f"- {claim}: **not measured**.")
        else:
            lines.append(f"- {claim}: **{'reproduced' if answer.holds else 'not reproduced'}**. {answer.numbers}")
    return "\n".join(lines)


def _exit_bleu(measurements: Measurements, name: str, subset: str = "valid") -> Optional[List[float]]:
    points = measurements.exits(name, subset, NUM_EXITS)
    return None if None in points else [point.bleu for point in points]


def _baseline_bleu(measurements: Measurements, subset: str = "valid") -> Optional[List[float]]:
    points = [measurements.point(name, subset, "stock") for name in BASELINES]
    return None if None in points else [point.bleu for point in points]


def _aligned_matches_baselines(measurements: Measurements) -> Optional[Answer]:
    aligned, baselines = _exit_bleu(measurements, "aligned"), _baseline_bleu(measurements)
    if aligned is None or baselines is None:
        return None
    numbers = f"Mean over depths, validation: {mean(aligned):.2f} against {mean(baselines):.2f} of six separate models; at full depth "
    return Answer(mean(aligned) >= mean(baselines) - 0.1, numbers + f"{aligned[-1]:.2f} against {baselines[-1]:.2f}.")


def _aligned_beats_mixed(measurements: Measurements) -> Optional[Answer]:
    aligned = _exit_bleu(measurements, "aligned")
    mixed = {paths: _exit_bleu(measurements, f"mixed-{paths}") for paths in (1, 3, 6)}
    if aligned is None or None in mixed.values():
        return None
    means = [mean(bleu) for bleu in mixed.values()]
    numbers = f"Mean over exits, validation: aligned {mean(aligned):.2f}; mixed " + ", ".join(
        f"{value:.2f} (M={paths})" for paths, value in zip(mixed, means)
    )
    return Answer(mean(aligned) > max(means), numbers + ".")


def _more_paths_are_better(measurements: Measurements) -> Optional[Answer]:
    mixed = [_exit_bleu(measurements, f"mixed-{paths}") for paths in (1, 3, 6)]
    if None in mixed:
        return None
    means = [mean(bleu) for bleu in mixed]
    return Answer(means == sorted(means), "Means " + ", ".join(f"{value:.2f}" for value in means) + ".")


def _weights_move_quality(measurements: Measurements) -> Optional[Answer]:
    aligned, linear, inverse = (_exit_bleu(measurements, name) for name in ("aligned", "weights-linear", "weights-inverse"))
    if None in (aligned, linear, inverse):
        return None
    first, last = (f"{'/'.join(f'{bleu[n]:.2f}' for bleu in (linear, aligned, inverse))}" for n in (0, -1))
    return Answer(linear[0] < aligned[0] < inverse[0], f"w_n = n, 1, 1/n give {first} at exit 1 and {last} at exit {NUM_EXITS}.")


def _by_method(measurements: Measurements, subset: str = "test") -> Dict[str, List[tuple]]:
    """(lambda, sigma, point, gain over fixed exits) of each adaptive method, at the default thresholds."""
    found: Dict[str, List[tuple]] = {}
    for training in measurements.measured("halting") + measurements.measured("kernel"):
        point = measurements.point(training.name, subset, training.policies[0])
        if point is None:
            continue
        gain = measurements.gain(point, "aligned", subset, NUM_EXITS)
        sigma = training.options.get("oracle-kernel-width", 0)
        found.setdefault(method_of(training), []).append((training.options["oracle-penalty"], sigma, point, gain))
    return found


def _mean_gain(measurements: Measurements, method: str) -> Optional[float]:
    gains = [gain for _, sigma, _, gain in _by_method(measurements).get(method, []) if sigma == 0 and gain is not None]
    return mean(gains) if gains else None


def _better(first: str, second: str) -> Check:
    def check(measurements: Measurements) -> Optional[Answer]:
        gains = [_mean_gain(measurements, method) for method in (first, second)]
        if None in gains:
            return None
        numbers = f"Mean gain over fixed exits of the same depth, test: {first} {gains[0]:+.2f}, {second} {gains[1]:+.2f}."
        return Answer(gains[0] > gains[1], numbers)

    return check


def _penalty_lowers_exits(measurements: Measurements) -> Optional[Answer]:
    parts, holds = [], []
    for method, points in _by_method(measurements).items():
        exits = [point.average_exit for _, sigma, point, _ in sorted(points, key=lambda each: each[0]) if sigma == 0]
        if len(exits) > 1:
            holds.append(all(later <= earlier + 0.005 for earlier, later in zip(exits, exits[1:])))
            parts.append(f"{method} " + " > ".join(f"{value:.2f}" for value in exits))
    return Answer(all(holds), "Average exits by growing lambda: " + "; ".join(parts) + ".") if parts else None


def _kernel_raises_exits(measurements: Measurements) -> Optional[Answer]:
    points = [each for each in _by_method(measurements).get("Tok-LL geometric", []) if each[0] == 0.1]
    points.sort(key=lambda each: each[1])
    if len(points) < 2:
        return None
    exits = [point.average_exit for _, _, point, _ in points]
    numbers = ", ".join(f"{value:.2f} (sigma {sigma:g})" for (_, sigma, _, _), value in zip(points, exits))
    return Answer(exits == sorted(exits), f"Tok-LL geometric, lambda 0.1, average exits: {numbers}.")


def _confidence_is_dear(measurements: Measurements) -> Optional[Answer]:
    full = measurements.point("aligned", "test", "full")
    points = [measurements.point("aligned", "test", f"confidence:{tau}") for tau in ("0.5", "0.7")]
    if full is None or None in points:
        return None
    share = [point.flops_per_token / full.flops_per_token for point in points]
    numbers = ", ".join(
        f"{point.bleu:.2f} BLEU at average exit {point.average_exit:.2f} for {cost:.0%}" for point, cost in zip(points, share)
    )
    depth = [point.average_exit / NUM_EXITS for point in points]
    return Answer(
        all(cost > each for cost, each in zip(share, depth)),
        f"Thresholds 0.5 and 0.7: {numbers} of full depth's FLOPs (full depth {full.bleu:.2f} BLEU): more than its layers' share.",
    )


FINDINGS: Dict[str, Check] = {
    "One model with aligned exits is as good as separate models of each depth (Table 1)": _aligned_matches_baselines,
    "Aligned training beats mixed training (Table 1)": _aligned_beats_mixed,
    "More sampled paths make mixed training better (Table 1)": _more_paths_are_better,
    "Weights that favour low exits make them better, at the cost of high ones (Table 2)": _weights_move_quality,
    "Geometric-like beats multinomial, correctness oracle": _better("Tok-C geometric", "Tok-C multinomial"),
    "Geometric-like beats multinomial, likelihood oracle": _better("Tok-LL geometric", "Tok-LL multinomial"),
    "Correctness is the better oracle for geometric-like": _better("Tok-C geometric", "Tok-LL geometric"),
    "Likelihood is the better sequence oracle": _better("Seq-LL", "Seq-C"),
    "A larger lambda gives lower exits (Fig. 4a)": _penalty_lowers_exits,
    "A wider kernel gives higher exits (Fig. 4b)": _kernel_raises_exits,
    "Confidence thresholding saves layers, but costs more FLOPs than its average exit says": _confidence_is_dear,
}
