"""From what a user asked for (``--exit-policy`` and its options) to an exit policy, or to a clear refusal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.generation.exit_policies import ExitPolicy, FixedExit, FullDepth, UniformExit
from depth_adaptive_fairseq.generation.halting_policies import GeometricExit, MultinomialExit, SequenceExit
from depth_adaptive_fairseq.generation.statistic_policies import (
    ConfidenceExit,
    EntropyExit,
    MarginExit,
    PatienceExit,
    SaturationExit,
)


@dataclass
class ExitOptions:
    """The task's options for choosing exits, as a user wrote them: each is the option ``--exit-<name>``."""

    policy: str = "auto"
    at: Optional[object] = None
    thresholds: object = "0.5"
    entropy: Optional[object] = None
    margin: Optional[object] = None
    saturation: Optional[object] = None
    patience: Optional[object] = None
    seed: object = 1

    @classmethod
    def read(cls, *sources) -> "ExitOptions":
        """Take each option from the first of *sources* (namespaces, configurations) that sets it.

        Raises:
            DepthAdaptiveError: a source sets an option ``exit_...`` that does not exist: keyword arguments of the hub
                interface come this way, and fairseq checks none of them.
        """
        options = cls()
        known = {f"exit_{name}" for name in vars(options)} | {"exit_log"}
        for source in sources:
            given = source.keys() if hasattr(source, "keys") else vars(source)
            unknown = sorted(name for name in given if str(name).startswith("exit_") and name not in known)
            if unknown:
                raise DepthAdaptiveError(
                    f"{unknown[0]} was given, which is not an option; the options are {', '.join(sorted(known))}."
                )
        for name in vars(options):
            values = (getattr(source, f"exit_{name}", None) for source in sources)
            value = next((value for value in values if value is not None), getattr(options, name))
            setattr(options, name, value)
        options.policy = str(options.policy)
        return options


def build_exit_policy(options: ExitOptions, num_exits: int, halting: Sequence = ()) -> ExitPolicy:
    """Build the policy that *options* ask for.

    Args:
        num_exits: N of the models.
        halting: the halting classifier of each ensemble member, None where it has none.

    Raises:
        DepthAdaptiveError: an unknown policy, an option that is missing, malformed or out of range, or a policy that
            a model has no classifier for.
    """
    if options.policy not in _BUILDERS:
        raise DepthAdaptiveError(
            f"--exit-policy {options.policy} was given; the policies are {', '.join(EXIT_POLICIES)}: choose one of them."
        )
    return _BUILDERS[options.policy](options, num_exits, list(halting))


def parse_thresholds(given: object, num_exits: int) -> List[float]:
    """tau_1 .. tau_{N-1} from ``--exit-thresholds``: one number for all exits, or one for each but the last.

    Raises:
        DepthAdaptiveError: not numbers, the wrong number of them, or one outside 0..1.
    """
    if isinstance(given, str):
        parts = given.split(",")
    else:
        parts = given if isinstance(given, Sequence) else [given]
    allowed = f"one number from 0 to 1, or {num_exits - 1} of them with commas, one for each exit but the last"
    try:
        thresholds = [float(part) for part in parts]
    except (TypeError, ValueError):
        raise DepthAdaptiveError(
            f"--exit-thresholds {given} was given, which is not a list of numbers: give {allowed}."
        ) from None
    for threshold in thresholds:
        if not 0.0 <= threshold <= 1.0:
            raise DepthAdaptiveError(
                f"--exit-thresholds {given} was given, and {threshold} is outside 0 to 1: give {allowed}."
            )
    if len(thresholds) == 1:
        return thresholds * (num_exits - 1)
    if len(thresholds) != num_exits - 1:
        raise DepthAdaptiveError(
            f"--exit-thresholds {given} was given, which is {len(thresholds)} numbers; the model has {num_exits} exits: "
            f"give {allowed}."
        )
    return thresholds


def _number(options: ExitOptions, name: str, kind: type, low: float, high: float, allowed: str):
    """The value of ``--exit-<name>``, which the policy needs."""
    given = getattr(options, name)
    if given is None:
        raise DepthAdaptiveError(f"--exit-policy {options.policy} was given without --exit-{name}: give it {allowed}.")
    try:
        value = kind(str(given))
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise DepthAdaptiveError(f"--exit-{name} {given} was given; it must be {allowed}.")
    return value


def _fixed(options: ExitOptions, num_exits: int, halting: list) -> ExitPolicy:
    return FixedExit(_number(options, "at", int, 1, num_exits, f"a whole number from 1 to {num_exits}, the model's exits"))


def _uniform(options: ExitOptions, num_exits: int, halting: list) -> ExitPolicy:
    return UniformExit(num_exits, _number(options, "seed", int, -(2**63), 2**63 - 1, "a whole number"))


def _entropy(options: ExitOptions, num_exits: int, halting: list) -> ExitPolicy:
    return EntropyExit(_number(options, "entropy", float, 0, float("inf"), "a number of nats, 0 or more"))


def _margin(options: ExitOptions, num_exits: int, halting: list) -> ExitPolicy:
    return MarginExit(_number(options, "margin", float, 0, 1, "a number from 0 to 1"))


def _saturation(options: ExitOptions, num_exits: int, halting: list) -> ExitPolicy:
    return SaturationExit(_number(options, "saturation", float, -1, 1, "a cosine, a number from -1 to 1"))


def _patience(options: ExitOptions, num_exits: int, halting: list) -> ExitPolicy:
    return PatienceExit(_number(options, "patience", int, 1, 2**63 - 1, "a whole number of exits, from 1 to 2^63 - 1"))


def _require_halting(kind: str, halting: list) -> list:
    for classifier in halting:
        found = "none" if classifier is None else classifier.kind
        if found != kind:
            raise DepthAdaptiveError(
                f"--exit-policy {kind} was given, and a model was trained with --halting {found}: give --exit-policy auto or "
                f"another policy, or train with --halting {kind}."
            )
    return halting


def _auto(options: ExitOptions, num_exits: int, halting: list) -> ExitPolicy:
    kinds = {classifier.kind for classifier in halting if classifier is not None}
    if not kinds:
        return FullDepth(num_exits)
    # Members with different classifiers, or with and without one, are refused by the first kind's builder.
    return _BUILDERS[sorted(kinds)[0]](options, num_exits, halting)


_BUILDERS: Dict[str, Callable[[ExitOptions, int, list], ExitPolicy]] = {
    "auto": _auto,
    "full": lambda options, num_exits, halting: FullDepth(num_exits),
    "fixed": _fixed,
    "uniform": _uniform,
    "confidence": lambda options, num_exits, halting: ConfidenceExit(parse_thresholds(options.thresholds, num_exits)),
    "sequence": lambda options, num_exits, halting: SequenceExit(_require_halting("sequence", halting)),
    "multinomial": lambda options, num_exits, halting: MultinomialExit(_require_halting("multinomial", halting)),
    "geometric": lambda options, num_exits, halting: GeometricExit(
        _require_halting("geometric", halting), parse_thresholds(options.thresholds, num_exits)
    ),
    "entropy": _entropy,
    "margin": _margin,
    "saturation": _saturation,
    "patience": _patience,
}

EXIT_POLICIES = tuple(_BUILDERS)
