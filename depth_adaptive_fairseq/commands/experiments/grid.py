"""A grid of trainings, read from a recipe's ``grid.yaml``."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import yaml

SUBSETS = ("valid", "test")
ENTRY_KEYS = {"name", "table", "from", "for", "options", "subsets", "policies", "exit-positions"}
GRID_KEYS = {"description", "options", "decoding", "trainings"}


class GridError(ValueError):
    """A grid that cannot be run, with a sentence that says why."""


@dataclass(frozen=True)
class Training:
    """One training and what is decoded with it.

    Attributes:
        name: unique; of the checkpoint folder and of the rows of results.
        table: which table of RESULTS.md shows it.
        options: of fairseq-train, without dashes; true stands for a flag that is given.
        start: the training whose checkpoint this one continues, or None.
        policies: as depth-adaptive evaluate takes them.
        subsets: validation, test or both.
        varied: the values that ``for`` gave this entry, by option.
        decoding: options of fairseq-generate, the same for the whole grid.
        exit_positions: those of the policies whose exits by position are kept (see exit_positions.py).
    """

    name: str
    table: str
    options: Dict[str, Any]
    start: Optional["Training"]
    policies: Sequence[str]
    subsets: Sequence[str]
    varied: Dict[str, Any] = field(default_factory=dict)
    decoding: Dict[str, Any] = field(default_factory=dict)
    exit_positions: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        """Changes with any option that can change the weights, here or in the training this one starts from."""
        start = self.start.fingerprint if self.start else None
        settings = json.dumps([sorted((name, str(value)) for name, value in self.options.items()), start])
        return hashlib.sha256(settings.encode()).hexdigest()[:16]

    def arguments(self) -> List[str]:
        """The options as fairseq-train's command line has them."""
        return _words(self.options)

    def decoding_arguments(self) -> List[str]:
        """The options of decoding as fairseq-generate's command line has them, sorted, since they are compared."""
        return _words(dict(sorted(self.decoding.items())))


@dataclass(frozen=True)
class Grid:
    """What a ``grid.yaml`` says: trainings in their order."""

    description: str
    trainings: Sequence[Training]


def load_grid(path: Path) -> Grid:
    """Read *path*.

    Raises:
        GridError: an unknown key, a name twice, or a start that does not come before.
        FileNotFoundError: no such file.
    """
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    _check_keys(given, GRID_KEYS, required=GRID_KEYS, where=str(path))
    trainings: Dict[str, Training] = {}
    for entry in given["trainings"]:
        _check_keys(entry, ENTRY_KEYS, required={"name", "table", "policies"}, where=f"training {entry.get('name')} of {path}")
        for training in _expand(entry, given, trainings):
            if training.name in trainings:
                raise GridError(f"two trainings of {path} are named '{training.name}'; give each a name of its own")
            trainings[training.name] = training
    return Grid(given["description"].strip(), list(trainings.values()))


def _words(options: Dict[str, Any]) -> List[str]:
    words: List[str] = []
    for name, value in options.items():
        if value is False:
            continue
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def _expand(entry: Dict[str, Any], given: Dict[str, Any], known: Dict[str, Training]) -> List[Training]:
    """The trainings of one entry: one, or one for each value of ``for``."""
    start = entry.get("from")
    if start is not None and start not in known:
        raise GridError(f"'{entry['name']}' starts from '{start}'; trainings before it are: {', '.join(known) or 'none'}")
    subsets = entry.get("subsets", SUBSETS)
    if set(subsets) - set(SUBSETS):
        raise GridError(f"'{entry['name']}' has the subsets {list(subsets)}; allowed are {', '.join(SUBSETS)}")
    exit_positions = entry.get("exit-positions", [])
    if set(exit_positions) - set(entry["policies"]):
        known_policies = ", ".join(entry["policies"])
        raise GridError(f"'{entry['name']}' keeps exits of {list(exit_positions)}; its policies are {known_policies}")
    if len(entry.get("for", {})) > 1:
        raise GridError(f"'{entry['name']}' varies {list(entry['for'])}; `for` takes one option")
    variations = [{option: value} for option, values in entry.get("for", {}).items() for value in values] or [{}]
    return [
        Training(
            name=entry["name"].format(*varied.values()),
            table=entry["table"],
            options={**given["options"], **entry.get("options", {}), **varied},
            start=known[start] if start else None,
            policies=list(entry["policies"]),
            subsets=list(subsets),
            varied=varied,
            decoding=given["decoding"],
            exit_positions=list(exit_positions),
        )
        for varied in variations
    ]


def _check_keys(given: Any, allowed: set, required: set, where: str) -> None:
    if not isinstance(given, dict):
        raise GridError(f"{where} is not a mapping; it takes {', '.join(sorted(allowed))}")
    unknown, missing = set(given) - allowed, required - set(given)
    if unknown or missing:
        problem = f"has {', '.join(sorted(unknown))}" if unknown else f"lacks {', '.join(sorted(missing))}"
        raise GridError(f"{where} {problem}; it takes {', '.join(sorted(allowed))}")
