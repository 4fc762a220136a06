"""The template of a data set: which keys there are, what they may hold, and where templates are found."""

import re
import reprlib
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from .errors import PreparationError

PACKAGE = Path(__file__).resolve().parents[2]
# A clone has them beside the package, an installation in it.
TEMPLATES = (PACKAGE.parent if (PACKAGE.parent / "data-bin-templates").is_dir() else PACKAGE) / "data-bin-templates"
TEMPLATE_FILE = "template.yaml"
# fairseq numbers further validation and test sets this way
SPLIT_NAME = re.compile(r"train|(valid|test)([1-9][0-9]{0,3})?")
MOST = 10**9  # lines and tokens: more than any corpus has, and a number that every tool takes


@dataclass(frozen=True)
class Languages:
    source: str
    target: str

    def check(self, where: str) -> None:
        for key in ("source", "target"):
            code = getattr(self, key)
            if not re.fullmatch(r"[A-Za-z]{2,3}([_-][A-Za-z0-9]+)*", code):
                raise PreparationError(f"{where}.{key} is {code!r}; a language code such as 'de' is needed.")
        if self.source == self.target:
            raise PreparationError(f"{where}: source and target are both {self.source!r}; two languages are needed.")

    @property
    def pair(self) -> tuple[str, str]:
        return self.source, self.target


@dataclass(frozen=True)
class Tokenization:
    """How text becomes tokens: in this order, and the same for both languages and all splits."""

    normalize_punctuation: bool = True  # Moses' normalize-punctuation: quotes, dashes, spaces around punctuation
    tokenizer: str = "moses"  # 'none' only splits at white space
    aggressive_dash_splits: bool = True  # 'well-kept' -> 'well @-@ kept', as fairseq's `--tokenizer moses` does
    escape: bool = True  # ' -> &apos; and so on, which fairseq's `--tokenizer moses` undoes
    lowercase: bool = False

    def check(self, where: str) -> None:
        one_of(where, "tokenizer", self.tokenizer, ("moses", "none"))


@dataclass(frozen=True)
class Cut:
    """What is left out of the training data (never of the others), counted in tokens before BPE."""

    lines: int | None = None  # only the first so many pairs of the raw training data
    min_tokens: int = 1
    max_tokens: int = 250
    max_ratio: float | None = None  # longer side / shorter side

    def check(self, where: str) -> None:
        within(where, "lines", self.lines, 1, MOST)
        within(where, "min_tokens", self.min_tokens, 1, MOST)
        within(where, "max_tokens", self.max_tokens, self.min_tokens, MOST)
        within(where, "max_ratio", self.max_ratio, 1, MOST)


@dataclass(frozen=True)
class Bpe:
    """A sentencepiece BPE model, learned on the training data of both languages together."""

    vocabulary_size: int

    def check(self, where: str) -> None:
        within(where, "vocabulary_size", self.vocabulary_size, 10, 10**7)


@dataclass(frozen=True)
class Binarization:
    joined_dictionary: bool = True  # one dictionary for both languages, needed to share embeddings
    threshold: int = 0  # pieces seen fewer times in the training data become unknown

    def check(self, where: str) -> None:
        within(where, "threshold", self.threshold, 0, MOST)


