"""The paper's findings about choosing the exit: methods, oracles, lambda, the kernel, confidence, and who leaves when."""

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .grid import Training
from .measurements import ALIGNED, EXIT_POLICIES, METHODS, NUM_EXITS, Measurements, mean
from .method_curves import compare, trainings_of
from .verdicts import (
    CANNOT_BE_JUDGED,
    EXIT_MARGIN,
    NOISE_MARGIN,
    NOT_REPRODUCED,
    PROBABILITY_MARGIN,
    REPRODUCED,
    Answer,
    Check,
    all_exceed,
    falls,
    no_worse,
    rises,
    together,
)

HALF = NUM_EXITS / 2
Judge = Callable[[Sequence[float]], Optional[str]]


class _Adaptive(NamedTuple):
    """One adaptive way of decoding."""

    name: str
    policy: str


def match_the_baseline(measurements: Measurements) -> Optional[Answer]:
    """The headline: BLEU of the deepest baseline with at most half its blocks."""
    baseline = measurements.point(f"baseline-{NUM_EXITS}", "test", "stock")
    if baseline is None:
        return None
    return _held_against(measurements, baseline.bleu, f"the baseline of {NUM_EXITS} blocks")


def match_the_best_exit(measurements: Measurements) -> Optional[Answer]:
    """The same against the best fixed exit of the model that was only trained aligned."""
    reference = measurements.reference()
    valid, test = (measurements.exits(reference, subset) for subset in ("valid", "test"))
    if None in valid or None in test:
        return None
    best = max(range(NUM_EXITS), key=lambda n: valid[n].bleu)
    return _held_against(measurements, test[best].bleu, f"exit {best + 1} of `{reference}`, its best on validation data")


def _held_against(measurements: Measurements, bleu: float, what: str) -> Optional[Answer]:
    """The best point of at most half the blocks, chosen on validation data and judged on test data.

    Not on both: the best of many points owes something to luck on the data that it was chosen on.
    """
    every = _adaptive_ways(measurements)
    if every is None:
        return None
    cheap = [way for way in every if measurements.point(way.name, "valid", way.policy).average_exit <= HALF]
    if not cheap:
        return Answer(CANNOT_BE_JUDGED, f"No adaptive point has an average exit of {HALF:g} or less.")
    best = max(cheap, key=lambda way: measurements.point(way.name, "valid", way.policy).bleu)
    point = measurements.point(best.name, "test", best.policy)
    numbers = (
        f"Best adaptive point with an average exit of {HALF:g} or less on validation data: `{best.name}` with "
        f"`{best.policy}`. Test: {point.bleu:.2f} BLEU at average exit {point.average_exit:.2f} "
        f"({1 - point.average_exit / NUM_EXITS:.0%} fewer blocks) against {bleu:.2f} of {what}."
    )
    return Answer(no_worse(point.bleu - bleu), numbers)


def _adaptive_ways(measurements: Measurements) -> Optional[List[_Adaptive]]:
    """All policies of the halting classifiers, and confidence; None unless all of them were measured on both subsets."""
    trainings = [training for training in measurements.grid.trainings if training.table == "halting"]
    ways = [_Adaptive(training.name, policy) for training in trainings for policy in training.policies]
    ways += [_Adaptive(ALIGNED, policy) for policy in _confidence_policies(measurements)]
    measured = all(measurements.pooled(way.name, ("valid", "test"), way.policy) is not None for way in ways)
    return ways if ways and measured else None


def _confidence_policies(measurements: Measurements) -> List[str]:
    aligned = [training for training in measurements.grid.trainings if training.name == ALIGNED]
    return [policy for training in aligned for policy in training.policies if policy.startswith("confidence")]


def better(first: str, second: str) -> Check:
    """The check of a claim that one method beats another at the same depth."""
    return lambda measurements: compare(measurements, first, second)


def penalty_lowers_exits(measurements: Measurements) -> Optional[Answer]:
    """Figure 4a, for every method: the exits that the oracle asks for, and those that tokens left at."""
    methods = {method: trainings_of(measurements, method) for method in METHODS.values()}
    return _over_option(measurements, methods, "oracle-penalty", "lambda", falls)


