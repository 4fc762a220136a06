"""From what a user asked for (``--exit-policy`` and its options) to an exit rule, or to a clear refusal."""

from collections.abc import Sequence
from typing import Any, Dict, List

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.exits.policy import ExitRule, Option, Policy
from depth_adaptive_fairseq.exits.registry import EXIT_POLICIES, OPTIONS, POLICIES

_OTHER_OPTIONS = {"exit_policy", "exit_log"}


def read_exit_options(*sources) -> Dict[str, Any]:
    """``exit_policy`` and each of :data:`OPTIONS`, as ``exit_<name>``, from the first of *sources* that sets it.

    Args:
        sources: namespaces and configurations.

    Raises:
        DepthAdaptiveError: a source sets an option ``exit_...`` that does not exist: keyword arguments of the hub
            interface come this way, and fairseq checks none of them.
    """
    defaults = {"exit_policy": "auto", **{f"exit_{name}": option.default for name, option in OPTIONS.items()}}
    known = _OTHER_OPTIONS.union(defaults)
    for source in sources:
        given = source.keys() if hasattr(source, "keys") else vars(source)
        unknown = sorted(name for name in given if str(name).startswith("exit_") and name not in known)
        if unknown:
            raise DepthAdaptiveError(f"{unknown[0]} was given, which is not an option; the options are {', '.join(sorted(known))}.")
    options = {}
    for name, default in defaults.items():
        values = (getattr(source, name, None) for source in sources)
        options[name] = next((value for value in values if value is not None), default)
    options["exit_policy"] = str(options["exit_policy"])
    return options


def read_specification(specification: str) -> Dict[str, str]:
    """The options that ``policy`` or ``policy:value`` stands for (``fixed:3``, ``uniform:7``, ``confidence:0.9``).

    Raises:
        DepthAdaptiveError: no policy, or a value for one that takes none.
    """
    name, _, value = specification.partition(":")
    if name not in EXIT_POLICIES:
        raise DepthAdaptiveError(f"'{specification}' was given; the policies are {', '.join(EXIT_POLICIES)}: choose one of them.")
    if not value:
        return {"exit_policy": name}
    option = POLICIES[name].option if name in POLICIES else None
    if option is None:
        with_value = ", ".join(f"{each.name}:..." for each in POLICIES.values() if each.option is not None)
        raise DepthAdaptiveError(f"'{specification}' was given; {name} takes no value: give '{name}', or one of {with_value}.")
    return {"exit_policy": name, f"exit_{option.name}": value}


def build_exit_rule(options: Dict[str, Any], num_exits: int, halting: Sequence = ()) -> ExitRule:
    """Build the rule that *options* ask for.

    Args:
        options: as :func:`read_exit_options` gives them.
        num_exits: N of the models.
        halting: the halting classifier of each ensemble member, None where it has none.

    Raises:
        DepthAdaptiveError: an unknown policy, an option that is missing, malformed or out of range, or a policy that
            a model has no classifier for.
    """
    name = options["exit_policy"]
    if name not in EXIT_POLICIES:
        raise DepthAdaptiveError(f"--exit-policy {name} was given; the policies are {', '.join(EXIT_POLICIES)}: choose one of them.")
    if name == "auto":
        # Members with different classifiers, or with and without one, are refused below.
        name = min((classifier.kind for classifier in halting if classifier is not None), default="full")
    policy = POLICIES[name]
    for classifier in halting if policy.halting else ():
        found = "none" if classifier is None else classifier.kind
        if found != policy.halting:
            raise DepthAdaptiveError(
                f"--exit-policy {name} was given, and a model was trained with --halting {found}: give --exit-policy auto or "
                f"another policy, or train with --halting {policy.halting}."
            )
    value = None if policy.option is None else read_value(policy, options[f"exit_{policy.option.name}"], num_exits)
    return ExitRule(policy, num_exits, value, tuple(halting) if policy.halting else ())


def read_value(policy: Policy, given: Any, num_exits: int) -> Any:
    """The value of *policy*'s option, as *given* by a user.

    Raises:
        DepthAdaptiveError: none, or one that is malformed or out of range.
    """
    option = policy.option
    if option.kind is str:
        return read_thresholds(given, num_exits, option)
    allowed = option.allowed.format(num_exits=num_exits)
    if given is None:
        raise DepthAdaptiveError(f"--exit-policy {policy.name} was given without --exit-{option.name}: give it {allowed}.")
    try:
        value = option.kind(str(given))
    except ValueError:
        value = float("nan")
    if not option.low <= value <= (num_exits if option.high is None else option.high):
        raise DepthAdaptiveError(f"--exit-{option.name} {given} was given; it must be {allowed}.")
    return value


def read_thresholds(given: Any, num_exits: int, option: Option = OPTIONS["thresholds"]) -> List[float]:
    """tau_1 .. tau_{N-1} from ``--exit-thresholds``: one number for all exits, or one for each but the last.

    Raises:
        DepthAdaptiveError: not numbers, the wrong number of them, or one out of range.
    """
    if isinstance(given, str):
        parts = given.split(",")
    else:
        parts = given if isinstance(given, Sequence) else [given]
    flag, low, high = f"--exit-{option.name} {given}", option.low, option.high
    allowed = f"one number from {low} to {high}, or {num_exits - 1} of them with commas, one for each exit but the last"
    try:
        thresholds = [float(part) for part in parts]
    except (TypeError, ValueError):
        raise DepthAdaptiveError(f"{flag} was given, which is not a list of numbers: give {allowed}.") from None
    for threshold in thresholds:
        if not low <= threshold <= high:
            raise DepthAdaptiveError(f"{flag} was given, and {threshold} is outside {low} to {high}: give {allowed}.")
    if len(thresholds) == 1:
        return thresholds * (num_exits - 1)
    if len(thresholds) != num_exits - 1:
        raise DepthAdaptiveError(
            f"{flag} was given, which is {len(thresholds)} numbers; the model has {num_exits} exits: give {allowed}."
        )
    return thresholds
