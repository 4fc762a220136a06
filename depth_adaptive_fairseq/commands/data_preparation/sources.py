"""Where the raw text comes from: the kinds of `source:` that a template can name.

A kind is a class that is built from the template's mapping and offers `splits`, `settings()` (what decides the text:
checksums, seeds, versions) and `raw_files(folder)`, which finds or makes the raw text. `KINDS` lists them.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import raw_text
from .errors import PreparationError
from .template import SPLIT_NAME, Languages, Template, check_keys, shown, within

# generated corpora: a module of commands/, run as a program, that writes SPLIT.LANGUAGE files into `--out` and, with
# `--fingerprint`, prints a line that changes whenever what it writes would change; with it, the options that a template
# may give, and their least and greatest values
SIZE = (1, 10**7)
GENERATORS = {
    "phrases": ("phrases.generate", {"seed": (-(2**63), 2**63 - 1), "train": SIZE, "valid": SIZE, "test": SIZE}),
}


def in_order(where: str, splits: list[str]) -> list[str]:
    """train, valid, valid1 ..., test, test1 ...: fairseq numbers further sets by their position."""
    wrong = [str(split) for split in splits if not SPLIT_NAME.fullmatch(str(split))]
    if wrong:
        raise PreparationError(f"{where} names {', '.join(wrong)}; splits are train, valid, test, test1, test2 ...")
    for split in ("train", "valid", "test"):
        if split not in splits:
            raise PreparationError(f"{where} lacks the split {split}.")
    ordered = ["train"]
    for kind in ("valid", "test"):
        numbers = sorted(int(split[len(kind) :] or 0) for split in splits if split.startswith(kind))
        if numbers != list(range(len(numbers))):
            raise PreparationError(
                f"{where}: the {kind} sets must be numbered {kind}, {kind}1, {kind}2 ... without gaps."
            )
        ordered += [f"{kind}{number or ''}" for number in numbers]
    return ordered


@dataclass
class FilesSource:
    """Files that the user has, in the folder given with `--raw`.

    `splits` maps each split to a path below that folder, without the language and the packing: `raw/train` stands for
    `raw/train.de` or `train.de`, plain, `.gz` or `.xz`. `sha256` maps file names, packed or not, to checksums; a file
    passes if its own name's checksum is right, or the one of its unpacked name for what is packed in it.
    """

    where: str
    raw: Path | None
    splits: dict[str, str]
    checksums: dict[str, str]
    languages: Languages
    found: dict[str, tuple[Path, str]] = field(default_factory=dict)  # name -> (file, sha256 of the unpacked text)

    @classmethod
    def from_template(cls, template: Template, raw: Path | None) -> "FilesSource":
        source, where = template.source, f"{template.name}: source"
        check_keys(where, source, ["kind", "splits", "sha256"], ["kind", "splits"])
        splits, checksums = source["splits"], source.get("sha256") or {}
        if not isinstance(splits, dict) or not all(isinstance(prefix, str) for prefix in splits.values()):
            raise PreparationError(
                f"{where}.splits must map each split to a path without language, such as train: raw/train."
            )
        splits = {split: splits[split] for split in in_order(f"{where}.splits", list(splits))}
        if not isinstance(checksums, dict):
            raise PreparationError(f"{where}.sha256 must map file names to checksums.")
        for name, value in checksums.items():
            if not re.fullmatch(r"[0-9a-f]{64}", str(value)):
                raise PreparationError(f"{where}.sha256: {shown(name)} has {shown(value)}; 64 hexadecimal digits are needed.")
        if raw is None:
            origin = f" They come from {template.origin}." if template.origin else ""
            raise PreparationError(
                f"{template.name} is made from raw files. Give the folder that holds them with --raw FOLDER; needed are "
                f"{', '.join(f'{prefix}.{language}' for prefix in splits.values() for language in template.languages.pair)} "
                f"(plain, .gz or .xz).{origin}"
            )
        if not raw.is_dir():
            raise PreparationError(f"--raw {raw} is not a folder.")
        return cls(where, raw, splits, checksums, template.languages)

    def _find(self, name: str) -> Path:
        places = [self.raw / name, self.raw / Path(name).name]
        candidates = list(
            dict.fromkeys(place.with_name(place.name + suffix) for place in places for suffix in raw_text.OPENERS)
        )
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        looked_for = ", ".join(str(path) for path in candidates)
        raise PreparationError(
            f"The raw file {name} is missing. Looked for: {looked_for}. Put it there or correct --raw."
        )

    def _verified(self, name: str) -> tuple[Path, str]:
        """The file and the checksum of its unpacked text."""
        path = self._find(name)
        unpacked = raw_text.sha256(path, unpacked=True)
        plain_name = path.name.removesuffix(raw_text.packing(path))
        expected = {known: self.checksums[known] for known in (path.name, plain_name) if known in self.checksums}
        if expected and unpacked != expected.get(plain_name) and raw_text.sha256(path) != expected.get(path.name):
            sums = " or ".join(f"{value} ({known})" for known, value in expected.items())
            raise PreparationError(
                f"{path} has a wrong checksum: expected is the sha256 {sums}, found {raw_text.sha256(path)}"
                f"{f' ({unpacked} unpacked)' if raw_text.packing(path) else ''}. Fetch the file again, or correct {self.where}.sha256."
            )
        return path, unpacked

    def settings(self) -> dict:
        """Finds and verifies all files. What counts is the text: packed or plain makes no difference."""
        for prefix in self.splits.values():
            for language in self.languages.pair:
                name = f"{prefix}.{language}"
                self.found[name] = self._verified(name)
        return {"splits": self.splits, "sha256": {name: unpacked for name, (_, unpacked) in self.found.items()}}

    def raw_files(self, folder: Path) -> dict[tuple[str, str], Path]:
        """(split, language) -> file."""
        return {
            (split, language): self.found[f"{prefix}.{language}"][0]
            for split, prefix in self.splits.items()
            for language in self.languages.pair
        }


@dataclass
class GeneratedSource:
    """A corpus that one of this package's modules generates: `generator` names it, `arguments` are its options."""

    generator: str
    arguments: dict[str, int]
    languages: Languages
    splits: tuple[str, ...] = ("train", "valid", "test")

    @classmethod
    def from_template(cls, template: Template, raw: Path | None) -> "GeneratedSource":
        source, where = template.source, f"{template.name}: source"
        check_keys(where, source, ["kind", "generator", "arguments"], ["kind", "generator"])
        generator, arguments = source["generator"], source.get("arguments") or {}
        if generator not in list(GENERATORS):
            raise PreparationError(f"{where}.generator is {shown(generator)}; available are {', '.join(GENERATORS)}.")
        _, allowed = GENERATORS[generator]
        check_keys(f"{where}.arguments", arguments, list(allowed), [])
        for name, value in arguments.items():
            if type(value) is not int:
                raise PreparationError(f"{where}.arguments.{name} is {shown(value)}; a whole number is needed.")
            within(f"{where}.arguments", name, value, *allowed[name])
        if raw is not None:
            raise PreparationError(f"{template.name} generates its text; leave --raw {raw} out.")
        return cls(generator, arguments, template.languages)

    def _call(self, *options: str) -> str:
        module, _ = GENERATORS[self.generator]
        command = [sys.executable, "-m", f"depth_adaptive_fairseq.commands.{module}", *options]
        command += [f"--{key}={value}" for key, value in self.arguments.items()]
        result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
        if result.returncode != 0:
            raise PreparationError(f"{module} failed: {result.stderr.strip()}")
        return result.stdout.strip()

    def settings(self) -> dict:
        return {"generator": self.generator, "arguments": self.arguments, "fingerprint": self._call("--fingerprint")}

    def raw_files(self, folder: Path) -> dict[tuple[str, str], Path]:
        """(split, language) -> file; generates them into `folder`."""
        self._call("--out", str(folder))
        return {
            (split, language): folder / f"{split}.{language}"
            for split in self.splits
            for language in self.languages.pair
        }