def kernel_raises_exits(measurements: Measurements) -> Optional[Answer]:
    """Figure 4b, for both oracles; no kernel is the narrowest."""
    methods = {}
    for method in ("Tok-LL geometric", "Tok-C geometric"):
        wider = trainings_of(measurements, method, "kernel")
        penalties = {training.options["oracle-penalty"] for training in wider}
        without = [each for each in trainings_of(measurements, method) if each.options["oracle-penalty"] in penalties]
        methods[method] = [*without, *wider]
    return _over_option(measurements, methods, "oracle-kernel-width", "sigma", rises)


def _over_option(
    measurements: Measurements, methods: Dict[str, Sequence[Training]], option: str, name: str, judge: Judge
) -> Optional[Answer]:
    """How the average exits of each method move with an option of its oracle. Constant series say nothing."""
    verdicts, parts = [], []
    for method, trainings in methods.items():
        trainings = sorted(trainings, key=lambda training: training.options.get(option, 0))
        exits = _exits_of(measurements, trainings)
        if exits is None or len(trainings) < 2:
            return None
        found = [judge(series) for series in exits]
        verdicts += found
        values = ", ".join(f"{training.options.get(option, 0):g}" for training in trainings)
        oracle, decoded = (
            ", ".join(f"{value:.2f}" for value in series) + ("" if verdict else " (constant)")
            for series, verdict in zip(exits, found)
        )
        parts.append(f"{method} ({name} {values}): oracle {oracle}; decoded {decoded}")
    numbers = f"Average exits by growing {name}, the oracle's on validation data: {'. '.join(parts)}."
    return Answer(together(verdicts), numbers)


def _exits_of(measurements: Measurements, trainings: Sequence[Training]) -> Optional[Tuple[List[float], List[float]]]:
    """The oracle's average exit and that of decoding with the first policy that all *trainings* have."""
    oracle, decoded = [], []
    for training in trainings:
        policy = next(policy for policy in training.policies if all(policy in each.policies for each in trainings))
        point = measurements.pooled(training.name, training.subsets, policy)
        asked = measurements.trainings.get(training.name, {}).get("oracle_exit")
        if point is None or not asked:
            return None
        oracle.append(float(asked))
        decoded.append(point.average_exit)
    return oracle, decoded


def confidence_is_dear(measurements: Measurements) -> Optional[Answer]:
    """Confidence thresholding pays for a classifier behind every block that it asks."""
    subsets = measurements.common_subsets([ALIGNED])
    full = measurements.pooled(ALIGNED, subsets, EXIT_POLICIES[-1])
    policies = _confidence_policies(measurements)
    points = [measurements.pooled(ALIGNED, subsets, policy) for policy in policies]
    if full is None or not points or None in points:
        return None
    cost = [point.flops_per_token / full.flops_per_token for point in points]
    saves = any(p.bleu > full.bleu - NOISE_MARGIN and p.average_exit < NUM_EXITS - EXIT_MARGIN for p in points)
    dear = all(share > point.average_exit / NUM_EXITS for share, point in zip(cost, points))
    each = "; ".join(
        f"{policy} {point.bleu:.2f} BLEU at average exit {point.average_exit:.2f} "
        f"({point.average_exit / NUM_EXITS:.0%} of the blocks) for {share:.0%} of the FLOPs"
        for policy, point, share in zip(policies, points, cost)
    )
    numbers = f"Validation and test, against {full.bleu:.2f} BLEU at full depth: {each}."
    return Answer(REPRODUCED if saves and dear else NOT_REPRODUCED, numbers)


def ends_leave_early(measurements: Measurements) -> Optional[Answer]:
    """Figure 8: the first and the last tenth of sentences against all of their tokens."""
    verdicts, parts = [], []
    for label, rows in _decodings(measurements, "tenth").items():
        exits = {int(row["value"]): float(row["mean_exit"]) for row in rows}
        average = _weighted(rows, "mean_exit")
        if 1 not in exits or max(exits) == 1:
            continue
        first, last = exits[1], exits[max(exits)]
        constant = max(exits.values()) - min(exits.values()) < EXIT_MARGIN
        verdicts.append(None if constant else all_exceed([first - average, average - last], EXIT_MARGIN))
        parts.append(f"{label} {first:.2f}, {average:.2f}, {last:.2f}")
    what = "Mean exit of the first tenth of a sentence, of all of it, of the last"
    return _of_positions(what, verdicts, parts, measurements)


