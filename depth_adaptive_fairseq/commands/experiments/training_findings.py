"""The paper's findings about training the exits: Tables 1 to 3."""

from typing import Dict, List, Optional, Sequence

from .measurements import ALIGNED, BASELINES, EXIT_POLICIES, NUM_EXITS, Measurements, mean
from .verdicts import Answer, Check, all_exceed, no_worse

MIXED = {paths: f"mixed-{paths}" for paths in (1, 3, 6)}


def exit_bleu(measurements: Measurements, names: Sequence[str]) -> Optional[Dict[str, List[float]]]:
    """BLEU at exits 1 .. N of each training, as a mean over the subsets they share; None unless all is measured."""
    subsets = measurements.common_subsets(names)
    points = {name: [measurements.pooled(name, subsets, policy) for policy in EXIT_POLICIES] for name in names}
    if not names or any(None in of_training for of_training in points.values()):
        return None
    return {name: [point.bleu for point in of_training] for name, of_training in points.items()}


def subsets_in_words(measurements: Measurements, names: Sequence[str]) -> str:
    """"validation", "test", or both, as pooled for *names*."""
    words = {"valid": "validation", "test": "test"}
    return " and ".join(words[subset] for subset in measurements.common_subsets(names))


def aligned_matches_baselines(measurements: Measurements) -> Optional[Answer]:
    """Table 1: one aligned model against six models."""
    aligned = exit_bleu(measurements, [ALIGNED])
    subsets = measurements.common_subsets([ALIGNED, *BASELINES])
    baselines = [measurements.pooled(name, subsets, "stock") for name in BASELINES]
    if aligned is None or None in baselines:
        return None
    own, theirs = aligned[ALIGNED], [point.bleu for point in baselines]
    where = subsets_in_words(measurements, [ALIGNED, *BASELINES])
    numbers = (
        f"Mean over depths, {where}: {mean(own):.2f} against {mean(theirs):.2f} of six separate models; "
        f"at full depth {own[-1]:.2f} against {theirs[-1]:.2f}."
    )
    return Answer(no_worse(mean(own) - mean(theirs)), numbers)


def aligned_beats_mixed(measurements: Measurements) -> Optional[Answer]:
    """Table 1: mean over exits."""
    bleu = exit_bleu(measurements, [ALIGNED, *MIXED.values()])
    if bleu is None:
        return None
    aligned, mixed = mean(bleu[ALIGNED]), {paths: mean(bleu[name]) for paths, name in MIXED.items()}
    where = subsets_in_words(measurements, [ALIGNED, *MIXED.values()])
    numbers = f"Mean over exits, {where}: aligned {aligned:.2f}; mixed " + _by_paths(mixed)
    return Answer(all_exceed([aligned - max(mixed.values())]), numbers)


def more_paths_are_better(measurements: Measurements) -> Optional[Answer]:
    """Table 1: M = 1, 3, 6."""
    bleu = exit_bleu(measurements, list(MIXED.values()))
    if bleu is None:
        return None
    means = [mean(bleu[name]) for name in MIXED.values()]
    where = subsets_in_words(measurements, list(MIXED.values()))
    steps = [later - earlier for earlier, later in zip(means, means[1:])]
    return Answer(all_exceed(steps), f"Mean over exits, {where}: {_by_paths(dict(zip(MIXED, means)))}")


def _by_paths(means: Dict[int, float]) -> str:
    return ", ".join(f"{value:.2f} (M={paths})" for paths, value in means.items()) + "."


def weights_move_quality(measurements: Measurements) -> Optional[Answer]:
    """Table 2: w_n = n, 1 and 1/n at the first and the last exit."""
    names = ["weights-linear", ALIGNED, "weights-inverse"]
    bleu = exit_bleu(measurements, names)
    if bleu is None:
        return None
    linear, aligned, inverse = (bleu[name] for name in names)
    low = [aligned[0] - linear[0], inverse[0] - aligned[0]]
    high = [linear[-1] - aligned[-1], aligned[-1] - inverse[-1]]
    first, last = ("/".join(f"{each[n]:.2f}" for each in (linear, aligned, inverse)) for n in (0, -1))
    where = subsets_in_words(measurements, names)
    return Answer(all_exceed(low + high), f"w_n = n, 1, 1/n give {first} at exit 1 and {last} at exit {NUM_EXITS}, {where}.")


def scaling_favours_low_exits(measurements: Measurements) -> Optional[Answer]:
    """Table 3: the first and the last exit, as a mean over the values of gamma, which differ little in the paper."""
    scaled = [training.name for training in measurements.grid.trainings if training.table == "scaling"]
    bleu = exit_bleu(measurements, [ALIGNED, *scaled]) if scaled else None
    if bleu is None:
        return None
    low, high = (mean([bleu[name][n] for name in scaled]) for n in (0, -1))
    aligned = bleu[ALIGNED]
    each = ", ".join(f"{bleu[name][0]:.2f} and {bleu[name][-1]:.2f} ({name})" for name in scaled)
    where = subsets_in_words(measurements, [ALIGNED, *scaled])
    numbers = (
        f"Exit 1 and exit {NUM_EXITS}, {where}: without scaling {aligned[0]:.2f} and {aligned[-1]:.2f}; "
        f"with it {low:.2f} and {high:.2f} as a mean of {each}."
    )
    return Answer(all_exceed([low - aligned[0], aligned[-1] - high]), numbers)


TRAINING_FINDINGS: Dict[str, Check] = {
    "One model with aligned exits is as good as separate models of each depth (Table 1)": aligned_matches_baselines,
    "Aligned training beats mixed training (Table 1)": aligned_beats_mixed,
    "More sampled paths make mixed training better (Table 1)": more_paths_are_better,
    "Weights that favour low exits make them better, at the cost of high ones (Table 2)": weights_move_quality,
    "Gradient scaling makes low exits better, at the cost of high ones (Table 3)": scaling_favours_low_exits,
}