KINDS = {"files": FilesSource, "generated": GeneratedSource}


def make_source(template: Template, raw: Path | None):
    """The template's source, ready to be asked for `settings()` and `raw_files()`."""
    kind = template.source.get("kind")
    if kind not in list(KINDS):
        raise PreparationError(f"{template.name}: source.kind is {shown(kind)}; available are {', '.join(KINDS)}.")
    return KINDS[kind].from_template(template, raw)


def obtain(folder: Path, source) -> dict:
    """Writes SPLIT.LANGUAGE for every split into `folder`, checked and in one form; returns the line counts."""
    scratch = folder / "scratch"
    scratch.mkdir()
    counts: dict[str, dict[str, int]] = {}
    files = source.raw_files(scratch)
    for (split, language), path in files.items():
        counts.setdefault(split, {})[language] = raw_text.write_lines(
            folder / f"{split}.{language}", raw_text.lines(path)
        )
    shutil.rmtree(scratch)
    for split, lengths in counts.items():
        if len(set(lengths.values())) > 1:
            given = " but ".join(f"{files[split, language]} has {count} lines" for language, count in lengths.items())
            raise PreparationError(f"The languages of {split} differ in length: {given}. Line n must translate line n.")
        if not all(lengths.values()):
            raise PreparationError(f"{split} has no lines: {files[split, next(iter(lengths))]} is empty.")
    return {split: next(iter(lengths.values())) for split, lengths in counts.items()}