@dataclass(frozen=True)
class Template:
    """One data set. `source` is left to the kind of source that it names (see `sources`)."""

    name: str
    languages: Languages
    source: dict
    bpe: Bpe
    tokenize: Tokenization = Tokenization()
    cut: Cut = Cut()
    binarize: Binarization = Binarization()
    description: str = ""
    origin: str = ""
    licence: str = ""
    citation: str = ""

    def check(self, where: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise PreparationError(
                f"{where}.name is {self.name!r}; letters, digits, '.', '-' and '_' are allowed, as it names a folder."
            )

    def as_dict(self) -> dict:
        return asdict(self)


def within(where: str, key: str, value: float | None, least: float, most: float) -> None:
    """Raises PreparationError unless `value` is one of the numbers from `least` to `most`, or None."""
    if value is not None and not least <= value <= most:  # not a number is within nothing
        raise PreparationError(f"{where}.{key} is {shown(value)}; it must be at least {least} and at most {most}.")


def shown(value: Any) -> str:
    """`value` in a message, where a long one would hide the rest."""
    return reprlib.repr(value)


def one_of(where: str, key: str, value: Any, allowed: tuple) -> None:
    if value not in allowed:
        raise PreparationError(f"{where}.{key} is {shown(value)}; allowed are {', '.join(map(str, allowed))}.")


def check_keys(where: str, mapping: Any, allowed: list[str], required: list[str]) -> None:
    """Raises PreparationError unless `mapping` is a mapping with all required keys and no others than the allowed ones."""
    if not isinstance(mapping, dict):
        raise PreparationError(f"{where} must be a mapping with the keys {', '.join(allowed)}, not {shown(mapping)}.")
    unknown = [str(key) for key in mapping if key not in allowed]
    if unknown:
        raise PreparationError(
            f"{where} has the unknown key {', '.join(unknown)}; valid keys are {', '.join(allowed)}."
        )
    missing = [key for key in required if key not in mapping]
    if missing:
        raise PreparationError(f"{where} lacks the key {', '.join(missing)}.")


def _value(where: str, key: str, kind: Any, value: Any) -> Any:
    """`value` if it is of the type that the field asks for; YAML's integers pass for floats."""
    if isinstance(kind, type) and hasattr(kind, "check"):
        return from_mapping(kind, value, f"{where}.{key}")
    optional = kind in (int | None, float | None)
    if optional and value is None:
        return None
    expected, name = {
        int: (int, "a whole number"),
        int | None: (int, "a whole number"),
        float | None: ((int, float), "a number"),
        bool: (bool, "true or false"),
        str: (str, "text"),
        dict: (dict, "a mapping"),
    }[kind]
    # bool is an int in Python, not in a template
    if not isinstance(value, expected) or (isinstance(value, bool) and kind is not bool):
        raise PreparationError(f"{where}.{key} is {shown(value)}; {name} is needed{', or null' if optional else ''}.")
    return value


def from_mapping(cls: type, mapping: Any, where: str) -> Any:
    """Builds the dataclass `cls` from a mapping of the template; `where` names the place in messages."""
    known = {field.name: field for field in fields(cls)}
    required = [name for name, field in known.items() if field.default is MISSING]
    check_keys(where, mapping, list(known), required)
    result = cls(**{key: _value(where, key, known[key].type, value) for key, value in mapping.items()})
    result.check(where)
    return result


def available_templates() -> list[str]:
    return sorted(path.parent.name for path in TEMPLATES.glob(f"*/{TEMPLATE_FILE}"))


def find_template(given: str) -> Path:
    """The YAML file meant by a data set's name, a folder or a path."""
    path = Path(given)
    for candidate in (path, path / TEMPLATE_FILE, TEMPLATES / given / TEMPLATE_FILE):
        if candidate.is_file():
            return candidate
    raise PreparationError(
        f"There is no template {given!r}: it is neither a YAML file, nor a folder with a {TEMPLATE_FILE}, "
        f"nor one of the available templates: {', '.join(available_templates()) or 'none'}."
    )


class _Loader(yaml.SafeLoader):
    """Without aliases: a template has no use for them, and a few lines of them stand for more than fits into memory."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name); write out what it stands for")
        return super().compose_node(parent, index)


def load_template(path: Path) -> Template:
    try:
        content = _Loader(path.read_text(encoding="utf-8")).get_single_data()
        check_writable(content)
    except RecursionError:
        raise PreparationError(f"{path} is not a valid YAML file: it is nested too deeply.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PreparationError(f"{path} is not a valid YAML file: {error}") from None
    return from_mapping(Template, content, path.name)


def check_writable(content: Any) -> None:
    """Raises ValueError for half a character, as YAML's "\\ud800", or a number of thousands of digits anywhere in `content`."""
    if isinstance(content, dict):
        content = [each for entry in content.items() for each in entry]
    if isinstance(content, list):
        for entry in content:
            check_writable(entry)
    else:
        str(content).encode("utf-8")
