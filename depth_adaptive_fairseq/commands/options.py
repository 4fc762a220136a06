"""List the options that this plugin adds to fairseq's commands.

``fairseq-train --help`` and ``fairseq-generate --help`` exit before fairseq adds the options of a plugin's model, criterion and
task, so they never show them. ``depth-adaptive options`` does; with ``--markdown`` as the README's tables.
"""

from dataclasses import dataclass, fields
from enum import Enum
from typing import List, Sequence, Tuple

from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.utils import interpret_dc_type
from fairseq.tasks.translation import TranslationConfig

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropyConfig
from depth_adaptive_fairseq.models.configuration import DepthAdaptiveTransformerConfig, FlatTransformerConfig
from depth_adaptive_fairseq.tasks.depth_adaptive_translation import DepthAdaptiveTranslationConfig


@dataclass(frozen=True)
class Option:
    """One command-line option: how it is written, what it takes, what it means."""

    flag: str
    values: str
    default: str
    help: str


def plugin_options() -> List[Tuple[str, List[Option]]]:
    """All options of the plugin, by the part of fairseq's command line that they belong to."""
    return [
        (
            "Architectures (`--arch depth_adaptive_transformer`, `..._iwslt_de_en`, `..._wmt_en_fr_big`, `..._tiny`)",
            _options_beyond(DepthAdaptiveTransformerConfig, FlatTransformerConfig),
        ),
        (
            "Criterion (`--criterion depth_adaptive_cross_entropy`)",
            _options_beyond(DepthAdaptiveCrossEntropyConfig, FairseqDataclass),
        ),
        (
            "Task (`--task depth_adaptive_translation`)",
            _options_beyond(DepthAdaptiveTranslationConfig, TranslationConfig),
        ),
    ]


def _options_beyond(config_class: type, base: type) -> List[Option]:
    """The options that *config_class* adds to *base*, in the order of their declaration."""
    inherited = {option.name for option in fields(base)}
    added = [option for option in fields(config_class) if option.name not in inherited]
    return [_describe(option) for option in added if "help" in option.metadata]  # others are declared elsewhere


def _describe(option) -> Option:
    kind = interpret_dc_type(option.type)
    if isinstance(kind, type) and issubclass(kind, Enum):
        values = ", ".join(member.value for member in kind)
    else:
        values = {bool: "flag", int: "integer", float: "number", str: "text"}[kind]
    default = "" if kind is bool or option.default is None else str(getattr(option.default, "value", option.default))
    return Option("--" + option.name.replace("_", "-"), values, default, option.metadata["help"])


def as_text() -> str:
    """The options for a terminal."""
    lines = []
    for title, options in plugin_options():
        lines += [title.replace("`", ""), ""]
        for option in options:
            default = f" (default {option.default})" if option.default else ""
            lines += [f"  {option.flag}  {option.values}{default}", f"      {option.help}"]
        lines.append("")
    return "\n".join(lines)


def as_markdown() -> str:
    """The options as one Markdown table for each part of the command line."""
    lines = []
    for title, options in plugin_options():
        lines += [f"**{title}**", "", "| option | values | default | meaning |", "|---|---|---|---|"]
        for option in options:
            default = f"`{option.default}`" if option.default else ""
            lines.append(f"| `{option.flag}` | {option.values} | {default} | {option.help} |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("options", __doc__)
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables, as in the README")
    print(as_markdown() if parser.parse_args(arguments).markdown else as_text())