def low_exits_are_sure(measurements: Measurements) -> Optional[Answer]:
    """Figure 9: what tokens that left in the lower half gave as their probability, against the upper half."""
    verdicts, parts = [], []
    for label, rows in _decodings(measurements, "exit").items():
        low = [row for row in rows if int(row["value"]) <= HALF]
        high = [row for row in rows if int(row["value"]) > HALF]
        if not low or not high:
            continue
        means = [_weighted(part, "mean_probability") for part in (low, high)]
        verdicts.append(all_exceed([means[0] - means[1]], PROBABILITY_MARGIN))
        parts.append(f"{label} {means[0]:.2f} and {means[1]:.2f}")
    what = f"Mean probability of what was chosen at exits 1 to {HALF:g} and above"
    return _of_positions(what, verdicts, parts, measurements)


def _of_positions(what: str, verdicts: list, parts: List[str], measurements: Measurements) -> Optional[Answer]:
    wanted = {
        (training.name, subset, policy)
        for training in measurements.grid.trainings
        for policy in training.exit_positions
        for subset in training.subsets
    }
    there = {(row["training"], row["subset"], row["policy"]) for row in measurements.positions}
    if not wanted or wanted - there:
        return None
    if not parts:
        return Answer(CANNOT_BE_JUDGED, "All tokens leave at the same exits.")
    return Answer(together(verdicts), f"{what}: {'; '.join(parts)}.")


def _decodings(measurements: Measurements, kind: str) -> Dict[str, List[Dict[str, str]]]:
    """The rows of one kind in exit_positions.csv, of both subsets, by training and policy."""
    found: Dict[str, List[Dict[str, str]]] = {}
    for row in measurements.positions:
        if row["by"] == kind:
            found.setdefault(f"`{row['training']}` with `{row['policy']}`", []).append(row)
    return {label: _pooled(rows) for label, rows in found.items()}


def _pooled(rows: Sequence[Dict[str, str]]) -> List[Dict[str, str]]:
    """One row for each value."""
    pooled = []
    for value in sorted({int(row["value"]) for row in rows}):
        same = [row for row in rows if int(row["value"]) == value]
        tokens = sum(int(row["tokens"]) for row in same)
        means = {column: _weighted(same, column) for column in ("mean_exit", "mean_probability")}
        pooled.append({"value": value, "tokens": tokens, **means})
    return pooled


def _weighted(rows: Sequence[Dict[str, str]], column: str) -> float:
    tokens = [int(row["tokens"]) for row in rows]
    return mean([float(row[column]) * count for row, count in zip(rows, tokens)]) / mean(tokens)


EXIT_FINDINGS: Dict[str, Check] = {
    "Adaptive exits with half the blocks or fewer are as good as the deepest baseline (headline)": match_the_baseline,
    "Adaptive exits with half the blocks or fewer are as good as the aligned model's best fixed exit": match_the_best_exit,
    "Geometric-like beats multinomial, correctness oracle": better("Tok-C geometric", "Tok-C multinomial"),
    "Geometric-like beats multinomial, likelihood oracle": better("Tok-LL geometric", "Tok-LL multinomial"),
    "Correctness is the better oracle for geometric-like": better("Tok-C geometric", "Tok-LL geometric"),
    "Likelihood is the better sequence oracle": better("Seq-LL", "Seq-C"),
    "A larger lambda gives lower exits (Fig. 4a)": penalty_lowers_exits,
    "A wider kernel gives higher exits (Fig. 4b)": kernel_raises_exits,
    "Confidence thresholding saves layers, but costs more FLOPs than its average exit says": confidence_is_dear,
    "Sentence beginnings leave late, sentence ends early (Fig. 8)": ends_leave_early,
    "Low exits go with high confidence (Fig. 9)": low_exits_are_sure,
}
