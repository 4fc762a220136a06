"""From what a user asked for (``--exit-policy`` and its options) to an exit policy, or to a clear refusal."""

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.generation.exit_policies import (
    ConfidenceExit,
    ExitPolicy,
    FixedExit,
    FullDepth,
    UniformExit,
)


@dataclass
class ExitOptions:
    """The values of the task's options for choosing exits, as a user wrote them.

    Attributes:
        policy: ``--exit-policy``.
        at: ``--exit-at``.
        thresholds: ``--exit-thresholds``: text, a number or a list of numbers.
        seed: ``--exit-seed``.
    """

    policy: str = "auto"
    at: Optional[int] = None
    thresholds: object = "0.5"
    seed: int = 1

    @classmethod
    def read(cls, *sources) -> "ExitOptions":
        """Take each option from the first of *sources* (namespaces, configurations) that sets it."""
        values = {}
        for name, option in (("policy", "exit_policy"), ("at", "exit_at"), ("thresholds", "exit_thresholds"), ("seed", "exit_seed")):
            for source in sources:
                value = getattr(source, option, None)
                if value is not None:
                    values[name] = value
                    break
        options = cls(**values)
        options.policy = str(options.policy)
        return options


def build_exit_policy(options: ExitOptions, num_exits: int) -> ExitPolicy:
    """Build the policy that *options* ask for, for models with *num_exits* exits.

    Raises:
        DepthAdaptiveError: an unknown policy, or an option that is missing, malformed or out of range.
    """
    if options.policy not in _BUILDERS:
        raise DepthAdaptiveError(
            f"--exit-policy {options.policy} was given; the policies are {', '.join(EXIT_POLICIES)}: choose one of them."
        )
    return _BUILDERS[options.policy](options, num_exits)


def parse_thresholds(given: object, num_exits: int) -> List[float]:
    """tau_1 .. tau_{N-1} from ``--exit-thresholds``: one number for all exits, or one for each but the last.

    Raises:
        DepthAdaptiveError: not numbers, the wrong number of them, or one outside 0..1.
    """
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, (list, tuple)) else [given]
    allowed = f"one number from 0 to 1, or {num_exits - 1} of them with commas, one for each exit but the last"
    try:
        thresholds = [float(part) for part in parts]
    except (TypeError, ValueError):
        raise DepthAdaptiveError(f"--exit-thresholds {given} was given, which is not a list of numbers: give {allowed}.") from None
    if len(thresholds) == 1:
        thresholds = thresholds * (num_exits - 1)
    if len(thresholds) != num_exits - 1:
        raise DepthAdaptiveError(
            f"--exit-thresholds {given} was given, which is {len(thresholds)} numbers; the model has {num_exits} exits: give {allowed}."
        )
    for threshold in thresholds:
        if not 0.0 <= threshold <= 1.0:
            raise DepthAdaptiveError(f"--exit-thresholds {given} was given, and {threshold} is outside 0 to 1: give {allowed}.")
    return thresholds


def _fixed(options: ExitOptions, num_exits: int) -> ExitPolicy:
    if options.at is None:
        raise DepthAdaptiveError(
            f"--exit-policy fixed was given without --exit-at: give --exit-at with a number from 1 to {num_exits}, the model's exits."
        )
    try:
        exit_index = int(str(options.at))
    except ValueError:
        exit_index = 0
    if not 1 <= exit_index <= num_exits:
        raise DepthAdaptiveError(
            f"--exit-at {options.at} was given; the model's exits are 1 to {num_exits}: give one of them."
        )
    return FixedExit(exit_index)


_BUILDERS: Dict[str, Callable[[ExitOptions, int], ExitPolicy]] = {
    "auto": lambda options, num_exits: FullDepth(num_exits),
    "full": lambda options, num_exits: FullDepth(num_exits),
    "fixed": _fixed,
    "uniform": lambda options, num_exits: UniformExit(num_exits, int(options.seed)),
    "confidence": lambda options, num_exits: ConfidenceExit(parse_thresholds(options.thresholds, num_exits)),
}

EXIT_POLICIES = tuple(_BUILDERS)
